"""What a weights file says about itself."""

from __future__ import annotations

import json
from pathlib import Path


def stored_classes(weights: str | Path) -> tuple[str, ...]:
    """Class names in the metadata of a checkpoint folder or safetensors file; none where it has none.

    A file that can't be read has none either: loading it says what is wrong with it.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(weights)
    path = path / "model.safetensors" if path.is_dir() else path
    if path.suffix != ".safetensors" or not path.is_file():
        return ()
    try:
        with safe_open(str(path), framework="pt") as file:
            names = json.loads((file.metadata() or {}).get("classes", "[]"))
    except (OSError, ValueError, SafetensorError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
