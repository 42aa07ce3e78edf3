"""Known skeletons by name, and how a config names one."""

from __future__ import annotations

from pathlib import Path

from omma.errors import DataError
from omma.structures import Skeleton
from omma_pose.datasets.body_skeletons import AIC, AP10K, CROWDPOSE, JHMDB, LSP, MPII
from omma_pose.datasets.coco_skeletons import COCO, HALPE, HALPE26, WHOLEBODY

KNOWN = {
    "coco": COCO,
    "coco_wholebody": WHOLEBODY,
    "halpe": HALPE,
    "halpe26": HALPE26,
    "mpii": MPII,
    "crowdpose": CROWDPOSE,
    "aic": AIC,
    "jhmdb": JHMDB,
    "lsp": LSP,
    "ap10k": AP10K,
}
"""Skeletons that a config may name, each in the order of its annotations and of published weights."""


def skeleton_of(skeleton: Skeleton | str | None) -> Skeleton | None:
    """The skeleton that a config means: given as it is, a known one's name, or a YAML file; null stays null.

    A file has the fields of ``Skeleton``; all but the names may be left out::

        names: [nose, left_eye, right_eye, tail]
        bones: [[nose, left_eye], [nose, right_eye], [nose, tail]]
        swaps: [[left_eye, right_eye]]        # in a mirror; left out: by left and right in the names
        sigmas: [0.026, 0.025, 0.025, 0.09]   # of OKS; left out: 0.067 each
        upper: [nose, left_eye, right_eye]    # what crops of half a body show, or the others
        weights: [1.0, 1.0, 1.0, 1.5]         # in losses, of models with ``weighted``
        parts: {eyes: [left_eye, right_eye]}  # judged by themselves too

    Raises:
        DataError: there is neither such a name nor such a file.
        ConfigError: the file says something else than a skeleton.
    """
    if skeleton is None or isinstance(skeleton, Skeleton):
        return skeleton
    if skeleton in KNOWN:
        return KNOWN[skeleton]
    is_yaml = Path(skeleton).suffix in (".yaml", ".yml")
    if is_yaml and not Path(skeleton).is_file():
        raise DataError(
            f"skeleton: there is no file '{skeleton}', seen from {Path.cwd()}; skeletons are looked for "
            "from the working folder on"
        )
    if not is_yaml:
        raise DataError(
            f"skeleton: expected one of {', '.join(KNOWN)} or a YAML file with its names, got '{skeleton}'"
        )
    from omma.config import Config, check

    return check(Config.load(skeleton), Skeleton).build()
