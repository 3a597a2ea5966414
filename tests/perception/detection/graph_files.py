"""Small graph models as TensorFlow.js writes them."""

import base64
import json

import numpy as np


def word(text):
    return {"s": base64.b64encode(text.encode()).decode()}


def integers(*values):
    return {"list": {"i": [str(value) for value in values]}}


def node(name, op, inputs=(), **attributes):
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def write(folder, nodes, weights, name="net", stored="float16"):
    """A graph model as TensorFlow.js writes it; integers as int32, other weights as `stored`."""
    entries, data = [], b""
    for key, value in weights.items():
        value = np.asarray(value)
        whole = value.dtype.kind == "i"
        entry = {"name": key, "shape": list(value.shape), "dtype": "int32" if whole else "float32"}
        if not whole and stored != "float32":
            entry["quantization"] = {"dtype": stored, "original_dtype": "float32"}
        entries.append(entry)
        data += value.astype("<i4" if whole else {"float16": "<f2", "float32": "<f4"}[stored]).tobytes()
    constants = [node(key, "Const") for key in weights]
    graph = {
        "modelTopology": {"node": [*constants, *nodes]},
        "weightsManifest": [{"paths": [f"{name}.bin"], "weights": entries}],
    }
    (folder / f"{name}.json").write_text(json.dumps(graph))
    (folder / f"{name}.bin").write_bytes(data)
    return folder / f"{name}.json"


def convolution(name, op, inputs, padding="SAME", stride=1, fused=()):
    words = {"list": {"s": [base64.b64encode(one.encode()).decode() for one in fused]}}
    return node(
        name, op, inputs, padding=word(padding), data_format=word("NHWC"), strides=integers(1, stride, stride, 1),
        dilations=integers(1, 1, 1, 1), fused_ops=words,
    )  # fmt: skip
