"""Levels of real sound, and scenes made of them: inserts at another gain, and what is none.

A gain adds the same to the levels of all bands, so that it can be put into levels in place of
sound: any number of scenes come of an hour of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av.error
import numpy as np
import numpy.typing as npt

from faults.coding import Coder
from faults.media import Clean
from models.bands import BANDS
from models.level_jump import SILENT, levels
from pipeline.errors import SourceError
from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measurements import Float32, SoundFormat

FORM = 1  # raise it when files are made in another way
HOP = 0.0215  # seconds, as most sound has it
LONGEST, SHORTEST = 8.0, 2.5  # seconds of what is asked for as an insert
_FEWEST = 100  # windows of a clip
_CODECS, _KBPS = {"aac": 0.6, "mp3": 0.2, "opus": 0.2}, (48, 64, 96)  # a channel
_EDGE = 12  # windows at the ends of a scene in which nothing steps
_LADDER = (6.0, 8.0, 11.0, 15.0)  # dB
# Chances of what is no gain: others in turn, something that sets in or ends, a fade, a gap
_TURNS, _LAYER, _FADE, _GAP, _STEP = 0.17, 0.15, 0.08, 0.04, 0.15
_SLOW = 12  # windows, a quarter of a second
_FULL = -1.0  # dB of the loudest band at most


def write(name: str, file: Path, others: tuple[Path, ...], seed: int, path: Path) -> None:  # noqa: ARG001
    """Write the levels of a clip as it is and after a codec, see `training.sounds.Write`."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    codec = str(rng.choice(list(_CODECS), p=list(_CODECS.values())))
    kbps = int(rng.choice(_KBPS))
    clean, problem = Clean(file), ""
    sound, rate = clean.sound[:2], clean.sample_rate
    made = {"plain": _levels(sound, rate).astype(np.float16)}
    try:
        coded = Coder(sound, rate, codec, kbps * 1000).decode()
        made["coded"] = _levels(coded, rate).astype(np.float16)
    except (SourceError, ValueError, av.error.FFmpegError) as error:
        problem = f"{codec}: {type(error).__name__}: {error}"
    np.savez(path, allow_pickle=False, **made)
    path.with_suffix(".json").write_text(json.dumps({"problem": problem}) + "\n")


def _levels(sound: Float32, rate: int) -> Float32:
    layout = "mono" if len(sound) == 1 else "stereo"
    spectra = SpectrumMeter(SoundFormat(0, rate, len(sound), layout)).measure(sound, 0.0)
    return levels(spectra.power, float(spectra.frequencies[-1]))


@dataclass(frozen=True)
class Scene:
    """Levels in which the gain steps, or not.

    Attributes:
        level: [F, BANDS] dB.
        steps: window and dB of each step.
        inserts: window of start and end, and dB, of those that are long enough.
    """

    level: Float32
    steps: list[tuple[int, float]]
    inserts: list[tuple[int, int, float]]


