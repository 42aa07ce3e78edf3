from __future__ import annotations

import numpy as np
import pytest

from omma.data.annotations import Report
from omma.data.dataset import ConcatDataset, RepeatDataset, Subset
from omma.data.mixed import MixedDataset, Stage
from omma.data.summary import reports, spread, summarise
from omma.data.transforms import Compose, RandomFlip

from .small_dataset import Noise


def noise(length, width=2, classes=1):
    return Noise([(i + 1, width) for i in range(length)], np.full((length, classes), width))


def test_a_concatenation_is_one_after_the_other():
    both = ConcatDataset(datasets=(noise(2, 5), noise(3, 7)))
    assert both.image_sizes.tolist() == [[1, 5], [2, 5], [1, 7], [2, 7], [3, 7]]
    assert both.class_counts()[:, 0].tolist() == [5, 5, 7, 7, 7]


def test_a_repetition_is_the_same_over_and_over():
    twice = RepeatDataset(dataset=noise(2), times=2)
    assert twice.image_sizes[:, 0].tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize(("options", "heights"), [({"first": 2}, [1, 2]), ({"indices": (3, 1)}, [4, 2])])
def test_a_subset_has_the_chosen_samples(options, heights):
    assert Subset(dataset=noise(4), **options).image_sizes[:, 0].tolist() == heights


def test_samples_and_targets_count_in_the_view():
    view = Subset(dataset=ConcatDataset(datasets=(noise(2, 5), noise(3, 7))), indices=(4, 0))
    assert (view[0]["meta"].index, view[0]["meta"].height, view[0]["meta"].width) == (0, 3, 7)
    assert view.target(1)["index"] == 1


class Shown(Noise):
    """Noise that says which transforms it is behind."""

    transforms = Compose(transforms=[])

    def __getitem__(self, index):
        return {**super().__getitem__(index), "behind": self.transforms}


def test_other_transforms_reach_what_is_read_inside_and_nothing_is_mixed():
    reader = Shown([(1, 1), (2, 2)])
    mixed = MixedDataset(dataset=reader, stages=[Stage(transforms=[lambda sample: {**sample, "mixed": 1}])])
    whole = ConcatDataset(datasets=(RepeatDataset(dataset=mixed, times=2), reader))
    assert whole[0]["mixed"]
    plain = Compose(transforms=[RandomFlip()])
    other = whole.behind(plain)
    assert len(other) == len(whole)
    assert all(other[i]["behind"] is plain and "mixed" not in other[i] for i in range(len(other)))
    assert reader[0]["behind"] is Shown.transforms
    assert whole[0]["mixed"]


def test_a_view_ends_where_it_ends():
    assert len(list(iter(RepeatDataset(dataset=noise(2), times=3)))) == 6


@pytest.mark.parametrize(
    "options", [{}, {"first": 1, "indices": (0,)}, {"first": 0}, {"indices": (4,)}, {"indices": ()}]
)
def test_a_subset_that_is_none_is_refused(options):
    with pytest.raises(ValueError, match=r"expected|must be"):
        Subset(dataset=noise(4), **options)


def test_data_sets_of_different_classes_are_not_joined():
    with pytest.raises(ValueError, match="same classes"):
        ConcatDataset(datasets=(noise(2, classes=1), noise(2, classes=2)))


def test_the_reports_of_all_parts_are_found():
    parts = noise(2), noise(2)
    for number, part in enumerate(parts):
        part.report = Report()
        part.report.note("boxes dropped", f"place {number}")
    view = RepeatDataset(dataset=ConcatDataset(datasets=parts), times=2)
    assert [report.examples["boxes dropped"] for report in reports(view)] == ["place 0", "place 1"]


def test_a_summary_counts_objects_and_empty_images():
    dataset = Noise([(4, 2), (2, 8), (3, 3)], [[2, 0], [0, 0], [1, 3]])
    summary = summarise(dataset)
    assert (summary.images, summary.empty, summary.portrait) == (3, 1, 1)
    assert summary.objects.tolist() == [3, 3]
    assert summary.images_with.tolist() == [2, 1]
    assert (summary.smallest, summary.largest) == ((2, 4), (8, 2))


def test_a_summary_names_no_sizes_that_are_unknown_before_reading():
    lines = summarise(Noise([(0, 0)], [[1, 0]])).lines()
    assert "sizes              known when they are read" in lines


@pytest.mark.parametrize(
    ("length", "count", "positions"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (1, 1, [0])]
)
def test_positions_are_spread_over_the_whole_set(length, count, positions):
    assert spread(length, count) == positions
