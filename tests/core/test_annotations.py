from __future__ import annotations

import json
import multiprocessing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from omma.data.annotations import Ragged, Report, run_members, starts_of
from omma.data.columns import ImageColumns, ObjectColumns, build_annotations
from omma.data.json_records import read_records
from omma.data.paths import inside
from omma.errors import DataError


def build(objects, images=((10, 20), (10, 20)), *, masks=False, masks_only=False):
    """Annotations of objects (image, label, box, options), and the report."""
    table, columns, report = ImageColumns(), ObjectColumns(segmentations=masks), Report()
    for number, (height, width) in enumerate(images):
        table.add(f"{number}.jpg", number, height, width)
    for image, label, box, *rest in objects:
        columns.add(image, label, box, **(rest[0] if rest else {}))
    built = build_annotations(table, columns, report, place=lambda i: f"object {i}", masks_only=masks_only)
    return built, report


rows = st.lists(st.binary(max_size=5), max_size=12)


@given(rows, st.data())
@settings(max_examples=60, deadline=None)
def test_taking_ragged_rows_is_indexing_a_list(texts, data):
    chosen = data.draw(st.lists(st.integers(0, max(0, len(texts) - 1)), max_size=8)) if texts else []
    taken = Ragged.of_bytes(texts).take(torch.tensor(chosen, dtype=torch.int64))
    assert [row.numpy().tobytes() for row in taken] == [texts[i] for i in chosen]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=10), st.data())
@settings(max_examples=60, deadline=None)
def test_run_members_are_the_runs_positions(lengths, data):
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6))
    ends = np.cumsum(lengths)
    expected = [p for row in chosen for p in range(ends[row] - lengths[row], ends[row])]
    assert run_members(starts_of(lengths), torch.tensor(chosen, dtype=torch.int64)).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 9)), max_size=25))
@settings(max_examples=60, deadline=None)
def test_objects_are_sorted_by_image_in_the_order_of_the_file(objects):
    built, _ = build([(i, label, (0, 0, w, 5)) for i, label, w in objects], images=[(10, 20)] * 3)
    for image in range(3):
        expected = [(label, w) for i, label, w in objects if i == image]
        found = built.rows(image)
        assert list(zip(built.labels[found].tolist(), built.boxes[found, 2].tolist())) == expected


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((3, 3, 3, 5), "without width or height"),
        ((3, 3, 2, 5), "without width or height"),
        ((3, 3, 5, 3), "without width or height"),
        ((float("nan"), 3, 5, 5), "NaN or infinite"),
        ((3, 3, float("inf"), 5), "NaN or infinite"),
        ((21, 3, 25, 5), "outside its image"),
        ((-5, 3, 0, 5), "outside its image"),
    ],
)
def test_a_box_that_is_none_is_dropped_and_counted(box, reason):
    built, report = build([(0, 0, (1, 1, 2, 2)), (1, 0, box)])
    assert len(built.boxes) == 1
    (line,) = report.lines()
    assert line.startswith("1 objects dropped")
    assert reason in line
    assert line.endswith("object 1")


def test_a_box_over_the_edge_is_clipped_and_counted():
    built, report = build([(0, 0, (-2, 1, 25, 12))])
    assert built.boxes.tolist() == [[0, 1, 20, 10]]
    assert report.lines()[0].startswith("1 boxes clipped")


def test_an_area_that_is_missing_is_that_of_the_box():
    built, _ = build([(0, 0, (1, 1, 4, 3)), (0, 0, (1, 1, 4, 3), {"area": 2.5})])
    assert built.area.tolist() == [6, 2.5]


def test_class_counts_leave_crowds_out():
    objects = [(0, 1, (0, 0, 1, 1)), (0, 1, (0, 0, 1, 1), {"crowd": True}), (1, 0, (0, 0, 1, 1))]
    built, _ = build(objects)
    assert built.class_counts(3).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_outlines_come_back_with_the_decimals_they_were_written_with():
    ring = [0.1, 123.3, 639.99, 7.125, 5, 0.007]
    built, _ = build([(0, 0, (0, 0, 5, 5), {"segmentation": [ring, [1, 1, 2, 2, 3, 1.5]]})], masks=True)
    assert built.segmentations.coco(0, (10, 20)) == [ring, [1, 1, 2, 2, 3, 1.5]]


