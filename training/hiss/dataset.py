"""Levels of real sound, and scenes made of them: noise that was put under it, and what is none.

Noise is added power, so that it can be put into levels in place of sound: any number of scenes come
of an hour of it. What codecs make of hiss is learned from sound that was damaged and encoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av.error
import numpy as np
import numpy.typing as npt

from faults.base import FaultError, Order
from faults.coding import Coder
from faults.hiss import EXCEEDS, FAINTEST, MOMENTS, HissFault
from faults.media import Clean
from faults.truth import Severity
from models.bands import edges, hertz
from models.hiss import COARSE, SILENT, cells, levels, windows_of_a_cell
from pipeline.errors import SourceError
from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measurements import Float32, Float64, SoundFormat

FORM = 1  # raise it when files are made in another way
_SNRS = (6.0, 34.0)  # dB of programme to hiss
_THROUGHOUT, _PERHAPS = (
    20.0,
    32.0,
)  # dB: hiss without an end; from there up to here nothing is asked
_CODECS, _KBPS = {"aac": 0.6, "mp3": 0.2, "opus": 0.2}, (48, 64, 96)  # a channel
_DAMAGED = 3  # of a clip
_SWELLS, _SWINGS, _STRUCK, _BURSTS = 0, 1, 2, 3  # how noise moves; else it strays
_DELIVERED = 0.3  # share of scenes that are sound as it was damaged and encoded, if there is any
_DRAWN = 0.1  # share of scenes without any recording
_WHOLE = 0.3  # share of hiss that is there all the time
_OWN_SNR = (27.0, 60.0)  # dB of programme to the floor of a room
_BANK = 40.0  # seconds of noise from which all is drawn
_LOW, _HIGH = 1000.0, 16_000.0  # Hz, between which hiss has its level


def write(name: str, file: Path, others: tuple[Path, ...], seed: int, path: Path) -> None:  # noqa: ARG001
    """Write the levels of a clip, clean and with hiss, see `training.sounds.Write`."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    clean, problems = Clean(file), []
    sound, rate = clean.sound[:2], clean.sample_rate
    made: dict[str, npt.NDArray[np.generic]] = {"plain": _levels(sound, rate).astype(np.float16)}
    for n in range(-1, _DAMAGED):
        try:
            codec = str(rng.choice(list(_CODECS), p=list(_CODECS.values())))
            kbps = int(rng.choice(_KBPS))
            given, truth = (sound, None) if n < 0 else _damaged(clean, rng)
            if n <= 1:
                given = Coder(given, rate, codec, kbps * 1000).decode()
            made[f"coded{n}" if truth is None else f"hiss{n}"] = _levels(given, rate).astype("f2")
            if truth is not None:
                made[f"truth{n}"] = np.array(truth)
        except (FaultError, SourceError, ValueError, av.error.FFmpegError) as error:
            problems.append(f"{n}: {type(error).__name__}: {error}")
    np.savez(path, allow_pickle=False, form=np.array([rate, len(sound)]), **made)
    path.with_suffix(".json").write_text(json.dumps({"problems": problems}) + "\n")


def _damaged(clean: Clean, rng: np.random.Generator) -> tuple[Float32, tuple[float, float, float]]:
    """Sound with hiss, and of that seconds of start and end, and its level in dBFS."""
    length = min(float(rng.uniform(2.2, 6.0)), clean.duration - 1.5)
    start = float(rng.uniform(0.5, clean.duration - length - 0.5))
    order = Order("hiss", Severity.NOTICEABLE, start, start + length, int(rng.integers(1 << 30)))
    fault = HissFault(order, clean)
    fault.parameters["snr_db"] = float(rng.uniform(8, 33))
    made = fault.sound(clean.sound[:2].copy(), clean.sample_rate)
    if not fault.truths:
        raise FaultError("nothing was changed")
    truth = fault.truths[0]
    share = _shares(clean.sample_rate)[str(truth.parameters["colour"])]
    inside = 10 * np.log10(share[_heard()].sum())
    return made, (truth.start, truth.end, float(truth.parameters["level_dbfs"]) + inside)


def _levels(sound: Float32, rate: int) -> Float32:
    layout = "mono" if len(sound) == 1 else "stereo"
    spectra = SpectrumMeter(SoundFormat(0, rate, len(sound), layout)).measure(sound, 0.0)
    return levels(spectra.power, float(spectra.frequencies[-1]))


