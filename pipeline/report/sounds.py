"""Waveforms and spectrograms for the report, drawn from the samples around a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.container
import av.error
import numpy as np
import numpy.typing as npt
from plotly.colors import hex_to_rgb, sequential

from pipeline.measurements import Float32
from pipeline.report.pictures import RGB, Deadline, EvidenceError, seek
from pipeline.samples import Samples

_WARM_UP = 0.3  # seconds decoded and thrown away after a seek, for codecs that overlap their blocks
_BACK: tuple[float | None, ...] = (0.0, 5.0, None)  # as in pictures.py
_LATE = 0.05  # seconds that a seek may land late before it is tried from further back
_RANGE_DB = 90.0  # what a spectrogram shows below its loudest point
_FLOOR_DB = -120.0


@dataclass(frozen=True)
class Sound:
    """Samples float32 [C, N], full scale 1.0, and the time of the first. Gaps are zeros."""

    time: float
    rate: int
    samples: Float32
    names: tuple[str, ...]  # of the channels, as FFmpeg names them: FL, FR, FC, ...

    @property
    def end(self) -> float:
        """Time just after the last sample."""
        return self.time + float(self.samples.shape[1] / self.rate)

    def part(self, start: float, end: float) -> Sound:
        """What lies between two times, as far as it is held."""
        first = min(max(round((start - self.time) * self.rate), 0), self.samples.shape[1])
        last = min(max(round((end - self.time) * self.rate), first), self.samples.shape[1])
        samples = self.samples[:, first:last]
        return Sound(self.time + first / self.rate, self.rate, samples, self.names)


def sound_at(
    container: av.container.InputContainer,
    stream: int,
    start: float,
    end: float,
    origin: float,
    deadline: Deadline,
) -> Sound:
    """The sound between two times of presentation.

    Args:
        container: open for demuxing; its position changes.
        stream: index of the audio stream.
        start: seconds of presentation.
        end: seconds; the memory used grows with `end - start` only.
        origin: the container clock at presentation zero, seconds.
        deadline: when to give up.

    Raises:
        EvidenceError: time is up, or nothing can be decoded there.
    """
    audio = next((s for s in container.streams.audio if s.index == stream), None)
    if audio is None:
        raise EvidenceError(f"there is no audio stream {stream}")
    got: list[tuple[float, int, Float32]] = []
    names: tuple[str, ...] = ()
    for back in _BACK:
        deadline.check()
        try:
            seek(container, None if back is None else start + origin - back - _WARM_UP)
        except (av.error.FFmpegError, OSError):
            continue
        got, first = [], True
        for now, frame, samples in _decode(container, audio, origin, deadline):
            if first and now > start + _LATE and back is not None:
                break
            first = False
            if now >= end:
                break
            if now + samples.shape[1] / frame.sample_rate > start:
                if got and (got[0][1], len(got[0][2])) != (frame.sample_rate, len(samples)):
                    break  # another format from here on
                got.append((now, frame.sample_rate, samples))
                names = _names(frame)
        if got:
            break
    if not got:
        raise EvidenceError("no sound could be decoded there")
    rate = got[0][1]
    begin = max(start, got[0][0])
    count = max(1, round((min(end, max(t + s.shape[1] / rate for t, _, s in got)) - begin) * rate))
    out = np.zeros((len(got[0][2]), count), np.float32)
    for now, _, samples in got:
        at = round((now - begin) * rate)
        part = samples[:, max(0, -at) : max(0, count - at)]
        out[:, max(at, 0) : max(at, 0) + part.shape[1]] = part
    return Sound(begin, rate, out, names)


def _decode(
    container: av.container.InputContainer,
    audio: av.AudioStream,
    origin: float,
    deadline: Deadline,
) -> Iterator[tuple[float, av.AudioFrame, Float32]]:
    """Time, frame and float samples [C, N]; damaged packets are passed over."""
    packets = container.demux([audio])
    converter = Samples()
    while True:
        deadline.check()
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError, OSError):
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if not isinstance(frame, av.AudioFrame) or frame.pts is None or not frame.time_base:
                continue
            samples = converter.of(frame)
            if samples.shape[1] and frame.sample_rate > 0:
                yield float(frame.pts * frame.time_base) - origin, frame, samples


def _names(frame: av.AudioFrame) -> tuple[str, ...]:
    """FFmpeg's names of the channels; where it knows none, their numbers."""
    names = [channel.name for channel in frame.layout.channels]
    return tuple(str(n + 1) if name == "NONE" else name for n, name in enumerate(names))