def test_run_lengths_mean_the_same_mask_as_before():
    counts = [33, 7, 60, 20, 80]
    plain = {"size": [10, 20], "counts": counts}
    objects = [(1, 0, (0, 0, 5, 5)), (0, 0, (0, 0, 5, 5), {"segmentation": plain})]
    built, _ = build(objects, masks=True)
    expected = np.repeat([0, 1, 0, 1, 0], counts).reshape(10, 20, order="F")
    assert (coco_mask.decode(built.segmentations.coco(0, (10, 20))) == expected).all()


def test_run_lengths_of_another_size_than_the_image_are_refused():
    wrong = {"size": [20, 10], "counts": [200]}
    with pytest.raises(DataError, match=r"object 0.*\[10, 20\], got \[20, 10\]"):
        build([(0, 0, (0, 0, 5, 5), {"segmentation": wrong})], masks=True)


@pytest.mark.parametrize(
    "segmentation",
    [[[1, 2, 3]], ["text"], [["a"] * 6], {"size": [10, 20], "counts": [5]}, {"counts": [200]}, 7],
)
def test_a_broken_segmentation_is_refused(segmentation):
    columns = ObjectColumns(segmentations=True)
    with pytest.raises((TypeError, ValueError)):
        columns.add(0, 0, (0, 0, 1, 1), segmentation=segmentation)


def test_objects_without_a_mask_are_dropped_where_masks_are_needed():
    outline = {"segmentation": [[1, 1, 5, 1, 5, 5]]}
    built, report = build([(0, 0, (0, 0, 9, 9)), (0, 1, (0, 0, 9, 9), outline)], masks=True, masks_only=True)
    assert built.labels.tolist() == [1]
    assert "no mask" in report.lines()[0]


def _told(table, pipe):
    pipe.send((table.path(1), table.boxes.tolist(), table.boxes.is_shared()))


def test_a_spawned_process_gets_the_annotations_in_shared_memory():
    table, _ = build([(0, 0, (1, 1, 2, 2))])
    context = torch.multiprocessing.get_context("spawn")
    ours, theirs = multiprocessing.Pipe()
    process = context.Process(target=_told, args=(table, theirs))
    process.start()
    assert ours.poll(60)
    path, boxes, shared = ours.recv()
    process.join()
    assert (path, boxes, shared) == ("1.jpg", [[1, 1, 2, 2]], True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "other"]), st.lists(json_values, max_size=4)),
    st.sampled_from([None, 1]),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_records_are_those_that_json_reads(tmp_path_factory, content, indent, ascii_only):
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    found = {"a": [], "b": []}
    keys = read_records(path, {key: lambda i, r, key=key: found[key].append((i, r)) for key in found})
    assert keys == set(content)
    assert found == {key: list(enumerate(content.get(key, []))) for key in found}


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2', '{"a": [1 2]}', '{"a": [1,]}', "{1: 2}", '{"a" 1}', "{} x", "", "nul"]
)
def test_text_that_is_no_json_is_refused_with_its_place(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text("\n" + text)
    with pytest.raises(DataError, match=r"x\.json"):
        read_records(path, {"a": lambda i, r: None})


def test_a_syntax_error_is_told_with_line_and_column(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": [\n1,\n2 oops]}')
    with pytest.raises(DataError, match=r"x\.json:3:3: "):
        read_records(path, {"a": lambda i, r: None})


def test_deep_nesting_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": [' + "[" * 200_000)
    with pytest.raises(DataError, match="nested too deeply"):
        read_records(path, {"a": lambda i, r: None})


@pytest.mark.parametrize(
    "name", ["../x.jpg", "a/../../x.jpg", "/etc/x", "C:\\x.jpg", "..\\x.jpg", "", "a\0b", "\\\\h\\s"]
)
def test_a_file_name_that_leads_out_is_refused(name):
    with pytest.raises(DataError, match="refused"):
        inside(name, "here")


@pytest.mark.parametrize("name", ["x.jpg", "a/b/x.jpg", "a..b.jpg", "ü ö.png"])
def test_a_file_name_inside_is_kept(name):
    assert inside(name, "here") == name