@cache
def _bins(rate: int) -> int:
    """How many bins a spectrum has: up to half the rate."""
    meter = SpectrumMeter(SoundFormat(0, rate, 1, "mono"))
    return len(meter.measure(np.zeros((1, rate), np.float32), 0.0).frequencies)


def hop_of(rate: int) -> float:
    """Seconds between spectra."""
    return (_bins(rate) - 1) / rate


@cache
def _noise(rate: int, channels: int) -> Float32:
    """[F, COARSE] levels of white noise of 0 dBFS, alike in no two channels."""
    noise = np.random.default_rng(5).normal(0, 1, (channels, round(_BANK * rate)))
    return _levels(noise.astype(np.float32), rate)


@cache
def _shares(rate: int) -> dict[str, Float64]:
    """[COARSE] what share of the power of white and of pink noise lies in each band."""
    count = _bins(rate)
    bins = np.linspace(0, rate / 2, count)
    made = {}
    for colour, density in (("white", np.ones(count)), ("pink", 1 / np.maximum(bins, 20.0))):
        held = np.concatenate([density / density.sum(), [0.0, 0.0]])
        each = np.add.reduceat(held, edges(rate / 2, count).ravel())[::2]
        made[colour] = np.maximum(each.reshape(COARSE, -1).sum(axis=1), 1e-12)
    return made


@cache
def _heard() -> npt.NDArray[np.bool_]:
    """[COARSE] which bands lie where hiss has its level."""
    middle = _centres()
    return np.asarray((middle >= _LOW) & (middle <= _HIGH))


def _centres() -> Float64:
    """[COARSE] Hz of the middle of each band."""
    return hertz((np.arange(COARSE) + 0.5) / COARSE)


@dataclass(frozen=True)
class Scene:
    """Cells under which there is hiss, or not.

    Attributes:
        cell: [N, 2, COARSE] dB.
        there: [N] 1 where there is hiss, -1 where nothing is asked, else 0.
        level: dBFS of it from 1 to 16 kHz.
        snr: dB of programme over it; of all frequencies.
    """

    cell: Float32
    there: npt.NDArray[np.int8]
    level: float = 0.0
    snr: float = 0.0


@dataclass(frozen=True)
class _Clip:
    rate: int
    channels: int
    clean: list[npt.NDArray[np.float16]]
    damaged: list[tuple[npt.NDArray[np.float16], Float64]]


