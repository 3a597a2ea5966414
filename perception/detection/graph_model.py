"""Networks as TensorFlow.js stores them, a graph in JSON beside one flat file of weights, as torch modules.

Only what convolutional networks are made of is known; anything else is an error that names it. Nothing in the files is
run: they hold names, numbers and the order of operations. Inside, pictures keep TensorFlow's order of axes, [B, H, W,
C], which torch's convolutions take as "channels last" without copying.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Operation = Callable[..., Tensor | tuple[Tensor, ...]]
STORED = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


class Node:
    """An operation of a graph.

    Attributes:
        name, op: its own name and its kind's. inputs: names of what it reads, each "NODE" or "NODE:OUTPUT".
    """

    def __init__(self, stored: dict[str, Any]) -> None:
        self.name, self.op = str(stored["name"]), str(stored["op"])
        self.inputs = [str(name) for name in stored.get("input", []) if not name.startswith("^")]
        self.attributes: dict[str, Any] = stored.get("attr", {})

    def integers(self, name: str, usual: Sequence[int]) -> list[int]:
        """A list of integers among the attributes."""
        return [int(value) for value in self.attributes.get(name, {}).get("list", {}).get("i", usual)]

    def words(self, name: str) -> list[str]:
        """A list of words among the attributes, which are stored in base 64."""
        return [base64.b64decode(word).decode() for word in self.attributes.get(name, {}).get("list", {}).get("s", [])]

    def word(self, name: str, usual: str = "") -> str:
        """A word among the attributes."""
        stored = self.attributes.get(name, {}).get("s")
        return usual if stored is None else base64.b64decode(stored).decode()

    def flag(self, name: str) -> bool:
        """A truth value among the attributes; False where it is missing."""
        return bool(self.attributes.get(name, {}).get("b", False))


class GraphModel(nn.Module):
    """A stored graph.

    Args:
        nodes: its operations, in any order.
        weights: constants by name, as TensorFlow shapes them.
        outputs: names of what `forward` returns, each "NODE" or "NODE:OUTPUT"; nothing else is computed.

    Raises:
        ValueError: an operation or a way of using it that is not known, or a name that nothing has.
    """

    def __init__(self, nodes: Sequence[Node], weights: dict[str, np.ndarray], outputs: Sequence[str]) -> None:
        super().__init__()
        self.outputs = list(outputs)
        self.weights = nn.ParameterDict()
        named = {node.name: node for node in nodes}
        self.steps: list[tuple[str, Operation, list[str]]] = []
        self.input = ""
        for node in _in_order(named, self.outputs):
            if node.op == "Placeholder":
                if self.input:
                    raise ValueError(f"the graph has two inputs, {self.input} and {node.name}; one is known")
                self.input = node.name
            elif node.op == "Const":
                if node.name not in weights:
                    raise ValueError(f"the graph's constant {node.name} has no weights")
            else:
                self._add(node, weights)

    def _add(self, node: Node, weights: dict[str, np.ndarray]) -> None:
        if node.op not in OPERATIONS:
            raise ValueError(f"{node.name} is a {node.op}; known: {', '.join(OPERATIONS)}")
        make, settings = OPERATIONS[node.op]
        settings = [place % len(node.inputs) for place in settings]
        missing = [node.inputs[place] for place in settings if node.inputs[place] not in weights]
        if missing:
            raise ValueError(f"{node.name} ({node.op}) depends on {missing[0]}, which is no constant")
        operation = make(node, *(weights[node.inputs[place]] for place in settings))
        inputs = [name for place, name in enumerate(node.inputs) if place not in settings]
        for name in inputs:
            if name in weights:
                kernel = node.op in CONVOLUTIONS and weights[name].ndim == 4
                value = _kernel(weights[name], node.op in DEPTHWISE) if kernel else weights[name]
                self.weights[_key(name)] = nn.Parameter(torch.from_numpy(value.astype(np.float32)), False)
        self.steps.append((node.name, operation, inputs))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for what the graph's one input takes, usually float32 [B, H, W, 3] or [B, 3, H, W]."""
        values: dict[str, Tensor] = {self.input: images, f"{self.input}:0": images}

        def value(name: str) -> Tensor:
            return values[name] if name in values else self.weights[_key(name)]

        for name, operation, inputs in self.steps:
            result = operation(*(value(each) for each in inputs))
            parts = result if isinstance(result, tuple) else (result,)
            values[name] = parts[0]
            values |= {f"{name}:{place}": part for place, part in enumerate(parts)}
        return [values[name] for name in self.outputs]


