"""PCK, AUC, EPE and NME by their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from omma.errors import DataError
from omma.structures import DataInfo, Skeleton
from omma_pose.metrics import AUC, EPE, NME, PCK, PCKh, Yardstick

INFO = DataInfo(("face",), skeleton=Skeleton(names=("left_eye", "right_eye", "mouth")))
TRUE = [[10.0, 10.0], [50.0, 10.0], [30.0, 40.0]]
OFF = [3.0, 8.0, 20.0]


def judged(metric, seen=((2, 2, 2), (2, 2, 0)), heads=None):
    """Two samples, whose key points are off by 3, 8 and 20 pixels; the last one isn't labelled in one."""
    metric.start(INFO)
    for index, flags in enumerate(seen):
        target = {
            "index": index,
            "id": index,
            "path": f"{index}.jpg",
            "height": 60,
            "width": 100,
            "boxes": torch.tensor([[0.0, 0, 1, 1], [0.0, 0, 100, 60]]),
            "labels": torch.zeros(2, dtype=torch.int64),
            "crowd": torch.zeros(2, dtype=torch.bool),
            "area": torch.ones(2),
            "keypoints": torch.stack([torch.zeros(3, 2), torch.tensor(TRUE)]),
            "visibility": torch.tensor([[0, 0, 0], flags], dtype=torch.uint8),
            "instance": 1,
        }
        if heads is not None:
            target["head_sizes"] = torch.tensor([1.0, heads[index]])
        places = torch.tensor(TRUE) + torch.tensor([[3.0, 0], [0, 8], [12, 16]])
        prediction = {
            "keypoints": places[None],
            "keypoint_scores": torch.ones(1, 3),
            "boxes": torch.zeros(1, 4),
            "scores": torch.ones(1),
            "labels": torch.zeros(1, dtype=torch.int64),
            "areas": torch.ones(1),
        }
        metric.update([prediction], [target])
    return metric


def test_pck_counts_key_points_within_a_share_of_the_box():
    # The longer side has 100 pixels; of five key points two are within 5 of them, four within 10.
    assert judged(PCK(threshold=0.05)).compute() == {"PCK@0.05": pytest.approx(2 / 5)}
    assert judged(PCK(threshold=0.1)).compute() == {"PCK@0.1": pytest.approx(4 / 5)}


def test_pck_may_be_measured_by_two_key_points():
    eyes = Yardstick(between=("left_eye", "right_eye"))  # 40 pixels
    found = judged(PCK(threshold=0.1, yardstick=eyes, name="PCKh")).compute()
    assert found == {"PCKh@0.1": pytest.approx(2 / 5)}


def test_samples_without_their_yardstick_do_not_count():
    eyes = Yardstick(between=("left_eye", "right_eye"))
    found = judged(PCK(threshold=0.5, yardstick=eyes), seen=((2, 2, 2), (2, 0, 2))).compute()
    assert found == {"PCK@0.5": pytest.approx(1.0)}
    none = judged(NME(yardstick=eyes), seen=((2, 0, 2), (0, 2, 2))).compute()
    assert math.isnan(none["NME"])


def test_pckh_is_measured_by_each_one_s_head():
    # Of 16 pixels, half of which are just reached, and of 5, half of which are not.
    found = judged(PCKh(without=()), heads=(16.0, 5.0)).compute()
    assert found == {"PCKh@0.5": pytest.approx(2 / 5)}


def test_pckh_leaves_out_the_trunk():
    found = judged(PCKh(without=("mouth",)), heads=(16.0, 5.0))
    assert found.compute() == {"PCKh@0.5": pytest.approx(2 / 4)}
    assert math.isnan(found.report().tables[0].rows[2][1])


def test_without_sizes_of_heads_pckh_says_what_to_do():
    with pytest.raises(DataError, match="gives no sizes of heads; name MPII's file in its 'heads'"):
        judged(PCKh(without=()))


def test_auc_is_the_mean_over_thresholds():
    expected = np.mean([np.mean([off < 30 * t / 20 for t in range(20)]) for off in [*OFF, *OFF[:2]]])
    assert judged(AUC()).compute() == {"AUC": pytest.approx(expected)}


def test_epe_is_the_mean_distance():
    assert judged(EPE()).compute() == {"EPE": pytest.approx((3 + 8 + 20 + 3 + 8) / 5)}


def test_nme_is_the_mean_of_the_samples_means():
    eyes = Yardstick(between=("left_eye", "right_eye"))
    expected = ((3 + 8 + 20) / 3 + (3 + 8) / 2) / 2 / 40
    assert judged(NME(yardstick=eyes)).compute() == {"NME": pytest.approx(expected)}


def test_the_report_has_a_row_for_each_key_point_and_the_worst_samples():
    report = judged(EPE()).report()
    assert report.tables[0].rows == [
        ["left_eye", pytest.approx(3), 2],
        ["right_eye", pytest.approx(8), 2],
        ["mouth", pytest.approx(20), 1],
    ]
    assert [entry[0] for entry in report.rankings[0].entries] == [0, 1]


def test_a_detector_s_boxes_belong_to_nobody():
    metric = PCK()
    metric.start(INFO)
    target = {
        "index": 0,
        "id": 0,
        "path": "0.jpg",
        "boxes": torch.zeros(1, 4),
        "labels": torch.zeros(1),
        "crowd": torch.zeros(1, dtype=torch.bool),
        "area": torch.ones(1),
        "keypoints": torch.zeros(1, 3, 2),
        "visibility": torch.ones(1, 3),
        "boxes_of": "found.json",
    }
    with pytest.raises(DataError, match="distances need samples of annotated boxes"):
        metric.update([{}], [target])


def test_an_unknown_key_point_is_told():
    with pytest.raises(DataError, match="no key point is called 'chin'"):
        judged(PCK(yardstick=Yardstick(between=("chin", "mouth"))))
