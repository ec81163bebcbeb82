"""Samples of decoded audio frames as float32, whatever format the decoder uses."""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler

from pipeline.measurements import Float32

# name without the p of planar -> numpy type, value of full scale, offset
_FORMATS: dict[str, tuple[type[np.generic], float, float]] = {
    "u8": (np.uint8, 128.0, 128.0),
    "s16": (np.int16, 2.0**15, 0.0),
    "s32": (np.int32, 2.0**31, 0.0),
    "s64": (np.int64, 2.0**63, 0.0),
    "flt": (np.float32, 1.0, 0.0),
    "dbl": (np.float64, 1.0, 0.0),
}
# PyAV finds the planes of a frame by their terminating null pointer, which is absent from the
# eighth on: it reads foreign memory and crashes. Such frames are packed first.
_SAFE_PLANES = 7
LARGEST = 100.0  # times full scale; damaged float codecs give anything, infinity included


class Samples:
    """Converts the frames of one stream."""

    def __init__(self) -> None:
        self._packers: dict[tuple[str, str, int], AudioResampler] = {}

    def of(self, frame: av.AudioFrame) -> Float32:
        """Float32 [C, N], full scale 1.0.

        Raises:
            KeyError: the sample format is unknown.
        """
        channels = frame.layout.nb_channels
        if frame.format.is_planar and channels > _SAFE_PLANES:
            packed = [_packed(part, channels) for part in self._packer(frame).resample(frame)]
            return np.concatenate(packed, axis=1) if packed else np.zeros((channels, 0), np.float32)
        if not frame.format.is_planar:
            return _packed(frame, channels)
        kind, full, offset = _FORMATS[frame.format.name.removesuffix("p")]
        count = frame.samples
        planes = [np.frombuffer(cast(Any, plane), kind, count) for plane in frame.planes[:channels]]
        return _scaled(np.stack(planes), full, offset)

    def _packer(self, frame: av.AudioFrame) -> AudioResampler:
        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        if key not in self._packers:
            self._packers[key] = AudioResampler("flt", frame.layout, frame.sample_rate)
        return self._packers[key]


def _packed(frame: av.AudioFrame, channels: int) -> Float32:
    kind, full, offset = _FORMATS[frame.format.name]
    flat = np.frombuffer(cast(Any, frame.planes[0]), kind, frame.samples * channels)
    return _scaled(np.ascontiguousarray(flat.reshape(-1, channels).T), full, offset)


def _scaled(values: np.ndarray, full: float, offset: float) -> Float32:
    if values.dtype.kind == "f":
        if not (values.size and values.max() <= LARGEST and values.min() >= -LARGEST):  # nor nan
            values = np.nan_to_num(values, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
            values = np.clip(values, -LARGEST, LARGEST)
        return values.astype(np.float32, copy=False)
    samples: Float32 = values.astype(np.float32)
    if offset:
        samples -= np.float32(offset)
    samples *= np.float32(1 / full)
    return samples