class Scenes:
    """Draws scenes from the levels of clips, so that no source is most of them.

    Args:
        paths: files that `write` made, each with its source.
    """

    def __init__(self, paths: Sequence[tuple[str, Path]]) -> None:
        self._of: dict[str, list[npt.NDArray[np.float16]]] = {}
        for source, path in paths:
            with np.load(path) as held:
                long = [held[kind] for kind in held.files if len(held[kind]) >= _FEWEST]
            if long:
                self._of.setdefault(source, []).extend(long)
        self._sources = sorted(self._of)
        share = np.sqrt([len(self._of[source]) for source in self._sources])
        self._share = share / share.sum()

    def draw(self, rng: np.random.Generator, count: int) -> Scene:
        """A scene of at most so many windows."""
        source, level = self._piece(rng, count)
        count = len(level)
        if rng.random() < 0.5:
            level += _colour(rng, 3.0)
        level += rng.uniform(-15, 5)
        if rng.random() < 0.22:  # a second sound under it
            level = _together(level, self._as_loud(rng, level) - rng.uniform(5, 30))
        kind, alone = rng.random(), True
        for chance, change in (
            (_TURNS, self._in_turn), (_LAYER, self._layered), (_FADE, _faded), (_GAP, _gapped),
        ):  # fmt: skip
            if 0 <= kind < chance:
                level, alone = change(rng, level, source), False
            kind -= chance
        steps: list[tuple[int, float]] = []
        inserts: list[tuple[int, int, float]] = []
        if rng.random() < (0.75 if alone else _STEP):
            level, steps, inserts = _stepped(rng, level)
        level -= max(0.0, float(level.max()) - _FULL)
        if rng.random() < 0.55:  # what the equipment adds, or what a codec leaves out
            level = _together(level, _noise(rng, len(level), rng.uniform(-110, -70)))
        if rng.random() < 0.3:
            level[level < rng.uniform(-100, -78)] = SILENT
        if rng.random() < 0.3:
            level[:, int(rng.integers(40, BANDS)) :] = SILENT
        level += rng.normal(0, 0.35, level.shape).astype(np.float32)
        return Scene(level.astype(np.float32), steps, inserts)

    def _piece(
        self, rng: np.random.Generator, count: int, source: str = "", *, whole: bool = False
    ) -> tuple[str, Float32]:
        """Windows of a source; `whole`: as many as asked for, over again where there are fewer."""
        source = source or self._sources[int(rng.choice(len(self._sources), p=self._share))]
        held = self._of[source][int(rng.integers(len(self._of[source])))]
        if whole and len(held) < count:
            held = np.concatenate([held] * (count // len(held) + 1))
        first = int(rng.integers(0, max(len(held) - count, 0) + 1))
        return source, held[first : first + count].astype(np.float32)

    def _as_loud(self, rng: np.random.Generator, level: Float32, source: str = "") -> Float32:
        """Other sound, as loud as this."""
        other = self._piece(rng, len(level), source, whole=True)[1]
        return other + np.float32(_loud(level) - _loud(other))

    def _in_turn(self, rng: np.random.Generator, level: Float32, source: str) -> Float32:
        """Other sound from time to time: another speaker, who may be softer, or a cut."""
        other = self._as_loud(rng, level, source if rng.random() < 0.6 else "")
        other += rng.choice([-1, 1]) * rng.uniform(0, 14)
        at = int(rng.integers(-60, 60))
        mine = rng.random() < 0.5
        longest = rng.uniform(80, 400)
        while at < len(level):
            stop = at + int(rng.uniform(40, longest))
            if not mine:
                level[max(at, 0) : max(stop, 0)] = other[max(at, 0) : max(stop, 0)]
            pause = int(rng.integers(0, 20)) if rng.random() < 0.5 else 0
            level[max(stop, 0) : max(stop + pause, 0)] -= 30
            at, mine = stop + pause, not mine
        return level

    def _layered(self, rng: np.random.Generator, level: Float32, source: str) -> Float32:  # noqa: ARG002
        """Other sound, or noise such as applause, that sets in and ends, at once or swelling."""
        if rng.random() < 0.5:
            other = self._as_loud(rng, level)
        else:
            other = _noise(rng, len(level), 0.0) + _colour(rng, 5.0)
            other += np.float32(_loud(level) - _loud(other))
        start, end = _span(rng, len(level))
        swell = int(rng.integers(1, 30)) if rng.random() < 0.6 else 1
        # a large part of it that sets in at once would be a step of its gain
        low = rng.uniform(-60, -5 if swell > _SLOW else -25)
        gain = np.interp(
            np.arange(len(level)),
            [start - swell, start, end, end + swell * rng.uniform(1, 3)], [low, 0, 0, low],
        )  # fmt: skip
        if rng.random() < 0.25:
            gain = low - gain
        other += (rng.uniform(-10, 14) + gain[:, None]).astype(np.float32)
        return _together(level, other)


def _stepped(
    rng: np.random.Generator, level: Float32
) -> tuple[Float32, list[tuple[int, float]], list[tuple[int, int, float]]]:
    """With an insert at another gain, of which one end may lie outside."""
    start, end = _span(rng, len(level))
    gain = float(rng.choice(_LADDER)) if rng.random() < 0.5 else float(rng.uniform(4, 18))
    gain *= float(rng.choice([-1, 1]))
    steps = []
    for at, step in ((start, gain), (end, -gain)):
        level[max(at + 1, 0) :] += step
        if _EDGE <= at < len(level) - _EDGE:
            share = rng.random()  # of the window that has it
            level[at] += 10 * np.log10(1 - share + share * 10 ** (step / 10))
            steps.append((at, step))
    long = SHORTEST <= (end - start) * HOP <= LONGEST
    return level, steps, [(start, end, gain)] if len(steps) == 2 and long else []


def _faded(rng: np.random.Generator, level: Float32, source: str) -> Float32:  # noqa: ARG001
    """Softer or louder for a while, but not at once."""
    start, end = _span(rng, len(level))
    into, out = (int(one) for one in rng.integers(6, 60, 2))
    gain = rng.uniform(5, 25) * rng.choice([-1, 1])
    places = [start - into, start, end, end + out]
    level += np.interp(np.arange(len(level)), places, [0, gain, gain, 0])[:, None].astype("f4")
    return level


def _gapped(rng: np.random.Generator, level: Float32, source: str) -> Float32:  # noqa: ARG001
    """It fades into the tone of a room, and begins again."""
    start, end = _span(rng, len(level))
    places = [start - int(rng.integers(5, 40)), start, end, end + int(rng.integers(2, 30))]
    level += np.interp(np.arange(len(level)), places, [0, -60, -60, 0])[:, None].astype("f4")
    return _together(level, _noise(rng, len(level), rng.uniform(-75, -55)))


def _span(rng: np.random.Generator, count: int) -> tuple[int, int]:
    """Windows from which and up to which something lasts; partly outside, it may be."""
    seconds = rng.uniform(2.8, 6.5) if rng.random() < 0.65 else rng.uniform(0.3, 9.0)
    length = int(seconds / HOP)
    inside = count - length - 2 * 2 * _EDGE
    if inside > 0 and rng.random() < 0.7:
        start = 2 * _EDGE + int(rng.integers(inside))
    else:
        start = int(rng.integers(_EDGE - length, count - _EDGE))
    return start, start + length


def _together(one: Float32, other: Float32) -> Float32:
    """Levels of both sounds at once."""
    made: Float32 = (10 * np.log10(10 ** (one / 10) + 10 ** (other / 10))).astype(np.float32)
    return made


def _noise(rng: np.random.Generator, count: int, level: float) -> Float32:
    return (level + rng.normal(0, 2, (count, BANDS))).astype(np.float32)


def _colour(rng: np.random.Generator, decibels: float) -> Float32:
    """[BANDS] a smooth change over the bands."""
    knots = np.cumsum(rng.normal(0, decibels, 6))
    return np.interp(np.linspace(0, 5, BANDS), np.arange(6), knots).astype(np.float32)


def _loud(level: Float32) -> float:
    """What the loudest band mostly reaches, dB."""
    return float(np.percentile(level.max(axis=1), 80))
