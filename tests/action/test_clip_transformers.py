"""Transformers on clips against networks on images, and against torchvision's and timm's."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig
from torchvision.models.video.mvit import MViT as TorchvisionMViT

from omma.backbones import SwinTransformer
from omma_action.models.mvit import MViT
from omma_action.models.pooling_attention import relative_rows
from omma_action.models.timesformer import Attending, TimeSformer
from omma_action.models.uniformer import UniFormer
from omma_action.models.uniformer_v2 import ClipTransformer, UniFormerV2
from omma_action.models.video_swin import SwinTransformer3d
from omma_action.models.video_vit import VideoTransformer, sinusoids


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shaken(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        nn.init.normal_(parameter, mean=float(parameter.mean()), std=0.2)
    return net.eval()


def still(frames: int, size: int) -> tuple[Tensor, Tensor]:
    """A picture (1, 3, H, W) and a clip of it, (1, T, 3, H, W)."""
    picture = torch.randn(1, 3, size, size)
    return picture, picture[:, None].expand(-1, frames, -1, -1, -1)


@torch.no_grad()
def test_an_inflated_swin_says_of_a_still_clip_what_it_said_of_its_image(tmp_path: Path):
    small = {"channels": 16, "depths": (2, 1, 1, 1), "heads": (1, 2, 2, 4), "out_indices": (3,)}
    clips = shaken(SwinTransformer3d(window=(2, 2, 2), **small))
    state = {
        re.sub(r"^norm3\.", "norm.", name): value.sum(2)
        if value.ndim == 5
        else value.unflatten(0, (3, 9))[1]
        if name.endswith("bias_table")
        else value
        for name, value in clips.state_dict().items()
    }
    torch.save({"model": state}, tmp_path / "swin.pth")
    images = SwinTransformer(window=2, weights=str(tmp_path / "swin.pth"), **small).eval()
    images.load_state_dict(
        {"norm3.weight": state["norm.weight"], "norm3.bias": state["norm.bias"]}, strict=False
    )
    inflated = SwinTransformer3d(window=(2, 2, 2), weights=str(tmp_path / "swin.pth"), **small).eval()
    picture, clip = still(2, 64)
    (expected,) = images(picture)
    (found,) = inflated(inflated.arrange(clip))
    torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-4, atol=1e-4)


def test_tables_of_another_window_are_interpolated(tmp_path: Path):
    small = {"channels": 16, "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 4)}
    state = {
        re.sub(r"^norm3\.", "norm.", name): value.sum(2) if value.ndim == 5 else value
        for name, value in SwinTransformer3d(window=(1, 3, 3), **small).state_dict().items()
    }
    for name in state:
        if name.endswith("bias_table"):
            state[name] = torch.full_like(state[name], 0.5)
    torch.save({"model": state}, tmp_path / "swin.pth")
    net = SwinTransformer3d(window=(2, 4, 4), weights=str(tmp_path / "swin.pth"), **small)
    table = net.get_parameter("layers.0.blocks.0.attn.relative_position_bias_table")
    torch.testing.assert_close(table, torch.full((3 * 7 * 7, 1), 0.5))


@pytest.mark.parametrize(("attention", "frames"), [("divided", 3), ("space", 3), ("joint", 1)])
@torch.no_grad()
def test_timesformers_begin_as_the_network_for_images(attention: Attending, frames: int, tmp_path: Path):
    net = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0
    )
    torch.save(shaken(net).state_dict(), tmp_path / "vit.pth")
    ours = TimeSformer(
        attention=attention,
        frames=frames,
        image_size=(32, 32),
        patch=8,
        channels=24,
        depth=2,
        heads=3,
        weights=str(tmp_path / "vit.pth"),
    ).eval()
    picture, clip = still(frames, 32)
    (found,) = ours(ours.arrange(clip))
    torch.testing.assert_close(found, net.forward_features(picture)[:, 0], rtol=1e-4, atol=1e-4)


def test_timesformers_say_how_many_frames_they_take():
    net = TimeSformer(frames=4, image_size=(32, 32), channels=24, depth=1, heads=3)
    with pytest.raises(ValueError, match="takes 4 frames, got 3"):
        net(torch.zeros(1, 3, 3, 32, 32))


@torch.no_grad()
def test_tubes_of_a_still_clip_are_the_patches_of_its_image(tmp_path: Path):
    net = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, class_token=False,
        global_pool="avg", fc_norm=True,
    )  # fmt: skip
    shaken(net)
    assert net.pos_embed is not None
    net.pos_embed.copy_(sinusoids(16, 24)[None])
    state = {}
    for name, value in net.state_dict().items():
        if name.endswith("qkv.bias"):
            value[24:48] = 0  # of the keys
            query, _, state[name.replace("qkv.bias", "v_bias")] = value.chunk(3)
            state[name.replace("qkv.bias", "q_bias")] = query
        elif name == "patch_embed.proj.weight":
            state[name] = torch.stack([value / 2] * 2, dim=2)
        else:
            state[name] = value
    torch.save(state, tmp_path / "tubes.pth")
    ours = VideoTransformer(
        frames=2,
        image_size=(32, 32),
        patch=8,
        channels=24,
        depth=2,
        heads=3,
        weights=str(tmp_path / "tubes.pth"),
    ).eval()
    picture, clip = still(2, 32)
    (found,) = ours(ours.arrange(clip))
    torch.testing.assert_close(found, net(picture), rtol=1e-4, atol=1e-4)


def test_positions_are_sines_and_cosines_of_growing_wavelength():
    found = sinusoids(5, 6)
    for place in range(5):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert float(found[place, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[place, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_clips_that_dont_fit_are_refused():
    with pytest.raises(ValueError, match=r"clips of \(3, 32, 32\) frames"):
        VideoTransformer(frames=3, image_size=(32, 32))
    net = VideoTransformer(frames=4, image_size=(32, 32), channels=24, depth=1, heads=3)
    with pytest.raises(ValueError, match=r"takes clips of \(4, 32, 32\), got \(2, 32, 32\)"):
        net(torch.zeros(1, 3, 2, 32, 32))


def torchvisions_name(name: str) -> str:
    name = name.replace("cls_token", "pos_encoding.class_token").replace(
        "patch_embed.projection.", "conv_proj."
    )
    name = re.sub(r"^norm\d\.", "norm.", name)
    name = re.sub(r"\.attn\.pool_(\w)\.", r".attn.pool_\1.pool.", name)
    name = re.sub(r"\.attn\.norm_(\w)\.", r".attn.pool_\1.norm_act.0.", name)
    name = re.sub(r"\.proj\.", ".project.", name.replace(".attn.proj.", ".attn.project.0."))
    return name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")


@torch.no_grad()
def test_mvit_equals_torchvisions():
    ours = shaken(MViT(frames=4, image_size=64, channels=16, depth=3, halving=(1, 2), kv_stride=(1, 4, 4)))
    settings = [
        MSBlockConfig(heads, before, after, [3, 3, 3], [3, 3, 3], stride, kv_stride)
        for heads, before, after, stride, kv_stride in (
            (1, 16, 16, [1, 1, 1], [1, 4, 4]),
            (2, 16, 32, [1, 2, 2], [1, 2, 2]),
            (4, 32, 64, [1, 2, 2], [1, 1, 1]),
        )
    ]
    theirs = TorchvisionMViT(
        (64, 64), 4, settings, residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True,
        proj_after_attn=True, stochastic_depth_prob=0.0, num_classes=1,
    ).eval()  # fmt: skip
    state = {torchvisions_name(name): value for name, value in ours.state_dict().items()}
    state["pos_encoding.class_token"] = state["pos_encoding.class_token"].flatten()
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert unexpected == []
    assert set(missing) == {"head.1.weight", "head.1.bias"}
    clip = torch.randn(2, 3, 4, 64, 64)
    theirs.head = nn.Sequential()
    torch.testing.assert_close(ours(clip)[1], theirs(clip), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (8, 2), (2, 8)])
def test_rows_of_relative_positions_count_in_the_finer_grid(queries: int, keys: int):
    finer = max(queries, keys)
    table = torch.arange(2 * finer - 1)[:, None]
    for i, j in ((i, j) for i in range(queries) for j in range(keys)):
        offset = i * finer // queries - j * finer // keys
        last = (keys - 1) * finer // keys
        assert int(relative_rows(table, queries, keys)[i, j]) == offset + last


@torch.no_grad()
def test_an_inflated_uniformer_sees_no_motion_in_a_still_clip(tmp_path: Path):
    small = {"depths": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "head_channels": 8}
    clips = shaken(UniFormer(**small))
    state = {name: v.sum(2) if v.ndim == 5 else v for name, v in clips.state_dict().items()}
    torch.save({"model": state}, tmp_path / "images.pth")
    inflated = UniFormer(weights=str(tmp_path / "images.pth"), **small).eval()
    _, clip = still(8, 64)
    (found,) = inflated(inflated.arrange(clip))
    (of_one,) = inflated(inflated.arrange(clip[:, :1]))
    torch.testing.assert_close(found, of_one.expand_as(found), rtol=1e-4, atol=1e-4)


def clips_name(name: str) -> str:
    """What timm calls a parameter of CLIP's visual network, as its authors do."""
    name = re.sub(r"^blocks\.", "transformer.resblocks.", name.replace("norm_pre.", "ln_pre."))
    name = name.replace(".norm1.", ".ln_1.").replace(".norm2.", ".ln_2.").replace(".mlp.fc1.", ".mlp.c_fc.")
    name = name.replace(".mlp.fc2.", ".mlp.c_proj.").replace(".attn.proj.", ".attn.out_proj.")
    return re.sub(r"\.attn\.qkv\.", ".attn.in_proj_", name).replace("patch_embed.proj.", "conv1.")