class Scenes:
    """Draws scenes from the levels of clips, so that no source is most of them.

    Args:
        paths: files that `write` made, each with its source.
    """

    def __init__(self, paths: Sequence[tuple[str, Path]]) -> None:
        self._of: dict[str, list[_Clip]] = {}
        for source, path in paths:
            with np.load(path) as held:
                rate, channels = (int(one) for one in held["form"])
                clean = [held[k] for k in held.files if k == "plain" or k.startswith("coded")]
                damaged = [
                    (held[k], held["truth" + k[4:]]) for k in held.files if k.startswith("hiss")
                ]
            self._of.setdefault(source, []).append(_Clip(rate, channels, clean, damaged))
        self._sources = sorted(self._of)
        share = np.sqrt([len(self._of[source]) for source in self._sources])
        self._share = share / share.sum()

    def draw(self, rng: np.random.Generator, count: int) -> Scene:
        """A scene of so many cells."""
        source, clip = self._clip(rng, "")
        if clip.damaged and rng.random() < _DELIVERED:
            return self._delivered(rng, source, clip, count)
        source, clip = self._clip(rng, "")  # anew: of those with damage there would be fewer
        size = windows_of_a_cell(hop_of(clip.rate))
        if rng.random() < _DRAWN:
            level = self._drawn(rng, clip, count * size)
        else:
            level = self._piece(rng, source, clip, count * size)
        if rng.random() < 0.5:
            level += _colour(rng, 3.0)
        level += rng.uniform(-15, 5)
        if rng.random() < 0.25:  # a second sound under it, or in turn with it
            other = self._other(rng, len(level))
            other += np.float32(_loud(level) - _loud(other) - rng.uniform(3, 30))
            level = _together(level, other)
        if rng.random() < 0.35:
            level = self._own_floor(rng, clip, level)
        if rng.random() < 0.15:
            level = self._in_turn(rng, clip, level, source)
        if rng.random() < 0.4:
            level = self._natural(rng, clip, level)
        if rng.random() < 0.1:
            level = _gapped(rng, level)
        there, of_noise, snr = np.zeros(len(level), np.int8), 0.0, 0.0
        bands = int(rng.integers(18, COARSE)) if rng.random() < 0.2 else COARSE  # that are kept
        if rng.random() < 0.55:
            level, there, of_noise, snr = self._hiss(rng, clip, level, bands)
        if rng.random() < 0.2:
            level[level < rng.uniform(-100, -80)] = SILENT
        level[:, bands:] = SILENT
        level = _measured(rng, level)
        return Scene(cells(level, size), _by_cell(there, size), of_noise, snr)

    def _clip(self, rng: np.random.Generator, source: str) -> tuple[str, _Clip]:
        source = source or self._sources[int(rng.choice(len(self._sources), p=self._share))]
        return source, self._of[source][int(rng.integers(len(self._of[source])))]

    def _piece(self, rng: np.random.Generator, source: str, clip: _Clip, count: int) -> Float32:
        """So many windows of a clip; what is missing is of others of its source."""
        held = clip.clean[int(rng.integers(len(clip.clean)))]
        parts, have = [held], len(held)
        while have < count:
            other = self._clip(rng, source)[1]
            same = other if other.rate == clip.rate else clip
            parts.append(same.clean[int(rng.integers(len(same.clean)))])
            have += len(parts[-1])
        whole = np.concatenate(parts)
        first = int(rng.integers(0, len(whole) - count + 1))
        return whole[first : first + count].astype(np.float32)

    def _other(self, rng: np.random.Generator, count: int) -> Float32:
        """Sound of any source, of whatever rate: what is in its bands is all that matters."""
        source, other = self._clip(rng, "")
        return self._piece(rng, source, other, count)

    def _delivered(self, rng: np.random.Generator, source: str, clip: _Clip, count: int) -> Scene:
        """Sound that was damaged, mostly encoded too; what it lacks in length is clean."""
        size, hop = windows_of_a_cell(hop_of(clip.rate)), hop_of(clip.rate)
        held, truth = clip.damaged[int(rng.integers(len(clip.damaged)))]
        there = np.zeros(len(held), np.int8)
        middle = (np.arange(len(held)) + 1) * hop
        there[(middle >= truth[0]) & (middle < truth[1])] = 1
        level = held.astype(np.float32)
        missing = count * size - len(level)
        if missing > 0:
            more = self._piece(rng, source, clip, missing)
            before = bool(rng.random() < 0.5)
            level = np.concatenate([more, level] if before else [level, more])
            none = np.zeros(missing, np.int8)
            there = np.concatenate([none, there] if before else [there, none])
        first = int(rng.integers(0, len(level) - count * size + 1))
        part = slice(first, first + count * size)
        gain = float(rng.uniform(-4, 4))
        level, there = level[part] + np.float32(gain), there[part]
        inside = there == 1
        snr = 0.0
        if inside.any():
            snr = _programme(level[inside]) - float(truth[2])
        return Scene(cells(level, size), _by_cell(there, size), float(truth[2]) + gain, snr)

    def _own_floor(self, rng: np.random.Generator, clip: _Clip, level: Float32) -> Float32:
        """The noise of a room or of equipment all the time, or a gate that opens with the voice."""
        floor = self._coloured(rng, clip, len(level))
        floor += np.float32(_programme(level) - _strength(floor) - rng.uniform(*_OWN_SNR))
        if rng.random() < 0.35:
            loud = level.max(axis=1) > _loud(level) - rng.uniform(15, 35)
            hold = int(rng.integers(2, 40))
            near = np.convolve(loud, np.ones(2 * hold + 1), "same") > 0
            floor[~near] = SILENT
            level = np.where(near[:, None] | (rng.random() < 0.5), level, SILENT)
        return _together(level, floor)

    def _in_turn(
        self, rng: np.random.Generator, clip: _Clip, level: Float32, source: str
    ) -> Float32:
        """Cuts to other sound, which has a floor of its own."""
        if rng.random() < 0.5:
            other = self._piece(rng, source if rng.random() < 0.5 else "", clip, len(level))
        else:
            other = self._other(rng, len(level))
        other += np.float32(_loud(level) - _loud(other) + rng.uniform(-10, 10))
        if rng.random() < 0.7:
            floor = self._coloured(rng, clip, len(level))
            floor += np.float32(_programme(other) - _strength(floor) - rng.uniform(*_OWN_SNR))
            other = _together(other, floor)
        start, end = _span(rng, len(level), clip.rate)
        level = level.copy()
        level[start:end] = other[start:end]
        return level

    def _natural(self, rng: np.random.Generator, clip: _Clip, level: Float32) -> Float32:
        """Noise that swells, moves, or lasts for a moment: wind, rain, an audience, cymbals."""
        noise = self._coloured(rng, clip, len(level))
        gain = _moving(rng, len(level), hop_of(clip.rate), int(rng.integers(5)))
        return _together(level, noise + gain + np.float32(_loud(level) - rng.uniform(0, 40)))

    def _drawn(self, rng: np.random.Generator, clip: _Clip, count: int) -> Float32:
        """A programme of nothing but bursts of noise and struck tones over the noise of a room."""
        hop, loud = hop_of(clip.rate), rng.uniform(-45, -20)
        level = self._coloured(rng, clip, count) + np.float32(loud)
        level -= np.float32(rng.uniform(30, 60))
        for kind in (_BURSTS, _BURSTS, _STRUCK, _STRUCK):
            part = self._coloured(rng, clip, count)
            if kind == _STRUCK:  # low tones, or what rings to the top
                part += np.float32(rng.uniform(-4, 0)) * np.arange(COARSE, dtype=np.float32)
            gain = _moving(rng, count, hop, kind)
            level = _together(level, part + gain + np.float32(loud - rng.uniform(0, 15)))
        return level

    def _coloured(self, rng: np.random.Generator, clip: _Clip, count: int) -> Float32:
        """So many windows of noise of any colour, about 0 dB in its loudest band."""
        bank = _noise(clip.rate, clip.channels)
        first = int(rng.integers(0, len(bank) - count))
        noise = bank[first : first + count].copy()
        octaves = np.log2(np.maximum(_centres(), 100.0) / 1000)
        noise += np.float32(rng.uniform(-9, 1)) * octaves.astype(np.float32)
        noise += _colour(rng, 3.0)
        return noise - np.float32(_loud(noise))

    def _hiss(
        self, rng: np.random.Generator, clip: _Clip, level: Float32, bands: int
    ) -> tuple[Float32, npt.NDArray[np.int8], float, float]:
        """Hiss under a part of it, or all; as faults.hiss makes it, and judges if it is heard.

        Returns:
            Levels; [F] as in Scene; level of the noise and ratio to it, as there.
        """
        count = len(level)
        start, end = (0, count) if rng.random() < _WHOLE else _span(rng, count, clip.rate)
        there = np.zeros(count, np.int8)
        inside = slice(start, end)
        programme = _programme(level[inside])
        snr = float(rng.uniform(*_SNRS))
        bank = _noise(clip.rate, clip.channels)
        shares = _shares(clip.rate)
        colour = rng.random()  # from pink to white
        colour = float(np.round(colour)) if rng.random() < 0.6 else colour
        white = 10 * np.log10(shares["white"])
        tilt = (1 - colour) * (10 * np.log10(shares["pink"]) - white)
        first = int(rng.integers(0, len(bank) - count))
        noise = bank[first : first + end - start] + tilt.astype(np.float32)
        if rng.random() < 0.3:
            noise = noise + _colour(rng, 0.8)
        total = 10 * np.log10((10 ** ((white + tilt) / 10)).sum())
        noise = noise + np.float32(programme - snr - total)
        of_bands = white + tilt + programme - snr - total
        heard = _heard() & (shares["white"] > 1e-11) & (np.arange(COARSE) < bands)
        quiet = np.percentile(level[inside], MOMENTS, axis=0)
        exceeds = float((of_bands - quiet)[heard].max())
        strength = 10 * float(np.log10((10 ** (of_bands[heard] / 10)).sum()))
        made = level.copy()
        made[inside] = _together(level[inside], noise)
        throughout = start == 0 and end == count
        asked = exceeds >= EXCEEDS and programme - snr >= FAINTEST
        if throughout:
            asked = asked and snr <= _THROUGHOUT
        if asked:
            there[inside] = 1
        elif exceeds > 2 and not (throughout and snr > _PERHAPS):
            there[inside] = -1
        return made, there, strength, snr


