"""Convolution with kernels of each instance's own (Tian et al., CondInst, 2020)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import Kind, Shape, check_tensors
from omma.ops.backend import Operator


def dynamic_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0) -> Tensor:
    """Convolves each map with a kernel of its own, at stride 1.

    Args:
        x: (R, C, H, W), or (1, C, H, W) for one map that all R kernels run over.
        weight: (R, C', C, kh, kw).
        bias: (R, C').
        padding: pixels.

    Returns:
        (R, C', H', W') with H' = H + 2 * padding - kh + 1.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    maps: str | int = 1 if x.ndim == 4 and x.shape[0] == 1 else "R"
    arguments: list[tuple[str, Tensor, Shape, Kind]] = [
        ("x", x, (maps, "C", "H", "W"), "float"),
        ("weight", weight, ("R", "C'", "C", "kh", "kw"), "float"),
    ]
    if bias is not None:
        arguments.append(("bias", bias, ("R", "C'"), "float"))
    check_tensors("dynamic_conv2d", *arguments)
    return _DYNAMIC_CONV2D.kernel(x)(x, weight, bias, padding)


def _reference(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    maps, c, h, w = x.shape
    instances, c_out, _, kh, kw = weight.shape
    if kh == kw == 1 and padding == 0:
        # As one batch of matrix products: convolutions with many groups are slow on every device.
        flat = x.reshape(maps, c, h * w)
        if maps == 1:  # One product, that reads the map once.
            out = (weight.reshape(instances * c_out, c) @ flat[0]).reshape(instances, c_out, h, w)
        else:
            out = (weight.reshape(instances, c_out, c) @ flat).unflatten(2, (h, w))
        return out if bias is None else out + bias[..., None, None]
    groups = 1 if maps == 1 else instances
    out = F.conv2d(
        x.reshape(1, maps * c, h, w),
        weight.reshape(instances * c_out, c, kh, kw),
        None if bias is None else bias.reshape(-1),
        padding=padding,
        groups=groups,
    )
    return out.reshape(instances, c_out, *out.shape[-2:])


_DYNAMIC_CONV2D = Operator("dynamic_conv2d", reference=_reference)
