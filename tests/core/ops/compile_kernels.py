"""Compiles the Triton kernels to the machine code of a GPU, on a machine without one; a script for its test.

Prints a line for each kernel and type of features. It is a process of its own since within the tests Triton
interprets.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from omma.ops.kernels import carafe, focal_loss, ms_deform_attn, rotated_boxes, soft_nms

ATTENTION = {"HEADS": 8, "CHANNELS": 32, "LEVELS": 4, "POINTS": 4, "WIDTH": 32}
CARAFE = {"C": 256, "GROUPS": 1, "K": 5, "SCALE": 2, "ACC": tl.float32, "PIXELS": 64, "CHANNELS": 32}
EXACT = dict.fromkeys(("place", "weight", "value_grad", "place_grad", "weight_grad"), "fp32")
FOCAL = {"block": 1024, "compute": tl.float32}
NUMBERS = {"alpha": None, "gamma": None}
SOFT = {"block": 1024, "compute": tl.float32}
SOFT_TYPES = dict.fromkeys(("boxes", "waiting", "lowered"), "fp32") | {"starts": "i64"}
SOFT_TYPES |= dict.fromkeys(("threshold", "sigma", "stop"))
KERNELS = [
    # The kernel, its constants, its warps, the arguments that are integers, those not of the features' type;
    # those of no type are float32 numbers instead of pointers.
    (ms_deform_attn._forward, ATTENTION | {"BLOCK": 16}, 4, ("queries", "cells", "h", "w"), EXACT),
    (ms_deform_attn._backward, ATTENTION | {"BLOCK": 4}, 1, ("queries", "cells", "h", "w"), EXACT),
    (carafe._forward, CARAFE, 4, ("height", "width"), {}),
    (carafe._backward_x, CARAFE, 4, ("height", "width"), {}),
    (carafe._backward_kernels, CARAFE, 4, ("height", "width"), {}),
    (focal_loss._forward, FOCAL, 4, ("total", "classes"), {"labels": "i64", "out": "fp32"} | NUMBERS),
    (focal_loss._backward, FOCAL, 4, ("total", "classes"), {"labels": "i64", "grad": "fp32"} | NUMBERS),
    (
        rotated_boxes._box_iou,
        {"tile": 16},
        4,
        ("a_count", "b_count"),
        dict.fromkeys(("a", "b", "out"), "fp32"),
    ),
    (soft_nms._soft_nms, SOFT | {"gaussian": True}, 4, (), SOFT_TYPES),
    (soft_nms._soft_nms, SOFT | {"gaussian": False}, 4, (), SOFT_TYPES),
]


def main() -> None:
    for kernel, constants, warps, integers, others in KERNELS:
        names = kernel.arg_names
        for features in ("fp32", "bf16"):
            signature, aligned = {}, {}
            for i, name in enumerate(names):
                if name in constants:
                    signature[name] = "constexpr"
                elif name.rstrip("0123456789") in integers:
                    signature[name] = "i32"
                elif others.get(name, features) is None:
                    signature[name] = "fp32"
                else:
                    signature[name] = f"*{others.get(name, features)}"
                    aligned[(i,)] = [["tt.divisibility", 16]]
            values = {(names.index(name),): value for name, value in constants.items()}
            source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
            code = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": warps})
            print(kernel.__module__, kernel.__name__, features, len(code.asm["cubin"]))


if __name__ == "__main__":
    main()