def read_graph(path: Path) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Return the operations and the weights of a stored graph; the weights lie beside the JSON.

    Raises:
        FileNotFoundError: one of the files is missing. ValueError: they do not fit each other, or are no such graph.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        nodes = [Node(node) for node in stored["modelTopology"]["node"]]
        groups = [(group["paths"], group["weights"]) for group in stored["weightsManifest"]]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no TensorFlow.js graph model: {error!r}") from None
    weights: dict[str, np.ndarray] = {}
    for paths, entries in groups:
        files = [path.with_name(Path(name).name) for name in paths]
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(f"the weights of {path} are missing: there is no {file}")
        weights |= _unpack(b"".join(file.read_bytes() for file in files), entries, files[0])
    return nodes, weights


def _unpack(data: bytes, entries: Sequence[dict[str, Any]], path: Path) -> dict[str, np.ndarray]:
    """The arrays that lie one after the other in a file."""
    found, place = {}, 0
    for entry in entries:
        kind = entry.get("quantization", entry)["dtype"]
        if kind not in STORED:
            raise ValueError(f"{path}: {entry['name']} is stored as {kind}; known: {', '.join(STORED)}")
        count = math.prod(entry["shape"])
        end = place + count * STORED[kind].itemsize
        if end > len(data):
            raise ValueError(f"{path} is cut short: {len(data)} bytes, and {entry['name']} ends at {end}")
        found[entry["name"]] = np.frombuffer(data, STORED[kind], count, place).reshape(entry["shape"])
        place = end
    if place != len(data):
        raise ValueError(f"{path} has {len(data)} bytes and should have {place}")
    return found


def _in_order(named: dict[str, Node], outputs: Sequence[str]) -> list[Node]:
    """The operations that the outputs need, each after those it reads."""
    order: dict[str, Node] = {}
    todo = [(name.split(":")[0], "the outputs") for name in outputs]
    while todo:
        name, reader = todo[-1]
        if name not in named:
            raise ValueError(f"the graph has no {name}, which {reader} need")
        needed = [one.split(":")[0] for one in named[name].inputs]
        waiting = [one for one in needed if one not in order]
        if name in order or not waiting:
            order.setdefault(name, named[name])
            todo.pop()
        elif len(todo) > len(named) + len(outputs):
            raise ValueError(f"the graph runs in a circle through {name}")
        else:
            todo.append((waiting[0], name))
    return list(order.values())


def _key(name: str) -> str:
    """A constant's name as torch allows it: without dots, and none of its own modules' attributes."""
    return "of_" + name.replace(".", "_").replace("/", "__")


def _kernel(value: np.ndarray, depthwise: bool) -> np.ndarray:
    """[h, w, in, out] -> [out, in, h, w]; depthwise, [h, w, in, times] -> [in * times, 1, h, w]."""
    if depthwise:
        return value.transpose(2, 3, 0, 1).reshape(-1, 1, *value.shape[:2])
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1))


