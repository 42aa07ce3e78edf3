"""Changes of skeletons against what they mean, joint by joint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from omma_action.layouts import LAYOUTS
from omma_action.transforms import (
    CentreCropPose,
    CropToPose,
    DropJoints,
    FillMissing,
    FlipPose,
    NormalizeSkeleton2D,
    NormalizeSkeleton3D,
    PadPersons,
    RandomResizedCropPose,
    ResampleFrames,
    ResizePose,
    RotateSkeleton,
    ScaleSkeleton,
    SkeletonFeatures,
    UniformFrames,
)

from .poses import joints_of, sample

SPACE = (0, 0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def numbered(frames: int) -> Any:
    """Joints that say which frame they are of."""
    made = sample(frames=frames, joints=2)
    made["skeleton"][:] = torch.arange(1, frames + 1)[None, None, :, None, None]
    return made


@pytest.mark.parametrize("frames", [3, 8, 12, 16, 40])
def test_uniform_frames_take_one_of_each_equal_part(frames: int):
    for _ in range(20):
        taken = joints_of(UniformFrames(frames=8)(numbered(frames)))[0, 0, :, 0, 0].astype(int) - 1
        assert len(taken) == 8
        if frames < 8:
            assert ((taken[1:] - taken[:-1]) % frames == 1).all()
        elif frames < 16:
            assert set(np.diff(taken)) <= {1, 2}
        else:
            edges = [i * frames // 8 for i in range(9)]
            assert all(low <= one < high for one, low, high in zip(taken, edges, edges[1:]))


def test_uniform_frames_reach_every_frame_of_a_part():
    seen = {int(joints_of(UniformFrames(frames=2)(numbered(6)))[0, 0, 0, 0, 0]) for _ in range(60)}
    assert seen == {1, 2, 3}


def test_fixed_frames_are_those_of_the_published_tests():
    # np.random.seed(255) before the clips of a sequence, one draw after the other.
    state = np.random.RandomState(255)
    edges = np.array([i * 50 // 8 for i in range(9)])
    expected = [edges[:-1] + state.randint(np.diff(edges)) for _ in range(3)]
    found = joints_of(UniformFrames(frames=8, clips=3, fixed=True)(numbered(50)))[:, 0, :, 0, 0] - 1
    np.testing.assert_array_equal(found, expected)
    again = joints_of(UniformFrames(frames=8, clips=3, fixed=True)(numbered(50)))[:, 0, :, 0, 0] - 1
    np.testing.assert_array_equal(found, again)


def test_fixed_clips_of_a_short_sequence_start_at_equal_distances():
    found = joints_of(UniformFrames(frames=8, clips=2, fixed=True)(numbered(4)))[:, 0, :, 0, 0] - 1
    np.testing.assert_array_equal(found, [[0, 1, 2, 3] * 2, [2, 3, 0, 1] * 2])


def test_resampled_frames_lie_on_lines_between_frames():
    made = sample(frames=5, canvas=SPACE)
    found = joints_of(ResampleFrames(frames=9, share=(1, 1))(made))[0, 0]
    given = joints_of(made)[0, 0]
    np.testing.assert_allclose(found[::2], given, atol=1e-6)
    np.testing.assert_allclose(found[1::2], (given[1:] + given[:-1]) / 2, atol=1e-6)


def test_resampling_draws_stretches_of_the_wanted_length():
    for _ in range(20):
        found = joints_of(ResampleFrames(frames=4, share=(0.5, 0.8))(numbered(41)))[0, 0, :, 0, 0]
        assert 20 <= found[-1] - found[0] <= 32
        assert found[0] >= 1
        assert found[-1] <= 41
        np.testing.assert_allclose(np.diff(found), (found[-1] - found[0]) / 3, atol=1e-4)


def test_resampling_for_tests_spreads_its_clips():
    found = joints_of(ResampleFrames(frames=3, share=(0.5, 0.5), clips=3)(numbered(41)))[:, 0, :, 0, 0] - 1
    np.testing.assert_allclose(found, [[0, 10, 20], [10, 20, 30], [20, 30, 40]], atol=1e-4)


def test_resampling_makes_no_joint_of_half_a_one():
    made = numbered(3)
    made["skeleton"][0, 0, 1, 0] = 0
    found = joints_of(ResampleFrames(frames=5)(made))[0, 0, :, 0, 0]
    np.testing.assert_allclose(found, [1, 0, 0, 0, 3], atol=1e-6)


def test_persons_are_padded_with_zeros_or_cut():
    two = sample(persons=2)
    padded = joints_of(PadPersons(persons=3)(two))
    np.testing.assert_array_equal(padded[:, :2], joints_of(two))
    assert not padded[:, 2].any()
    np.testing.assert_array_equal(joints_of(PadPersons(persons=1)(two)), joints_of(two)[:, :1])


def test_missing_joints_are_filled_in_along_time():
    made = sample(frames=6)
    whole = joints_of(made).copy()
    made["skeleton"][0, 0, [0, 2, 3], 4] = 0
    found = joints_of(FillMissing()(made))
    third = whole[0, 0, 1, 4] + (whole[0, 0, 4, 4] - whole[0, 0, 1, 4]) / 3
    np.testing.assert_allclose(found[0, 0, 2, 4], third, rtol=1e-5)
    np.testing.assert_array_equal(found[0, 0, 0, 4], whole[0, 0, 1, 4])
    untouched = np.delete(np.arange(17), 4)
    np.testing.assert_array_equal(found[..., untouched, :], whole[..., untouched, :])


def test_joints_that_are_never_found_stay_missing():
    made = sample()
    made["skeleton"][0, 0, :, 4] = 0
    assert not joints_of(FillMissing()(made))[0, 0, :, 4].any()


def test_pixels_become_minus_one_to_one_and_missing_joints_zero():
    made = sample(canvas=(100, 200))
    made["skeleton"][0, 0, 0, 0] = torch.tensor([200.0, 0.0, 0.5])
    made["skeleton"][0, 0, 0, 1] = torch.tensor([100.0, 50.0, 0.5])
    made["skeleton"][0, 0, 0, 2] = torch.tensor([30.0, 50.0, 0.0])
    found = joints_of(NormalizeSkeleton2D()(made))[0, 0, 0]
    np.testing.assert_allclose(found[:3], [[1, -1, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-6)


def test_normalising_to_the_pose_spans_its_box():
    made = sample(canvas=(1000, 2000))
    found = joints_of(NormalizeSkeleton2D(extent="pose")(made))[..., :2]
    np.testing.assert_allclose(found.min(axis=(0, 1, 2, 3)), -1, atol=1e-5)
    np.testing.assert_allclose(found.max(axis=(0, 1, 2, 3)), 1, atol=1e-5)


def test_joints_in_space_are_no_pixels():
    with pytest.raises(ValueError, match="needs joints in an image"):
        NormalizeSkeleton2D()(sample(canvas=SPACE))


def test_first_pose_stands_upright_at_the_origin():
    made = sample(joints=25, frames=5, persons=2, canvas=SPACE)
    given = joints_of(made).copy()
    found = joints_of(NormalizeSkeleton3D(layout="nturgb+d")(made))
    first = found[0, 0, 0]
    np.testing.assert_allclose(first[1], 0, atol=1e-6)
    line = first[8] - first[4]
    np.testing.assert_allclose(line / np.linalg.norm(line), [1, 0, 0], atol=1e-5)
    # Nothing but a rotation and a shift: distances stay.
    for joints in (given, found):
        joints -= joints[:, :1, :1, 1:2]
    np.testing.assert_allclose(np.linalg.norm(given, axis=-1), np.linalg.norm(found, axis=-1), atol=1e-4)


def test_spine_alone_points_upwards():
    made = sample(joints=25, canvas=SPACE)
    first = joints_of(NormalizeSkeleton3D(layout="nturgb+d", align_shoulders=False)(made))[0, 0, 0]
    spine = first[1] - first[0]
    np.testing.assert_allclose(spine / np.linalg.norm(spine), [0, 0, 1], atol=1e-5)


def test_who_is_seen_longest_comes_first():
    made = sample(joints=25, persons=2, frames=6, canvas=SPACE)
    made["skeleton"][0, 0, 2:] = 0
    made["skeleton"][0, 1, 5] = 0
    plain = NormalizeSkeleton3D(
        layout="nturgb+d", align_centre=False, align_spine=False, align_shoulders=False
    )
    found = joints_of(plain(made))
    np.testing.assert_array_equal(found, joints_of(made)[:, [1, 0], :5])


def test_persons_become_of_one_size():
    made = sample(joints=25, canvas=SPACE)
    larger = {**made, "skeleton": 3 * made["skeleton"]}
    normalise = NormalizeSkeleton3D(layout="nturgb+d", unit=True)
    np.testing.assert_allclose(joints_of(normalise(made)), joints_of(normalise(larger)), atol=1e-4)


def test_an_empty_skeleton_stays_as_it_is():
    made = sample(joints=25, canvas=SPACE)
    made["skeleton"].zero_()
    assert not joints_of(NormalizeSkeleton3D(layout="nturgb+d")(made)).any()


@pytest.mark.parametrize("layout", ["coco", "nturgb+d"])
def test_features_are_what_they_are_called(layout: Any):
    graph, scored = LAYOUTS[layout], layout == "coco"
    made = sample(joints=len(graph), persons=2, canvas=(48, 64) if scored else SPACE)
    features = ("joint", "bone", "joint_motion", "bone_motion")
    found = joints_of(SkeletonFeatures(layout=layout, features=features)(made))
    joint = joints_of(made).astype(np.float64)
    bone = np.zeros_like(joint)
    for j, parent in enumerate(graph.parents):
        bone[..., j, :] = joint[..., j, :] - joint[..., parent, :]
        if scored:
            bone[..., j, 2] = (joint[..., j, 2] + joint[..., parent, 2]) / 2
    expected = [joint, bone]
    for values in (joint, bone):
        motion = np.zeros_like(values)
        for t in range(values.shape[2] - 1):
            motion[:, :, t] = values[:, :, t + 1] - values[:, :, t]
            if scored:
                motion[:, :, t, :, 2] = (values[:, :, t + 1, :, 2] + values[:, :, t, :, 2]) / 2
        expected.append(motion)
    np.testing.assert_allclose(found, np.concatenate(expected, axis=-1), atol=1e-4)


def test_rotation_keeps_distances_and_stays_in_its_bounds():
    made = sample(canvas=SPACE)
    given = joints_of(made)[0, 0].reshape(-1, 3)
    for _ in range(10):
        found = joints_of(RotateSkeleton(degrees=(0, 0, 30))(made))[0, 0].reshape(-1, 3)
        turned, _ = Rotation.align_vectors(found, given)
        x, y, z = turned.as_euler("xyz", degrees=True)
        assert abs(x) < 1e-2
        assert abs(y) < 1e-2
        assert abs(z) <= 30
        np.testing.assert_allclose(turned.apply(given), found, atol=1e-4)


def test_rotation_about_all_axes_is_one_after_the_other():
    made = sample(canvas=SPACE)
    given = joints_of(made)[0, 0].reshape(-1, 3)
    found = joints_of(RotateSkeleton(degrees=(20, 30, 40))(made))[0, 0].reshape(-1, 3)
    turned, _ = Rotation.align_vectors(found, given)
    angles = np.abs(turned.as_euler("xyz", degrees=True))
    assert (angles <= [20, 30, 40]).all()
    assert (angles > 0.1).all()


def test_rotation_in_an_image_leaves_scores():
    made = sample()
    found = joints_of(RotateSkeleton(degrees=(0, 0, 90), scored=True)(made))
    np.testing.assert_array_equal(found[..., 2], joints_of(made)[..., 2])
    norms = [np.linalg.norm(joints[..., :2], axis=-1) for joints in (found, joints_of(made))]
    np.testing.assert_allclose(*norms, rtol=1e-4)


@pytest.mark.parametrize("scored", [False, True])
def test_scaling_is_one_factor_an_axis(scored: bool):
    made = sample(canvas=SPACE)
    factors = joints_of(ScaleSkeleton(amount=0.2, scored=scored)(made)) / joints_of(made)
    assert np.ptp(factors.reshape(-1, 3), axis=0).max() < 1e-5
    assert (np.abs(factors - 1) <= 0.2 + 1e-5).all()
    assert bool((factors[..., 2] == 1).all()) == scored


def test_dropped_joints_are_gone_in_all_frames():
    found = joints_of(DropJoints(prob=0.5)(sample(persons=2)))
    gone = ~found.any(axis=-1)
    assert 0 < gone[0, 0, 0].sum() < 17
    assert (gone == gone[0, 0, 0]).all()


def test_pose_is_cut_out_with_a_border():
    made = sample(canvas=(1000, 1000))
    made["skeleton"][..., 0] = torch.linspace(200, 300, 17)
    made["skeleton"][..., 1] = torch.linspace(400, 600, 17)
    cut = CropToPose(border=0.25, ratio=None)(made)
    assert cut["canvas"] == (250, 125)
    np.testing.assert_allclose(joints_of(cut)[0, 0, 0, 0, :2], [200 - 187, 400 - 375])
    square = CropToPose(border=0.25, ratio=1.0)(made)
    assert square["canvas"] == (250, 250)
    np.testing.assert_allclose(joints_of(square)[0, 0, 0, 0, :2], [200 - 125, 400 - 375])


def test_missing_joints_neither_count_nor_move_when_the_pose_is_cut_out():
    made = sample(canvas=(1000, 1000))
    made["skeleton"][..., :2] += 500
    made["skeleton"][0, 0, 0, 3] = 0
    cut = CropToPose()(made)
    assert cut["canvas"] != (1000, 1000)
    assert not joints_of(cut)[0, 0, 0, 3].any()


def test_small_poses_are_not_cut_out():
    made = sample(canvas=(1000, 1000))
    made["skeleton"][..., :2] = made["skeleton"][..., :2] / 200 + 500
    assert CropToPose()(made)["canvas"] == (1000, 1000)


@pytest.mark.parametrize(
    ("wanted", "size"), [({"height": 10, "width": 20}, (10, 20)), ({"short": 64}, (64, 85))]
)
def test_resizing_scales_joints_with_the_canvas(wanted: Any, size: tuple[int, int]):
    made = sample(canvas=(48, 64))
    found = ResizePose(**wanted)(made)
    assert found["canvas"] == size
    factor = [size[1] / 64, size[0] / 48]
    np.testing.assert_allclose(joints_of(found)[..., :2], joints_of(made)[..., :2] * factor, rtol=1e-5)


def test_random_crops_are_windows_of_the_wanted_area():
    made = sample(canvas=(480, 640))
    for _ in range(20):
        found = RandomResizedCropPose(area=(0.5, 0.7))(made)
        height, width = found["canvas"]
        assert 0.49 <= height * width / (480 * 640) <= 0.71
        assert 0.74 <= width / height <= 1.34
        shift = joints_of(made)[..., :2] - joints_of(found)[..., :2]
        left, top = shift.reshape(-1, 2).mean(axis=0)
        assert 0 <= left <= 640 - width
        assert 0 <= top <= 480 - height
        assert np.ptp(shift.reshape(-1, 2), axis=0).max() < 1e-3


def test_middle_is_cut_out():
    made = sample(canvas=(48, 64))
    found = CentreCropPose(size=40)(made)
    assert found["canvas"] == (40, 40)
    np.testing.assert_allclose(
        joints_of(made)[..., :2] - joints_of(found)[..., :2], [[[[[12, 4]] * 17] * 7]], atol=1e-4
    )


def test_mirror_swaps_sides():
    made = sample()
    found = joints_of(FlipPose(layout="coco", prob=1)(made))
    given = joints_of(made)
    for left, right in LAYOUTS["coco"].pairs:
        np.testing.assert_allclose(found[..., left, 0], 64 - given[..., right, 0], rtol=1e-5)
        np.testing.assert_array_equal(found[..., left, 1:], given[..., right, 1:])
    np.testing.assert_allclose(found[..., 0, 0], 64 - given[..., 0, 0], rtol=1e-5)


@pytest.mark.parametrize(
    "transform",
    [
        UniformFrames(frames=8),
        ResampleFrames(frames=8, share=(0.5, 1)),
        PadPersons(persons=3),
        NormalizeSkeleton2D(),
        SkeletonFeatures(layout="coco", features=("bone_motion",)),
        RotateSkeleton(degrees=(0, 0, 10), scored=True),
        ScaleSkeleton(scored=True),
        DropJoints(prob=0.5),
        FillMissing(threshold=0.5),
        CropToPose(),
        ResizePose(short=20),
        RandomResizedCropPose(),
        FlipPose(layout="coco", prob=1),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_the_sample_that_comes_in_stays_as_it_is(transform: Any):
    made, other = sample(persons=2), sample(persons=2)
    transform(made)
    np.testing.assert_array_equal(joints_of(made), joints_of(other))
    assert made["canvas"] == other["canvas"]
