"""Pictures, sheets and charts: what must be seen in them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omma.errors import DataError, SetupError
from omma.metrics import Curves, Matrix, Table
from omma.visualization import (
    class_color,
    contact_sheet,
    draw_boxes,
    draw_classes,
    draw_masks,
    draw_skeletons,
    draw_title,
    heat_map,
    line_chart,
    read_rgb,
    write_rgb,
)
from omma.visualization.charts import ticks
from omma.visualization.terminal import number, rich_table

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def flat(height: int = 200, width: int = 300, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_colours_of_eighty_classes_differ():
    colors = np.array([class_color(label) for label in range(80)], dtype=int)
    distance = np.abs(colors[:, None] - colors[None]).sum(-1) + 1000 * np.eye(80, dtype=int)
    assert distance.min() > 8


def test_colours_of_neighbouring_classes_differ_much():
    colors = np.array([class_color(label) for label in range(80)], dtype=int)
    assert np.abs(colors[1:] - colors[:-1]).sum(-1).min() > 100


def test_pixels_take_the_colour_of_their_class_and_others_stay():
    image, labels = flat(), np.full((200, 300), 255, np.uint8)
    labels[:50], labels[50:60] = 1, 0
    drawn = draw_classes(image, labels, ["sky", "road"], opacity=0.5)[:, :300]
    for rows, label in ((slice(0, 50), 1), (slice(50, 60), 0)):
        assert np.abs(drawn[rows] - (64 + np.array(class_color(label)) / 2)).max() <= 0.5
    assert (drawn[60:] == 128).all()


def test_classes_are_named_beside_the_image_the_largest_first():
    names = ["sky", "road", "pedestrian"]
    labels = np.zeros((200, 300), np.uint8)
    labels[:150] = 1
    column = draw_classes(flat(), labels, names)[:, 300:]
    seen = [tuple(pixel) for row in column.tolist() for pixel in row]
    assert seen.index(class_color(1)) < seen.index(class_color(0))
    assert class_color(2) not in seen
    # Frames of a video have one size, whatever is in them.
    assert draw_classes(flat(), labels + 9, names)[:, 300:].shape == column.shape
    assert draw_classes(flat(9, 9), labels[:9, :9], names).shape[0] == 9


def test_drawing_leaves_the_image_as_it_was():
    image = flat()
    draw_boxes(image, np.array([[10, 10, 90, 90]]), ["cat"], [class_color(0)])
    draw_masks(image, np.ones((1, 200, 300), bool), [class_color(0)])
    assert np.array_equal(image, flat())


def test_a_frame_has_its_colour_on_the_box():
    out = draw_boxes(flat(), np.array([[20, 60, 120, 160]]), [""], [(255, 0, 0)])
    assert out[110, 20].tolist() == [255, 0, 0]
    assert out[110, 70].tolist() == [128, 128, 128]


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_frame_is_seen_on_a_background_of_its_own_colour(value: int):
    out = draw_boxes(flat(value=value), np.array([[20, 60, 120, 160]]), [""], [(value, value, value)])
    assert np.abs(out.astype(int) - value).max() > 100


@pytest.mark.parametrize(
    "box", [[0, 0, 30, 20], [280, 180, 300, 200], [-20, -20, 400, 400], [290, 100, 299, 120]]
)
def test_a_tag_stays_inside_the_image(box: list[int]):
    color = (10, 200, 30)
    out = draw_boxes(flat(), np.array([box]), ["dog 0.90"], [color])
    alone = draw_boxes(flat(), np.array([box]), [""], [color])
    width, height = cv2.getTextSize("dog 0.90", cv2.FONT_HERSHEY_SIMPLEX, 0.36, 1)[0]
    assert (out != alone).any(-1).sum() > 0.6 * width * height


def test_tags_of_boxes_on_one_corner_do_not_hide_each_other():
    boxes = np.array([[50, 80, 200, 180], [50, 80, 190, 170]])
    out = draw_boxes(flat(), boxes, ["first", "second"], [(250, 0, 0), (0, 0, 250)])
    filled = [(out == np.array(color)).all(-1).sum() for color in ((250, 0, 0), (0, 0, 250))]
    assert min(filled) > 200


def test_where_tags_have_no_room_the_first_lies_on_top():
    colors = [(250, 0, 0), *((0, 0, 200 + i) for i in range(8))]
    boxes = np.array([[50, 80, 200, 180]] * len(colors))
    crowd = draw_boxes(flat(), boxes, ["first", *["other"] * 8], colors)
    alone = draw_boxes(flat(), boxes[:1], ["first"], colors[:1])
    above = slice(0, 78)  # where the tag is, without the frames
    lit = (alone[above] == colors[0]).all(-1)
    assert lit.any()
    assert (crowd[above] == colors[0]).all(-1)[lit].all()


def test_a_terminal_shows_numbers_shortly_and_a_dash_for_none():
    assert [number(value) for value in ("cat", 7, 0.12345, float("nan"))] == ["cat", "7", "0.123", "-"]
    assert number(0.12346, digits=4) == "0.1235"
    shown = rich_table(Table("Classes", ["class", "AP"], [["cat", float("nan")], ["dog", 0.5]]))
    assert [list(column.cells) for column in shown.columns] == [["cat", "dog"], ["-", "0.500"]]


def test_no_boxes_draw_nothing():
    assert np.array_equal(draw_boxes(flat(), np.zeros((0, 4)), [], []), flat())


def test_a_mask_tints_its_inside_only():
    mask = np.zeros((1, 200, 300), bool)
    mask[0, 50:150, 50:150] = True
    out = draw_masks(flat(), mask, [(255, 0, 0)], opacity=0.5)
    assert out[100, 100].tolist() == [192, 64, 64]
    assert out[20, 20].tolist() == [128, 128, 128]


def test_an_empty_mask_draws_nothing():
    assert np.array_equal(draw_masks(flat(), np.zeros((1, 200, 300), bool), [(255, 0, 0)]), flat())


def test_a_title_is_added_above():
    out = draw_title(flat(), "a very long title " * 20)
    assert out.shape[0] > 200
    assert np.array_equal(out[-200:], flat())


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_a_sheet_has_the_asked_width_and_holds_all_pictures(count: int):
    pictures = [flat(40 + 20 * i, 60, value=10 + 20 * i) for i in range(count)]
    sheet = contact_sheet(pictures, columns=3, width=400)
    assert sheet.shape[1:] == (400, 3)
    assert {10 + 20 * i for i in range(count)} <= set(np.unique(sheet).tolist())


def test_a_sheet_keeps_the_aspect_of_its_pictures():
    sheet = contact_sheet([flat(100, 200, value=0)], columns=1, width=412, gap=6)
    rows, columns = np.nonzero((sheet == 0).all(-1))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (400, 200)


@pytest.mark.parametrize(("images", "columns"), [([], 3), ([flat()], 0), ([flat()], 500)])
def test_a_sheet_without_room_is_refused(images: list[np.ndarray], columns: int):
    with pytest.raises(ValueError, match="expected images"):
        contact_sheet(images, columns=columns, width=300)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_within(low: float, span: float):
    high = low + span
    assume(span > 1e-6 * abs(low))
    found = ticks(low, high)
    assert len(found) <= 8
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)


def test_a_line_chart_shows_title_labels_ticks_and_legend():
    curves = Curves(
        "Loss", "step", "value", {"first": ([0, 50, 100], [3, 2, 1]), "second": ([0, 100], [1, 0])}
    )
    assert {"Loss", "step", "value", "first", "second", "0", "20", "100"} <= set(texts(line_chart(curves)))


def test_values_that_are_not_finite_part_a_line():
    curves = Curves("", "", "", {"a": ([0, 1, 2, 3, 4], [1, 2, math.nan, 2, 1])})
    paths = [path.get("d") or "" for path in ET.fromstring(line_chart(curves)).iter(f"{SVG}path")]
    assert max(d.count("M") for d in paths) == 2
    assert "nan" not in line_chart(curves)


def test_a_chart_without_points_says_so():
    assert "no data" in texts(line_chart(Curves("", "", "", {"a": ([0], [math.nan])})))


def test_a_single_point_is_drawn():
    svg = line_chart(Curves("", "", "", {"a": ([100], [0.5])}))
    assert len(list(ET.fromstring(svg).iter(f"{SVG}circle"))) == 1


def test_points_lie_where_their_values_say():
    svg = line_chart(Curves("", "", "", {"a": ([0, 1], [0, 1])}, (0, 1), (0, 1)), width=400, height=300)
    line = next(p.get("d") for p in ET.fromstring(svg).iter(f"{SVG}path") if p.get("stroke-linejoin"))
    assert line == "M64.0 248.0L376.0 40.0"


def test_the_logarithmic_axis_is_left_where_a_value_is_zero():
    assert "0" in texts(line_chart(Curves("", "", "", {"a": ([0, 1], [0, 10])}), log_y=True))


def test_names_with_markup_do_not_break_a_chart():
    name = '<script>&"'
    ET.fromstring(line_chart(Curves(name, name, name, {name: ([0, 1], [0, 1]), "b": ([0], [1])})))
    ET.fromstring(heat_map(Matrix(name, name, name, [name], [name], [[1]])))


def test_a_heat_map_shows_counts_and_names():
    matrix = Matrix("Confusion", "truth", "prediction", ["cat", "dog"], ["cat", "dog"], [[12, 3], [0, 45]])
    assert {"Confusion", "truth", "prediction", "cat", "dog", "12", "3", "45"} <= set(texts(heat_map(matrix)))


def test_an_image_is_read_as_it_was_written(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    write_rgb(tmp_path / "ünder" / "a.png", image)
    assert np.array_equal(read_rgb(tmp_path / "ünder" / "a.png"), image)


def test_an_unreadable_image_is_an_error(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_rgb(tmp_path / "a.jpg")


def test_a_picture_where_no_folder_can_be_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="can't be written"):
        write_rgb(tmp_path / "file" / "a.png", flat())


BENT = np.array([[[50.0, 40.0], [50.0, 100.0], [120.0, 100.0]]])
"""Three key points of one object: down, then right."""
BONES = ((0, 1), (1, 2))


def test_each_bone_is_drawn_in_a_colour_of_its_own():
    image = flat()
    drawn = draw_skeletons(image, BENT, np.ones((1, 3), bool), BONES)
    assert drawn[70, 50].tolist() == list(class_color(0))
    assert drawn[100, 85].tolist() == list(class_color(1))
    assert class_color(0) != class_color(1)
    assert drawn[100, 50].min() > 200
    assert (image == 128).all()


def test_key_points_that_are_not_shown_have_neither_dot_nor_bone():
    drawn = draw_skeletons(flat(), BENT, np.array([[True, True, False]]), BONES)
    assert (drawn[95:106, 60:130] == 128).all()
    assert drawn[70, 50].tolist() == list(class_color(0))
    assert (draw_skeletons(flat(), BENT, np.zeros((1, 3), bool), BONES) == 128).all()


def test_skeletons_of_small_objects_are_drawn_finely():
    image = flat(1000, 1500)
    small, large = (
        draw_skeletons(image, places, np.ones((1, 3), bool), BONES) for places in (500 + BENT / 2, 5 * BENT)
    )
    assert (small[535, 500:550] != 128).any(axis=-1).sum() <= 3
    assert (large[350, 200:300] != 128).any(axis=-1).sum() >= 8


def test_key_points_far_outside_of_the_image_are_drawn_towards():
    places = np.array([[[50.0, 40.0], [1e30, 40.0]]])
    drawn = draw_skeletons(flat(), places, np.ones((1, 2), bool), ((0, 1),))
    assert drawn[40, 290].tolist() == list(class_color(0))
