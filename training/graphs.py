"""The graphs that a CPU runs, made of the torch modules of `models/nets` and their weights.

A graph (ONNX) says what is computed. What it is computed with stays in the file of weights, which
the graph refers to by place, so that it must be made anew whenever weights are written:

    python -m training.graphs [NAME...]
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnxscript import optimizer
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.export import Dim

from models import coarseness, faces, mends, sync
from models.graph import SUFFIX
from models.mouths import SIDE
from models.nets import coarseness as coarseness_net
from models.nets import faces as faces_net
from models.nets import mends as mends_net
from models.nets import sync as sync_net

OPSET = 20
_HIGH, _WIDE = Dim("high", min=2), Dim("wide", min=2)  # tiles
_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16}


class _Part(nn.Module):
    """What of a net the graph computes."""

    def __init__(self, net: nn.Module, of: Callable[..., Any]) -> None:
        super().__init__()
        self.net = net
        self._of = of

    def forward(self, *inputs: Tensor) -> Any:
        return self._of(self.net, *inputs)


@dataclass(frozen=True)
class Drawn:
    """How the graph of a net is made.

    Attributes:
        weights: of the net; the graph is written beside them.
        load: reads the net.
        of: what is computed, of the net and the inputs.
        inputs: examples.
        varying: of each input, the lengths that may be others.
        outputs: their names.
    """

    weights: Path
    load: Callable[[Path], nn.Module]
    of: Callable[..., Any]
    inputs: dict[str, Tensor]
    varying: tuple[dict[int, Any], ...]
    outputs: tuple[str, ...]

    def write(self, weights: Path | None = None) -> Path:
        """Make the graph; returns where it is.

        Args:
            weights: other weights of the same net.
        """
        weights = weights or self.weights
        path = weights.with_suffix(SUFFIX)
        part = _Part(self.load(weights), self.of).eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what torch itself calls
            made = torch.onnx.export(
                part,
                tuple(self.inputs.values()),
                dynamo=True,
                dynamic_shapes=(self.varying,),
                input_names=list(self.inputs),
                output_names=list(self.outputs),
                opset_version=OPSET,
                optimize=False,  # it would mix the weights; the runtime does that as it reads them
                verbose=False,
            )
        assert made is not None
        optimizer.fold_constants(made.model)
        optimizer.remove_unused_nodes(made.model)
        proto = made.model_proto
        _strip(proto)
        _refer(proto.graph, weights)
        onnx.save(proto, path)
        return path


def _strip(proto: onnx.ModelProto) -> None:
    """Leave out where in the source each node comes from: most of the file."""
    for holder in (proto, proto.graph, *proto.functions, *proto.graph.node):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]


def _refer(graph: onnx.GraphProto, weights: Path) -> None:
    """Let values that are in a file of weights be read from there."""
    stored = load_file(weights)
    places = _places(weights)
    kept, casts = [], []
    for value in graph.initializer:
        name = value.name.removeprefix("net.")
        known = stored.get(name)
        if known is None:
            kept.append(value)
            continue
        if not np.array_equal(known.astype(np.float32), numpy_helper.to_array(value)):
            raise ValueError(f"{name} of the graph is not what {weights.name} has")
        kind, start, length = places[name]
        own = value.name
        if kind != "F32":  # stored in half precision, computed in single
            own = f"{value.name}.stored"
            casts.append(helper.make_node("Cast", [own], [value.name], to=TensorProto.FLOAT))
        there = TensorProto(name=own, data_type=_TYPES[kind], dims=value.dims, raw_data=b"0")
        external_data_helper.set_external_data(there, weights.name, start, length)
        there.ClearField("raw_data")
        kept.append(there)
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def _places(weights: Path) -> dict[str, tuple[str, int, int]]:
    """Type, first byte and bytes of each value in a file of weights (the format of safetensors)."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    found = {}
    for name, one in header.items():
        if name != "__metadata__":
            start, end = one["data_offsets"]
            found[name] = one["dtype"], 8 + length + start, end - start
    return found


def _vectors(net: sync_net.SyncNet, mouth: Tensor, spectra: Tensor) -> tuple[Tensor, Tensor]:
    return net.see(sync_net.seen_part(mouth[None]))[0], net.hear(spectra[None])[0]


GRAPHS = {
    "coarseness": Drawn(
        coarseness.WEIGHTS,
        coarseness_net.load,
        lambda net, crops: net(crops),
        {"crops": torch.zeros(2, coarseness.CROP, coarseness.CROP, dtype=torch.uint8)},
        ({0: Dim("crops")},),
        ("said",),
    ),
    "faces": Drawn(
        faces.WEIGHTS,
        faces_net.load,
        lambda net, rgb: net(rgb),
        {"rgb": torch.zeros(2, 3, 2 * faces.MULTIPLE, 3 * faces.MULTIPLE)},
        ({0: Dim("count"), 2: faces.MULTIPLE * Dim("high"), 3: faces.MULTIPLE * Dim("wide")},),
        ("score", "scale", "offset", "landmarks"),
    ),
    "mends": Drawn(
        mends.WEIGHTS,
        mends_net.load,
        lambda net, *planes: net(*planes, turned=True)[0],
        {
            "luma": torch.zeros(1, 1, 4 * mends.TILE, 6 * mends.TILE, dtype=torch.uint8),
            "other": torch.zeros(1, 1, 4 * mends.TILE, 6 * mends.TILE, dtype=torch.uint8),
            "color": torch.zeros(1, 2, 2 * mends.TILE, 3 * mends.TILE, dtype=torch.uint8),
            "other_color": torch.zeros(1, 2, 2 * mends.TILE, 3 * mends.TILE, dtype=torch.uint8),
        },
        ({2: mends.TILE * _HIGH, 3: mends.TILE * _WIDE},) * 2
        + ({2: mends.TILE // 2 * _HIGH, 3: mends.TILE // 2 * _WIDE},) * 2,
        ("odds",),
    ),
    "sync": Drawn(
        sync.WEIGHTS,
        sync_net.load,
        _vectors,
        {
            "mouth": torch.zeros(30, SIDE, SIDE, dtype=torch.uint8),
            "spectra": torch.zeros(200, sync.MELS),
        },
        ({0: Dim("pictures", min=sync.STACK)}, {0: Dim("spectra", min=sync.CONTEXT)}),
        ("seen", "heard"),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make graphs, of all nets that have one or of some."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*GRAPHS, []], metavar="NAME",
                        help=f"{', '.join(GRAPHS)}; all of them if none is given")  # fmt: skip
    for name in parser.parse_args(arguments).names or GRAPHS:
        path = GRAPHS[name].write()
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