def envelope(samples: Float32, columns: int) -> tuple[Float32, Float32]:
    """Smallest and largest sample in each of at most `columns` columns.

    Args:
        samples: [N], N >= 1.
        columns: how many to make; never more than there are samples.

    Returns:
        Two arrays [columns].
    """
    edges = np.linspace(0, len(samples), min(columns, len(samples)) + 1).astype(np.int64)[:-1]
    return np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)


def vertical_range(samples: Float32) -> float:
    """The magnitude that fills the height of a waveform: full scale, or less for quiet sound.

    Args:
        samples: [C, N].

    Returns:
        1, or 10 dB steps below it (0.316, 0.1, ... down to 0.001).
    """
    peak = float(np.abs(np.nan_to_num(samples)).max(initial=0.0))
    steps = 10.0 ** (-np.arange(7) / 2)
    return float(steps[steps >= min(max(peak * 1.05, 1e-3), 1.0)].min())


def svg_path(samples: Float32, columns: int, width: float, height: float, full: float = 1.0) -> str:
    """The `d` of an SVG path: the waveform of one channel as a filled shape in a box.

    A channel with fewer samples than twice the columns is drawn as a line through them. The range
    -full to full fills the height; what is louder is cut off there.
    """
    half = height / 2

    def y(values: Float32) -> npt.NDArray[np.float64]:
        finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
        return np.asarray(half - np.clip(finite / full, -1.0, 1.0) * half)

    if len(samples) <= 2 * columns:
        xs = (np.arange(len(samples)) + 0.5) * width / max(len(samples), 1)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs, y(samples), strict=True))
        return f"M{points}"
    low, high = envelope(samples, columns)
    xs = (np.arange(len(low)) + 0.5) * width / len(low)
    # never thinner than a hair, or digital silence would not be seen
    top, bottom = y(high) - 0.4, y(low) + 0.4
    there = [f"{a:.1f},{b:.1f}" for a, b in zip(xs, top, strict=True)]
    back = [f"{a:.1f},{b:.1f}" for a, b in zip(xs[::-1], bottom[::-1], strict=True)]
    return "M" + " ".join(there + back) + "Z"


def spectrogram(sound: Sound, top_hz: float, box: tuple[int, int]) -> RGB:
    """A picture of the spectrum over time, mean over the channels, low frequencies at the bottom.

    Args:
        sound: at least a few milliseconds.
        top_hz: highest frequency shown.
        box: width and height of the picture in pixels.

    Returns:
        uint8 [height, width, 3]; the colour scale covers 90 dB below the loudest point.
    """
    width, height = box
    mono = np.nan_to_num(sound.samples).mean(axis=0, dtype=np.float64)
    # about twice as many frequencies below top_hz as rows, but no window longer than the sound
    wanted = 2 * height * sound.rate / max(top_hz, 1.0)
    size = 1 << int(np.clip(np.log2(max(wanted, 64)), 6, 15))
    while size > 64 and size > len(mono) // 4:
        size //= 2
    mono = np.pad(mono, size // 2)
    centres = np.linspace(0, len(mono) - size, width).astype(np.int64)
    window = np.hanning(size)
    level = np.empty((width, height))
    bins = np.linspace(0, min(top_hz * size / sound.rate, size / 2), height + 1)
    for column, first in enumerate(centres):
        power = np.abs(np.fft.rfft(mono[first : first + size] * window)) ** 2
        decibels = 10 * np.log10(power / (window.sum() / 2) ** 2 + 10 ** (_FLOOR_DB / 10))
        level[column] = _pool(decibels, bins)
    top = max(float(level.max()), _FLOOR_DB + _RANGE_DB)
    shade = np.clip((level - (top - _RANGE_DB)) / _RANGE_DB, 0, 1).T[::-1]
    colours = np.array([hex_to_rgb(colour) for colour in sequential.Inferno], dtype=np.float64)
    steps = np.linspace(0, 1, len(colours))
    rgb = np.stack([np.interp(shade, steps, colours[:, part]) for part in range(3)], axis=-1)
    return np.ascontiguousarray(rgb.round().astype(np.uint8))


def _pool(decibels: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> Float32:
    """The spectrum at each row: the loudest bin in it, or between two bins their blend."""
    middle = (bins[:-1] + bins[1:]) / 2
    rows = np.interp(middle, np.arange(len(decibels)), decibels)
    first, last = np.floor(bins[:-1]).astype(int), np.floor(bins[1:]).astype(int)
    for row in np.flatnonzero(last - first > 1):
        rows[row] = decibels[first[row] : last[row]].max()
    return np.asarray(rows, np.float32)
