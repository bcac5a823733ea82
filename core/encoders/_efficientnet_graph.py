"""EfficientNet-Lite0 as an ONNX graph, built straight from the checkpoint's tensors.

Batch normalisation is folded into the convolutions. TensorFlow's SAME padding depends on the image size
in general, but not for sides that are multiples of 32: there every stride-2 convolution sees an even
side, so one graph serves every resolution that the adapter allows.

images  (n, h, w, 3) uint8
patches (n, h/32, w/32, 320) float32, the last block's output
head    (n, h/32, w/32, 1280) float32, ReLU6 of the head convolution
mean    (n, 1280) float32, the mean of ``head`` over positions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# repeats, kernel, stride of the first, expansion, channels out: as in TensorFlow's efficientnet_lite_builder.py
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BN_EPSILON = 1e-3
_OPSET = 17
_IR_VERSION = 8  # what opset 17 came with: readable by every onnxruntime since 1.12


class _Builder:
    """Nodes and constants in order; each method returns the name of its output."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        from onnx import helper, numpy_helper

        self.helper, self.numpy_helper, self.state = helper, numpy_helper, state
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(self.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x: str, name: str, norm: str, *, stride: int = 1, depthwise: bool = False, relu6: bool) -> str:
        """Convolution with its batch normalisation folded in, in float64, then ReLU6 if asked for."""
        weight = self.state[f"{name}.weight"].astype(np.float64)  # (out, in, k, k)
        gain = self.state[f"{norm}.weight"] / np.sqrt(
            self.state[f"{norm}.running_var"].astype(np.float64) + _BN_EPSILON
        )
        bias = self.state[f"{norm}.bias"] - self.state[f"{norm}.running_mean"] * gain
        w = self.constant(f"{name}.w", (weight * gain[:, None, None, None]).astype(np.float32))
        b = self.constant(f"{name}.b", bias.astype(np.float32))
        kernel = weight.shape[-1]
        total = kernel - stride if stride > 1 else kernel - 1  # SAME padding of an even side
        before, after = total // 2, total - total // 2
        out = self.node(
            "Conv",
            [x, w, b],
            f"{name}.out",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if depthwise else 1,
        )
        return self.node("Clip", [out, "zero", "six"], f"{name}.relu6") if relu6 else out


def build(state: Mapping[str, NDArray[Any]]) -> bytes:
    """The serialised ONNX model; KeyError when a tensor is missing from ``state``."""
    from onnx import TensorProto, checker

    b = _Builder(state)
    b.constant("zero", np.zeros((), np.float32))
    b.constant("six", np.full((), 6, np.float32))
    b.constant("mean127", np.full((), 127, np.float32))
    b.constant("inv128", np.full((), 1 / 128, np.float32))

    x = b.node("Cast", ["images"], "as_float", to=TensorProto.FLOAT)
    x = b.node("Sub", [x, "mean127"], "centred")
    x = b.node("Mul", [x, "inv128"], "scaled")
    x = b.node("Transpose", [x], "nchw", perm=[0, 3, 1, 2])
    x = b.conv(x, "_conv_stem", "_bn0", stride=2, relu6=True)
    number, channels = 0, 32
    for repeats, _, first_stride, expansion, out in _STAGES:
        for repeat in range(repeats):
            stride, prefix, shortcut = (first_stride if repeat == 0 else 1), f"_blocks.{number}", x
            if expansion != 1:
                x = b.conv(x, f"{prefix}._expand_conv", f"{prefix}._bn0", relu6=True)
            x = b.conv(x, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride=stride, depthwise=True, relu6=True)
            x = b.conv(x, f"{prefix}._project_conv", f"{prefix}._bn2", relu6=False)
            if stride == 1 and channels == out:
                x = b.node("Add", [x, shortcut], f"{prefix}.sum")
            number, channels = number + 1, out
    b.node("Transpose", [x], "patches", perm=[0, 2, 3, 1])
    head = b.conv(x, "_conv_head", "_bn1", relu6=True)
    b.node("Transpose", [head], "head", perm=[0, 2, 3, 1])
    b.node("ReduceMean", [head], "mean", axes=[2, 3], keepdims=0)

    def value(name: str, kind: int, shape: list[str | int]) -> Any:
        return b.helper.make_tensor_value_info(name, kind, shape)

    graph = b.helper.make_graph(
        b.nodes,
        "efficientnet-lite0",
        [value("images", TensorProto.UINT8, ["n", "h", "w", 3])],
        [
            value("patches", TensorProto.FLOAT, ["n", "gh", "gw", 320]),
            value("head", TensorProto.FLOAT, ["n", "gh", "gw", 1280]),
            value("mean", TensorProto.FLOAT, ["n", 1280]),
        ],
        b.constants,
    )
    model = b.helper.make_model(graph, opset_imports=[b.helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
