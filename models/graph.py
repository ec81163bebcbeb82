"""A net on the CPU: a graph that ONNX Runtime computes in the thread that asks for it.

torch computes the same, but it takes two seconds and half a gigabyte to load, and 1.3 to 3.6 times
as long for nets as small as these. A graph (ONNX) says what is computed; the numbers it is computed
with lie in the file of weights beside it. `training/graphs.py` makes it of a module of
`models/nets`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

SUFFIX = ".onnx"


class Graph:
    """A graph, for many threads; each computes in itself alone.

    Small nets gain nothing from more threads, which on a busy machine wait for each other.

    Args:
        path: of the graph; its weights lie in the same folder.

    Raises:
        FileNotFoundError: there is no such graph.
        OSError: it or its weights cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"there is no graph {path}: python -m training.graphs makes it")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of a class for each status of the runtime, with no common one
            raise OSError(f"{path} cannot be read: {error}") from error
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, *inputs: npt.NDArray[np.generic]) -> list[npt.NDArray[np.float32]]:
        """What the graph makes of its inputs, in their order.

        Raises:
            ValueError: they are not of the shapes and types that it takes.
        """
        named = dict(zip(self._names, inputs, strict=True))
        try:
            made: list[npt.NDArray[np.float32]] = self._session.run(None, named)
        except Exception as error:  # as above
            raise ValueError(str(error)) from error
        return made
