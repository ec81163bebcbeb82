"""Running a net: device, precision, batches of mixed streams in fixed shapes, and a self-test.

A frame of any size is padded to a multiple of `BUCKET` samples, so that only a few shapes occur and
kernels chosen for one are used again. On the CPU the net runs in float32, channels last, with its
normalisation folded into the convolutions; on a GPU in bfloat16 or float16, which the self-test
holds to stored outputs of float32.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.frames import BUCKET, TILE, Frame, Maps, padded_shape
from models.nets.corruption import WEIGHTS, CorruptionNet, load, padded

Precision = Literal["auto", "float32", "bfloat16", "float16"]
LARGEST_BATCH = {"cpu": 1, "cuda": 16}
SELF_TEST = ".selftest.safetensors"  # suffix of the stored outputs, beside the weights
# largest difference of a probability that the self-test allows
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 6e-2, torch.float16: 2e-2}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_running = threading.Lock()  # one net at a time: more threads would only share the same cores


class RuntimeMismatchError(Exception):
    """On this device the net does not give what it should."""


class CorruptionRuntime:
    """The trained corruption net on one device.

    Args:
        device: "auto" takes a GPU where there is one.
        precision: "auto": float32 on a CPU, else bfloat16 where the GPU has it, float16 elsewhere.
        weights: file of weights.
        threads: of the CPU.
        check: run the self-test.

    Raises:
        RuntimeMismatchError: the self-test fails.
    """

    def __init__(
        self,
        device: str = "auto",
        precision: Precision = "auto",
        *,
        weights: Path = WEIGHTS,
        threads: int = 1,
        check: bool = True,
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.dtype = _dtype(self.device, precision)
        self._weights = weights
        self._batch = LARGEST_BATCH[self.device.type]
        if self.device.type == "cpu":
            torch.set_num_threads(threads)
        net = _fused(load(weights))
        self._net = net.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if check:
            self.check()

    def run(self, frames: Sequence[Frame]) -> list[Maps]:
        """Score frames of any sizes, of any streams; results in their order.

        Raises:
            torch.OutOfMemoryError: one frame alone is too large for the memory of the device.
        """
        buckets: dict[tuple[int, int], list[int]] = {}
        for n, frame in enumerate(frames):
            buckets.setdefault(padded_shape(*frame.luma.shape), []).append(n)
        made: dict[int, Maps] = {}
        with _running, torch.inference_mode():
            for indices in buckets.values():
                for start in range(0, len(indices), self._batch):
                    part = indices[start : start + self._batch]
                    made.update(zip(part, self._as_fits(frames, part), strict=True))
        return [made[n] for n in range(len(frames))]

    def _as_fits(self, frames: Sequence[Frame], part: Sequence[int]) -> list[Maps]:
        """A batch; in halves where the memory of the device does not suffice for all at once."""
        try:
            return self._of_one_shape(frames, part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(part) // 2
        return self._as_fits(frames, part[:half]) + self._as_fits(frames, part[half:])

    def score(self, luma: Tensor, before: Tensor, chroma: Tensor) -> Tensor:
        """Score frames that lie on this device already; nothing is copied and nobody waits.

        Args:
            luma: uint8 [N, 1, H, W], limited-range code values; H and W multiples of BUCKET.
            before: likewise, the frames before.
            chroma: uint8 [N, 2, H/2, W/2], Cb and Cr.

        Returns:
            float32 [N, 2, H/16, W/16], probabilities of corruption and of blockiness.
        """
        with torch.inference_mode():
            made: Tensor = self._net(luma, before, chroma).float().sigmoid()
        return made

    def _of_one_shape(self, frames: Sequence[Frame], part: Sequence[int]) -> list[Maps]:
        chosen = [frames[n] for n in part]
        luma = self._stack([one.luma[None] for one in chosen], BUCKET)
        before = self._stack([one.before[None] for one in chosen], BUCKET)
        chroma = self._stack([np.stack([one.cb, one.cr]) for one in chosen], BUCKET // 2)
        probabilities = self.score(luma, before, chroma).cpu().numpy()
        maps = []
        for one, heads in zip(chosen, probabilities, strict=True):
            rows, columns = -(-one.luma.shape[0] // TILE), -(-one.luma.shape[1] // TILE)
            maps.append(Maps(heads[0, :rows, :columns].copy(), heads[1, :rows, :columns].copy()))
        return maps

    def _stack(self, planes: Sequence[npt.NDArray[np.uint8]], multiple: int) -> Tensor:
        return torch.cat(
            [
                padded(torch.from_numpy(np.ascontiguousarray(one))[None], multiple).to(self.device)
                for one in planes
            ]
        )

    def warm_up(self, height: int, width: int) -> None:
        """Run once on a shape, so that the first frame of a stream does not wait for kernels."""
        blank = np.full((height, width), 128, np.uint8)
        half = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
        self.run([Frame(blank, blank, half, half)] * self._batch)

    def check(self) -> None:
        """Compare with outputs that are stored beside the weights.

        Raises:
            RuntimeMismatchError: they differ by more than the tolerance of the precision.
        """
        stored = load_file(self._weights.with_suffix(SELF_TEST))
        maps = self.run([reference_frame()])[0]
        away = max(
            float(np.abs(maps.corruption - stored["corruption"]).max()),
            float(np.abs(maps.blockiness - stored["blockiness"]).max()),
        )
        if not away <= TOLERANCE[self.dtype]:
            raise RuntimeMismatchError(
                f"on {self.device} in {self.dtype} the corruption net differs by {away:.4f} from "
                f"what is stored with its weights (at most {TOLERANCE[self.dtype]})"
            )


def store_self_test(weights: Path = WEIGHTS) -> None:
    """Write what the weights give in float32 on the CPU, which every device is compared with."""
    runtime = CorruptionRuntime("cpu", "float32", weights=weights, check=False)
    maps = runtime.run([reference_frame()])[0]
    stored = {"corruption": maps.corruption, "blockiness": maps.blockiness}
    save_file(stored, weights.with_suffix(SELF_TEST))


def reference_frame() -> Frame:
    """A frame that is the same everywhere: a gradient with shifted and with flat blocks."""
    rows, columns = np.mgrid[:144, :208]
    luma = ((rows * 3 + columns * 2 + (rows * columns) // 97) % 220 + 16).astype(np.uint8)
    before = luma.copy()
    luma[32:64, 48:112] = luma[64:96, 80:144]
    luma[96:112, 16:80] = 128
    cb = ((rows[::2, ::2] + columns[::2, ::2]) % 200 + 20).astype(np.uint8)
    return Frame(luma, before, cb, np.ascontiguousarray(255 - cb))


def _dtype(device: torch.device, precision: Precision) -> torch.dtype:
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _fused(net: CorruptionNet) -> CorruptionNet:
    """Normalisation folded into the convolutions before it."""
    for module in net.modules():
        names = [name for name, _ in module.named_children() if name.endswith("_norm")]
        for name in names:
            before = name.removesuffix("_norm")
            fused = fuse_conv_bn_eval(getattr(module, before), getattr(module, name))
            setattr(module, before, fused)
            setattr(module, name, torch.nn.Identity())
    return net