def _moving(rng: np.random.Generator, count: int, hop: float, kind: int) -> Float32:
    """[count, COARSE] dB by which a noise swells, goes to and fro, is struck, bursts, or strays."""
    seconds = np.arange(count) * hop
    if kind == _SWELLS:
        length, into, out = rng.uniform(0.5, 8.0), *rng.uniform(0.5, 4.0, 2)
        start = rng.uniform(-length, seconds[-1])
        low = -rng.uniform(15, 60)
        ends = [start - into, start, start + length, start + length + out]
        gain = np.interp(seconds, ends, [low, 0, 0, low])
    elif kind == _SWINGS:
        speed, depth = rng.uniform(0.1, 4), rng.uniform(3, 15)
        gain = depth * (np.sin(2 * np.pi * (seconds * speed + rng.random())) - 1)
    elif kind == _STRUCK:
        every, decay = rng.uniform(0.2, 3), rng.uniform(10, 120)
        gain = -decay * ((seconds + rng.uniform(0, every)) % every)
    elif kind == _BURSTS:  # as consonants, each of its own colour
        until = np.cumsum(rng.uniform(0.05, 0.3, int(seconds[-1] / 0.05) + 3))
        which = np.searchsorted(until, seconds)
        loud = np.where(np.arange(len(until)) % 2, -90.0, rng.uniform(-6, 6, len(until)))
        colour = rng.normal(0, 6, (len(until), 1)) * np.linspace(-1, 1, COARSE)
        return (loud[:, None] + colour)[which].astype(np.float32)
    else:
        knots = np.arange(int(seconds[-1] / 0.15) + 3)
        gain = np.interp(seconds / 0.15, knots, rng.normal(0, rng.uniform(2, 8), len(knots)))
    return np.repeat(gain[:, None], COARSE, axis=1).astype(np.float32)


