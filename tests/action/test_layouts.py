"""Graphs of joints against their definitions, and what must hold for every layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omma_action.layouts import LAYOUTS, LayoutName

NAMES: list[LayoutName] = list(LAYOUTS)


@pytest.mark.parametrize("name", NAMES)
def test_every_joint_hangs_on_the_centre(name: LayoutName):
    layout = LAYOUTS[name]
    reached = {layout.centre}
    for _ in range(len(layout)):
        reached |= {outer for outer, inner in layout.edges if inner in reached}
    assert reached == set(range(len(layout)))
    assert len(layout.edges) == len(layout) - 1


@pytest.mark.parametrize("name", NAMES)
def test_a_mirror_of_a_mirror_is_the_skeleton_itself_and_keeps_its_bones(name: LayoutName):
    layout = LAYOUTS[name]
    assert [layout.mirror[joint] for joint in layout.mirror] == list(range(len(layout)))
    mirrored = {(layout.mirror[outer], layout.mirror[inner]) for outer, inner in layout.edges}
    assert mirrored == set(layout.edges)


@pytest.mark.parametrize("name", NAMES)
def test_spatial_graph_averages_over_each_set_of_neighbours(name: LayoutName):
    layout = LAYOUTS[name]
    graph = layout.graph("spatial")
    values = torch.rand(len(layout))
    gathered = torch.einsum("j,sji->si", values, graph)
    for joint in range(len(layout)):
        # What is further in receives from what hangs on it, and the other way round.
        outer = [values[a] for a, b in layout.edges if b == joint]
        inner = [values[b] for a, b in layout.edges if a == joint]
        assert gathered[0, joint] == values[joint]
        for part, neighbours in ((1, inner), (2, outer)):
            expected = sum(neighbours) / len(neighbours) if neighbours else torch.tensor(0.0)
            assert float(gathered[part, joint]) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_distance_partition_shares_out_the_mean_over_all_neighbours(name: LayoutName):
    layout = LAYOUTS[name]
    sets = layout.graph("stgcn_spatial")
    near = np.eye(len(layout))
    for a, b in layout.edges:
        near[a, b] = near[b, a] = 1
    np.testing.assert_allclose(sets.sum(0), near / near.sum(axis=0), rtol=1e-6)
    assert ((sets > 0).sum(0) <= 1).all()


def test_limbs_are_mirrored_into_limbs():
    layout = LAYOUTS["coco"]
    for limb, other in zip(layout.limbs, layout.mirrored_limbs):
        assert {layout.mirror[joint] for joint in limb} == set(layout.limbs[other])