def _convolution(node: Node) -> Operation:
    stride, dilation = node.integers("strides", (1, 1, 1, 1)), node.integers("dilations", (1, 1, 1, 1))
    fused, padding = node.words("fused_ops"), node.word("padding")
    if node.word("data_format", "NHWC") != "NHWC" or padding not in ("SAME", "VALID") or set(dilation) != {1}:
        raise ValueError(f"{node.name}: only NHWC, SAME or VALID padding and no dilation are known")
    if fused not in ([], ["BiasAdd"], ["BiasAdd", "Relu"], ["BiasAdd", "Relu6"]):
        raise ValueError(f"{node.name} has {fused} fused into it; known are BiasAdd, and Relu or Relu6 after it")
    depthwise = node.op in DEPTHWISE

    def run(inputs: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        images = inputs.permute(0, 3, 1, 2)
        before = (0, 0)
        if padding == "SAME":
            vertical = _same(images.shape[2], kernel.shape[2], stride[1])
            across = _same(images.shape[3], kernel.shape[3], stride[2])
            if vertical[0] == vertical[1] and across[0] == across[1]:
                before = (vertical[0], across[0])
            else:
                images = functional.pad(images, (*across, *vertical))
        groups = images.shape[1] if depthwise else 1
        out = functional.conv2d(images, kernel, bias, (stride[1], stride[2]), before, groups=groups)
        if "Relu" in fused:
            out = out.relu()
        elif "Relu6" in fused:
            out = functional.relu6(out)
        return out.permute(0, 2, 3, 1)

    return run


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows before and after that TensorFlow's "SAME" adds."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _max_pool(node: Node) -> Operation:
    window, stride = node.integers("ksize", (1, 1, 1, 1)), node.integers("strides", (1, 1, 1, 1))
    if node.word("padding") != "VALID":
        raise ValueError(f"{node.name}: only pooling with VALID padding is known")
    size, step = (window[1], window[2]), (stride[1], stride[2])
    return lambda inputs: functional.max_pool2d(inputs.permute(0, 3, 1, 2), size, step).permute(0, 2, 3, 1)


def _pad(node: Node, amounts: np.ndarray, value: np.ndarray | float = 0.0) -> Operation:
    flat = [int(one) for pair in amounts[::-1] for one in pair]
    filling = float(value)
    return lambda inputs: functional.pad(inputs, flat, value=filling) if any(flat) else inputs


def _resize(node: Node, size: np.ndarray) -> Operation:
    height, width = (int(one) for one in size)
    middles, corners = node.flag("half_pixel_centers"), node.flag("align_corners")

    def run(inputs: Tensor) -> Tensor:
        images = inputs.permute(0, 3, 1, 2)
        if middles or corners:
            out = functional.interpolate(images, (height, width), mode="bilinear", align_corners=corners)
            return out.permute(0, 2, 3, 1)
        # TensorFlow's first manner: pixel i is that at i / factor of the source, beyond whose end nothing changes.
        down, across = height // images.shape[2], width // images.shape[3]
        if (down * images.shape[2], across * images.shape[3]) != (height, width):
            raise ValueError(f"{node.name}: only whole factors of enlargement are known")
        more = functional.pad(images, (0, 1, 0, 1), mode="replicate")
        out = functional.interpolate(more, (height + 1, width + 1), mode="bilinear", align_corners=True)
        return out[:, :, :height, :width].permute(0, 2, 3, 1)

    return run


def _concatenate(node: Node, axis: np.ndarray) -> Operation:
    return lambda *parts: torch.cat(parts, dim=int(axis))


def _split(node: Node, sizes: np.ndarray, axis: np.ndarray) -> Operation:
    parts = [int(size) for size in sizes]
    return lambda inputs: tuple(inputs.split(parts, dim=int(axis)))


def _transpose(node: Node, order: np.ndarray) -> Operation:
    axes = [int(axis) for axis in order]
    return lambda inputs: inputs.permute(axes)


def _mean(node: Node, axes: np.ndarray) -> Operation:
    over, kept = [int(axis) for axis in axes], node.flag("keep_dims")
    return lambda inputs: inputs.mean(over, keepdim=kept)


def _leaky_relu(node: Node) -> Operation:
    slope = float(node.attributes.get("alpha", {}).get("f", 0.2))
    return lambda inputs: functional.leaky_relu(inputs, slope)


def _plain(function: Operation) -> Callable[[Node], Operation]:
    return lambda node: function


CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
DEPTHWISE = CONVOLUTIONS[2:]
# By name: what makes the operation, and which inputs are settings, known when the graph is read.
OPERATIONS: dict[str, tuple[Callable[..., Operation], tuple[int, ...]]] = {
    **dict.fromkeys(CONVOLUTIONS, (_convolution, ())),
    "MaxPool": (_max_pool, ()),
    "Pad": (_pad, (1,)),
    "PadV2": (_pad, (1, 2)),
    "ResizeBilinear": (_resize, (1,)),
    "ConcatV2": (_concatenate, (-1,)),
    "SplitV": (_split, (1, 2)),
    "Transpose": (_transpose, (1,)),
    "Mean": (_mean, (1,)),
    "LeakyRelu": (_leaky_relu, ()),
    "Relu": (_plain(torch.relu), ()),
    "Relu6": (_plain(functional.relu6), ()),
    "Sigmoid": (_plain(torch.sigmoid), ()),
    "Identity": (_plain(lambda inputs: inputs), ()),
    "Add": (_plain(torch.add), ()),
    "AddV2": (_plain(torch.add), ()),
    "Mul": (_plain(torch.mul), ()),
}
