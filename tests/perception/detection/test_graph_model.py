import numpy as np
import pytest
import torch

from perception.detection.graph_model import GraphModel, read_graph
from tests.perception.detection.graph_files import convolution, integers, node, word, write


def made(tmp_path, nodes, weights, outputs=("out",), stored="float16"):
    return GraphModel(
        *read_graph(write(tmp_path, [node("in", "Placeholder"), *nodes], weights, stored=stored)), outputs
    )


def test_same_padding_of_a_stride_of_two_lies_behind(tmp_path):
    # TensorFlow adds the odd row at the end: windows begin at rows 0 and 2 of four. torch's padding would give 4 6 6 9.
    ones = np.ones((3, 3, 1, 1), np.float32)
    net = made(tmp_path, [convolution("out", "Conv2D", ["in", "kernel"], stride=2)], {"kernel": ones})
    (out,) = net(torch.ones(1, 4, 4, 1))
    assert out[0, :, :, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_kernels_are_turned_to_torchs_order_and_bias_and_relu_follow(tmp_path):
    kernel = np.zeros((1, 2, 1, 2), np.float32)
    kernel[0, 0, 0, 0] = kernel[0, 1, 0, 1] = 1.0  # the left and the right pixel
    step = convolution("out", "_FusedConv2D", ["in", "kernel", "bias"], "VALID", fused=("BiasAdd", "Relu"))
    net = made(tmp_path, [step], {"kernel": kernel, "bias": np.array([0.0, -4.0], np.float32)})
    (out,) = net(torch.tensor([[[[1.0], [3.0], [5.0]]]]))
    assert out.tolist() == [[[[1.0, 0.0], [3.0, 1.0]]]]


def test_a_depthwise_kernel_keeps_channels_apart(tmp_path):
    step = convolution("out", "DepthwiseConv2dNative", ["in", "a.b/kernel"])
    net = made(tmp_path, [step], {"a.b/kernel": np.array([2.0, 3.0], np.float32).reshape(1, 1, 2, 1)})
    (out,) = net(torch.tensor([[[[1.0, 10.0]]]]))
    assert out.tolist() == [[[[2.0, 30.0]]]]


@pytest.mark.parametrize(("middles", "expected"), [(False, [0.0, 0.5, 1.0, 1.0]), (True, [0.0, 0.25, 0.75, 1.0])])
def test_enlarging_in_both_of_tensorflows_manners(tmp_path, middles, expected):
    step = node("out", "ResizeBilinear", ["in", "size"], half_pixel_centers={"b": middles}, align_corners={"b": False})
    net = made(tmp_path, [step], {"size": np.array([1, 4])})
    (out,) = net(torch.tensor([[[[0.0], [1.0]]]]))
    assert out.flatten().tolist() == pytest.approx(expected)


def test_parts_of_a_split_are_read_by_number_and_outputs_come_in_the_order_asked_for(tmp_path):
    nodes = [
        node("parts", "SplitV", ["turned", "sizes", "axis"]),
        node("turned", "Transpose", ["in", "order"]),  # stands after what reads it
        node("sum", "AddV2", ["parts:1", "half"]),
    ]
    weights = {"sizes": np.array([1, 2]), "axis": np.array(1), "order": np.array([0, 3, 1, 2]), "half": np.array(0.5)}
    net = made(tmp_path, nodes, weights, outputs=("sum", "parts"))
    total, first = net(torch.arange(3.0).reshape(1, 1, 1, 3))
    assert total.flatten().tolist() == [1.5, 2.5] and first.flatten().tolist() == [0.0]


def test_the_other_operations_on_small_numbers(tmp_path):
    window = integers(1, 2, 2, 1)
    nodes = [
        node("padded", "PadV2", ["in", "around", "minus"]),
        node("pooled", "MaxPool", ["padded"], padding=word("VALID"), ksize=window, strides=window),
        node("leaky", "LeakyRelu", ["pooled"], alpha={"f": 0.1}),
        node("both", "ConcatV2", ["leaky", "in", "axis"]),
        node("mean", "Mean", ["both", "over"], keep_dims={"b": True}),
        node("out", "Mul", ["mean", "in"]),
    ]
    around = np.array([[0, 0], [1, 0], [1, 0], [0, 0]])
    weights = {"around": around, "minus": np.array(-9.0), "axis": np.array(1), "over": np.array([1, 2])}
    net = made(tmp_path, nodes, weights, outputs=("pooled", "leaky", "mean", "out"))
    pooled, leaky, mean, out = net(torch.tensor([[[[-5.0]]]]))
    assert [one.item() for one in (pooled, leaky, mean, out)] == pytest.approx([-5.0, -0.5, -2.75, 13.75])


def test_weights_of_half_precision_are_read_bit_for_bit_and_nothing_learns(tmp_path):
    values = np.array([1.0, 0.333251953125, -65504.0], np.float32)  # representable in fp16
    net = made(tmp_path, [node("out", "Add", ["in", "w"])], {"w": values})
    assert net(torch.zeros(3))[0].tolist() == values.tolist()
    assert all(not value.requires_grad for value in net.parameters()) and sum(1 for _ in net.parameters()) == 1


@pytest.mark.parametrize(
    ("nodes", "weights", "message"),
    [
        ([node("out", "FancyOp", ["in"])], {}, "out is a FancyOp; known: Conv2D"),
        ([node("out", "Relu", ["nowhere"])], {}, "no nowhere, which out need"),
        ([node("out", "Transpose", ["in", "in"])], {}, "depends on in, which is no constant"),
        ([convolution("out", "_FusedConv2D", ["in", "k", "k"], fused=("BiasAdd", "Elu"))], {"k": np.ones(1)}, "Elu"),
        ([convolution("out", "Conv2D", ["in", "k"], padding="EXPLICIT")], {"k": np.ones(1)}, "SAME or VALID"),
        ([node("a", "Relu", ["out"]), node("out", "Relu", ["a"])], {}, "in a circle"),
        ([node("more", "Placeholder"), node("out", "Add", ["in", "more"])], {}, "two inputs"),
    ],
)
def test_what_is_not_known_is_named(tmp_path, nodes, weights, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, nodes, weights)


def test_damaged_files_are_named(tmp_path):
    path = write(tmp_path, [node("in", "Placeholder"), node("out", "Add", ["in", "w"])], {"w": np.ones(4)})
    whole = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"net.bin is cut short: 7 bytes, and w ends at 8"):
        read_graph(path)
    path.with_suffix(".bin").write_bytes(whole + b"x")
    with pytest.raises(ValueError, match=r"has 9 bytes and should have 8"):
        read_graph(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"the weights of .* are missing"):
        read_graph(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"net.json is no TensorFlow.js graph model"):
        read_graph(path)
    with pytest.raises(FileNotFoundError, match="there is no"):
        read_graph(tmp_path / "none.json")
    stored = write(tmp_path, [node("in", "Placeholder")], {"w": np.ones(4)})
    stored.write_text(stored.read_text().replace("float16", "uint8"))
    with pytest.raises(ValueError, match="stored as uint8"):
        read_graph(stored)
