"""What the faults of sound share: levels, where there is sound, and seams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from faults.base import FaultError, SoundFault
from faults.media import Clean
from pipeline.measurements import Float32, Float64

CELL = 0.01  # seconds; levels are looked at in cells of this length
SILENT = -60.0  # dBFS; no programme below (FFmpeg silencedetect)
AUDIBLE = -50.0  # dBFS; sound that one would miss
UNDER = 25.0  # dB below the programme's level up to which sound belongs to it
LOUD = 15.0  # the same for sound that is missed for milliseconds
CLUSTER = 0.5  # seconds; instants of damage closer than this are one event to a listener
REACH = 0.45  # seconds by which a fault may move to find sound: under half the margin around it


def amplitude(decibels: float) -> float:
    """Factor of a level in dB."""
    return float(10 ** (decibels / 20))


def level(part: Float32 | Float64) -> float:
    """RMS of the loudest channel in dBFS, -120 for silence."""
    if not part.shape[-1]:
        return -120.0
    power = np.square(part, dtype=np.float64).mean(axis=-1).max()
    return float(10 * np.log10(max(float(power), 1e-12)))


def cells(sound: Float32, rate: int) -> Float64:
    """Power of the loudest channel in cells of 10 ms."""
    size = max(1, round(CELL * rate))
    count = sound.shape[1] // size
    parts = sound[:, : count * size].reshape(sound.shape[0], count, size)
    power: Float64 = np.einsum("cmn,cmn->cm", parts, parts, dtype=np.float64).max(axis=0) / size
    return power


def programme_level(sound: Float32, rate: int) -> float:
    """Level of the programme without its pauses, dBFS.

    Raises:
        FaultError: there is none.
    """
    power = cells(sound, rate)
    power = power[power > 10 ** (SILENT / 10)]
    if not len(power):
        raise FaultError("it is silent")
    return float(10 * np.log10(power[power > 0.1 * power.mean()].mean()))


def _least(sound: Float32, rate: int, under: float) -> float:
    """Level from which on sound is programme, dBFS; all of it where all is quiet."""
    programme = programme_level(sound, rate)
    return max(min(AUDIBLE, programme), programme - under)


def sounding(sound: Float32, span: slice, rate: int) -> slice:
    """The part of a span from where the programme is first heard in it to where it is last heard.

    Raises:
        FaultError: less than half of the span remains.
    """
    least = _least(sound, rate, UNDER)
    heard = np.flatnonzero(cells(sound[:, span], rate) >= 10 ** (least / 10))
    size = max(1, round(CELL * rate))
    if not len(heard) or 2 * (heard[-1] + 1 - heard[0]) * size < span.stop - span.start:
        raise FaultError(
            f"there is hardly any sound from {span.start / rate:.2f} to {span.stop / rate:.2f} s"
        )
    first = span.start + int(heard[0]) * size
    last = span.start + int(heard[-1] + 1) * size
    return slice(first, span.stop if span.stop - last < size else last)


def amid_sound(sound: Float32, rate: int, starts: Float64, length: int) -> Float64:
    """Of the starts, in samples: those where something of `length` begins and ends amid sound."""
    beside = max(1, round(0.008 * rate))
    inside = min(beside, length)
    starts = np.asarray(starts, int)
    starts = starts[(starts >= beside) & (starts + length + beside <= sound.shape[1])]
    total = np.concatenate(
        [[0.0], np.cumsum(np.square(sound, dtype=np.float64).max(axis=0), dtype=np.float64)]
    )
    least = _least(sound, rate, LOUD)
    loud = np.ones(len(starts), bool)
    for first, stop in (
        (starts - beside, starts),
        (starts, starts + inside),
        (starts + length - inside, starts + length),
        (starts + length, starts + length + beside),
    ):
        loud &= (total[stop] - total[first]) >= 10 ** (least / 10) * (stop - first)
    return starts[loud].astype(np.float64)


def place_amid_sound(
    sound: Float32, rate: int, span: slice, length: int, rng: np.random.Generator
) -> int:
    """Where in a span something of `length` samples may begin and end amid sound; else close to it.

    Raises:
        FaultError: nowhere.
    """
    step = max(1, round(0.002 * rate))
    reach = round(REACH * rate)
    latest = max(span.stop - length, span.start)
    for first, last in (
        (span.start, latest),
        (max(span.start - reach, 0), latest + reach),
    ):
        good = amid_sound(sound, rate, np.arange(first, last + 1, step, dtype=np.float64), length)
        if len(good):
            return int(good[int(rng.integers(len(good)))])
    raise FaultError(
        f"there is no sound of {length / rate:.3f} s to damage near {span.start / rate:.2f} s"
    )


def seam(length: int, edge: int) -> Float32:
    """Weight of the damaged sound: 1, but rising over `edge` samples at either end."""
    weight = np.ones(length, np.float32)
    edge = min(edge, length // 2)
    if edge:
        rise = np.sin(np.pi / 2 * (np.arange(edge) + 1) / (edge + 1)) ** 2
        weight[:edge] = rise
        weight[length - edge :] = rise[::-1]
    return weight


def clusters(spans: Sequence[tuple[int, int]], rate: int) -> list[list[tuple[int, int]]]:
    """Spans of samples in order, in groups between which lies more than CLUSTER."""
    groups: list[list[tuple[int, int]]] = []
    for span in sorted(spans):
        if groups and span[0] - groups[-1][-1][1] <= CLUSTER * rate:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def front_pair(clean: Clean) -> str | None:
    """Why there is no left and right; None: there are, the first two channels."""
    return "it is mono" if clean.sound.shape[0] < 2 else None


class PartFault(SoundFault):
    """Changes one stretch of the sound.

    What lies between the first and the last sample that changed is the truth.
    """

    # Seconds at either end, inside the truth, over which clean sound passes into damaged sound.
    edge: ClassVar[float] = 0.005
    # The stretch is the part of the interval in which there is sound; False: all of the interval.
    trims: ClassVar[bool] = True

    @abstractmethod
    def change(self, part: Float32, rate: int) -> Float32:
        """The damaged stretch, as long as the clean one; `part` may be changed in place."""

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        span = self.span(sound, rate)
        if self.trims:
            span = sounding(sound, span, rate)
        part = sound[:, span].copy()
        changed = self.change(part.copy(), rate).astype(np.float32)
        weight = seam(part.shape[1], round(self.edge * rate))
        sound[:, span] = np.where(weight == 1, changed, part + weight * (changed - part))
        hit = np.flatnonzero((sound[:, span] != part).any(axis=0))
        if len(hit):
            first = span.start + int(hit[0])
            self.did(first / rate, (span.start + int(hit[-1]) + 1) / rate)
        return sound


def thirds(
    frequency: npt.NDArray[np.floating], lowest: float, highest: float
) -> Iterator[npt.NDArray[np.bool_]]:
    """Bands of a third of an octave.

    Args:
        frequency: Hz of each bin [F].
        lowest: Hz of the middle of the first band.
        highest: Hz that the middle of the last one stays below.

    Yields:
        [F] which bins are in the band.
    """
    centre = lowest
    while centre < highest:
        yield (frequency >= centre * 2 ** (-1 / 6)) & (frequency < centre * 2 ** (1 / 6))
        centre *= 2 ** (1 / 3)
