"""Graphs for the CPU say what the torch modules say, with the weights that are stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from models import coarseness
from models.graph import SUFFIX, Graph
from models.nets.coarseness import CoarsenessNet, save
from training.graphs import GRAPHS

TOLERANCE = 1e-4  # of values around one


def drawn(name: str, more: int) -> list[np.ndarray]:
    """Inputs of other sizes than those that the graph was made with."""
    rng = np.random.default_rng(more)
    made = []
    for one, varying in zip(GRAPHS[name].inputs.values(), GRAPHS[name].varying, strict=True):
        sizes = [n * (1 + more * (axis in varying)) for axis, n in enumerate(one.shape)]
        values = rng.random(sizes) * (255 if name != "sync" or one.ndim == 3 else 4)
        made.append(values.astype(one.numpy().dtype))
    return made


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("more", [0, 3])
def test_a_graph_says_what_its_module_says(name, more):
    graph, inputs = GRAPHS[name], drawn(name, more)
    said = Graph(graph.weights.with_suffix(SUFFIX))(*inputs)
    with torch.inference_mode():
        wanted = graph.of(graph.load(graph.weights), *(torch.from_numpy(one) for one in inputs))
    wanted = [one.numpy() for one in ([wanted] if torch.is_tensor(wanted) else wanted)]
    assert len(said) == len(wanted) == len(graph.outputs)
    for one, other in zip(said, wanted, strict=True):
        assert np.abs(other).max() > 0.01
        np.testing.assert_allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_graph_refers_to_its_weights_and_holds_none():
    for graph in GRAPHS.values():
        assert graph.weights.with_suffix(SUFFIX).stat().st_size < 0.7 * graph.weights.stat().st_size


def test_threads_use_one_graph_at_once():
    graph = Graph(coarseness.WEIGHTS.with_suffix(SUFFIX))
    inputs = [drawn("coarseness", more)[0] for more in range(6)]
    alone = [graph(one)[0] for one in inputs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda one: graph(one)[0], inputs))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Weights that nobody has fitted, and the graph that is made of them."""
    torch.manual_seed(4)
    net = CoarsenessNet()
    net(torch.rand(8, 64, 64) * 255)  # normalisation that has seen something
    weights = tmp_path_factory.mktemp("graph") / "net.safetensors"
    save(net.eval(), weights)
    return weights, GRAPHS["coarseness"].write(weights)


def test_a_graph_is_made_anew_with_its_weights(fresh):
    weights, path = fresh
    (crops,) = drawn("coarseness", 5)
    with torch.inference_mode():
        wanted = GRAPHS["coarseness"].load(weights)(torch.from_numpy(crops))
    np.testing.assert_allclose(Graph(path)(crops)[0], wanted, atol=TOLERANCE)
    stored = load_file(weights)
    stored["head.bias"] += 1  # read from there, not from the graph
    save_file(stored, weights)
    assert np.abs(Graph(path)(crops)[0] - wanted.numpy()).max() > 0.5


def test_what_cannot_be_used_is_told(tmp_path, fresh):
    with pytest.raises(FileNotFoundError, match=r"training\.graphs"):
        Graph(tmp_path / "none.onnx")
    (tmp_path / "other.onnx").write_bytes(b"no graph")
    with pytest.raises(OSError, match=r"other\.onnx cannot be read"):
        Graph(tmp_path / "other.onnx")
    (tmp_path / "alone.onnx").write_bytes(fresh[1].read_bytes())  # without its weights
    with pytest.raises(OSError, match=r"alone\.onnx cannot be read"):
        Graph(tmp_path / "alone.onnx")
    with pytest.raises(ValueError, match="crops"):
        Graph(fresh[1])(np.zeros((1, 64, 63), np.uint8))