def _by_cell(there: npt.NDArray[np.int8], size: int) -> npt.NDArray[np.int8]:
    """What holds of windows, of cells of so many; nothing is asked where that holds of one."""
    parts = there[: len(there) // size * size].reshape(-1, size)
    right = (parts == 1).mean(axis=1) >= 0.5
    return np.where((parts == -1).any(axis=1), -1, right).astype(np.int8)


def _measured(rng: np.random.Generator, level: Float32) -> Float32:
    """Levels that are a little off: no band of a recording is as even as its figures."""
    made: Float32 = (level + rng.normal(0, 0.2, level.shape)).astype(np.float32)
    return np.maximum(made, np.float32(SILENT))


def _programme(level: Float32) -> float:
    """Level of a programme without its pauses, dBFS, of levels [F, COARSE]."""
    power = (10 ** (level.astype(np.float64) / 10)).sum(axis=1)
    some = power[power > 1e-6]
    if not len(some):
        return SILENT
    return float(10 * np.log10(some[some > 0.1 * some.mean()].mean()))


def _strength(noise: Float32) -> float:
    """Level of noise where hiss has its level, dBFS."""
    power = 10 ** (noise[:, _heard()].mean(axis=0, dtype=np.float64) / 10)
    return float(10 * np.log10(max(power.sum(), 1e-12)))


def _span(rng: np.random.Generator, count: int, rate: int) -> tuple[int, int]:
    """Windows from which and up to which something lasts; partly outside, it may be."""
    hop = hop_of(rate)
    seconds = rng.uniform(2.2, 6.0) if rng.random() < 0.7 else rng.uniform(1.8, 11.0)
    length = min(int(seconds / hop), count)
    spare = int(1.0 / hop)
    if rng.random() < 0.75 and count - length - 2 * spare > 0:
        start = spare + int(rng.integers(count - length - 2 * spare))
    else:
        start = int(rng.integers(spare - length, count - spare))
    return max(start, 0), min(start + length, count)


def _gapped(rng: np.random.Generator, level: Float32) -> Float32:
    """Silence at the beginning, the end or between, which may be digital."""
    made = level.copy()
    first = int(rng.integers(-40, len(level)))
    length = int(rng.integers(5, 120))
    made[max(first, 0) : max(first + length, 0)] -= np.float32(rng.choice([25.0, 50.0, 120.0]))
    return np.maximum(made, np.float32(SILENT))


def _together(one: Float32, other: Float32) -> Float32:
    """Levels of both sounds at once."""
    made: Float32 = (10 * np.log10(10 ** (one / 10) + 10 ** (other / 10))).astype(np.float32)
    return made


def _colour(rng: np.random.Generator, decibels: float) -> Float32:
    """[COARSE] a smooth change over the bands."""
    knots = np.cumsum(rng.normal(0, decibels, 6))
    return np.interp(np.linspace(0, 5, COARSE), np.arange(6), knots).astype(np.float32)


def _loud(level: Float32) -> float:
    """What the loudest band mostly reaches, dB."""
    return float(np.percentile(level.max(axis=1), 80))