@torch.no_grad()
def test_uniformer_v2_knows_what_clip_said_of_each_frame(tmp_path: Path):
    net = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, pre_norm=True,
        norm_layer=nn.LayerNorm, act_layer="quick_gelu",
    )  # fmt: skip
    state = {clips_name(name): value for name, value in shaken(net).state_dict().items()}
    state["class_embedding"] = state.pop("cls_token").flatten()
    state["positional_embedding"] = state.pop("pos_embed")[0]
    last = {name.removeprefix("norm."): state.pop(name) for name in ("norm.weight", "norm.bias")}
    torch.save({f"visual.{name}": value for name, value in state.items()}, tmp_path / "clip.pth")
    ours = UniFormerV2(
        frames=3, image_size=32, patch=8, channels=24, depth=2, heads=3, looks=(1,),
        weights=str(tmp_path / "clip.pth"),
    ).eval()  # fmt: skip
    ours.transformer.balance.fill_(100)  # all weight is on the frames
    ours.transformer.norm.load_state_dict(last)
    clip = torch.randn(2, 3, 3, 32, 32)
    frames = clip.flatten(0, 1)
    net.norm = nn.Identity()
    mean = net.forward_features(frames)[:, 0].unflatten(0, (2, 3)).mean(1)
    expected = nn.functional.layer_norm(mean, (24,), last["weight"], last["bias"])
    torch.testing.assert_close(ours(ours.arrange(clip))[0], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_places_come_from_the_same_place_in_other_frames():
    net = ClipTransformer(4, 2, [0.0], (0,), 0.0)
    conv = net.dpe[0]
    assert isinstance(conv, nn.Conv3d)
    assert conv.bias is not None
    conv.weight.zero_()
    conv.bias.zero_()
    conv.weight[:, :, 0, 1, 1] = 1  # the frame before
    x = torch.randn(2 * 3, 1 + 4, 4)
    frames = x.unflatten(0, (2, 3))
    before = torch.cat([torch.zeros_like(frames[:, :1, 1:]), frames[:, :-1, 1:]], dim=1)
    expected = torch.cat([frames[:, :, :1], frames[:, :, 1:] + before], dim=2).flatten(1, 2)
    torch.testing.assert_close(net.with_places(x, (3, 2, 2), conv), expected)
