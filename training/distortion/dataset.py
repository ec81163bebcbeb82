"""Stretches of sound in which something was done to a part: overdriven, starved, clipped, or fine.

Each stretch is a few seconds of a clean clip, mostly changed as a studio may change it (faster or
slower, other colour, a second clip under it, a room), so that few sources become many. Half of the
parts have a fault; the others have what is none: less treble, another level, noise, a limiter,
other sound, or nothing. Then the whole stretch is delivered as it is or by a usual lossy codec.
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
from scipy import signal
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from faults.base import FaultError
from faults.clipping import driven
from faults.coding import CODECS, Coder, resampled
from faults.media import Clean
from faults.sound import amplitude, level, seam
from models.distortion import rows
from pipeline.errors import SourceError
from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measurements import Float32, SoundFormat

FORM = 1  # raise it when examples are made in another way
FINE, OVERDRIVEN, STARVED, CLIPPED = 0, 1, 2, 3  # of a part
_FAULTS = {"drive": 0.32, "codec": 0.22, "clip": 0.12}
_NONE = {
    "nothing": 0.08,
    "treble": 0.06,
    "gain": 0.05,
    "noise": 0.05,
    "limiter": 0.06,
    "other": 0.04,
}
_STRETCHES, _SECONDS = 14, 5.0  # of a clip, and how long each is
_PART = (1.2, 3.2)  # seconds
_DRIVE, _CLIP, _KBPS = (-2.0, 24.0), (2.0, 16.0), (8, 10, 12, 16, 20, 24)  # dB, dB, a channel
_QUIETEST = -50.0  # dBFS
_DELIVERED = {"": 0.3, "aac": 0.4, "mp3": 0.15, "opus": 0.15}
_DELIVERED_KBPS = (48, 64, 96)  # a channel
_SPEED, _COLOUR, _UNDER, _ROOM = 0.5, 0.5, 0.4, 0.2  # chances
_EDGE = 0.005  # seconds of the seam of a part


@dataclass(frozen=True)
class Examples:
    """Windows of some stretches, as the net takes them.

    Attributes:
        stretches: [F, INPUTS] each.
        faults: [F] each: FINE and so on.
        strengths: of each: dB, or kb/s a channel; 0 where it is fine.
        treatments: of each, by name.
        source: of each.
    """

    stretches: list[npt.NDArray[np.float32]]
    faults: list[npt.NDArray[np.int8]]
    strengths: list[float]
    treatments: list[str]
    source: list[str]

    @classmethod
    def read(cls, paths: Sequence[tuple[str, Path]]) -> Examples:
        """Of files, each with the name of its source."""
        made = cls([], [], [], [], [])
        for source, path in paths:
            with np.load(path) as held:
                windows, faults, ends = held["rows"], held["faults"], held["ends"]
                for first, last in zip([0, *ends[:-1]], ends, strict=True):
                    made.stretches.append(windows[first:last].astype(np.float32))
                    made.faults.append(faults[first:last])
                made.strengths.extend(held["strengths"].tolist())
                made.treatments.extend(held["treatments"].tolist())
                made.source.extend([source] * len(ends))
        return made


def write(name: str, file: Path, others: tuple[Path, ...], seed: int, path: Path) -> None:
    """Write the examples of a clip, see `training.sounds.Write`."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    made: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int8], float, str]] = []
    problems = []
    clean = Clean(file)
    for n in range(_STRETCHES):
        other = Clean(others[int(rng.integers(len(others)))])
        try:
            made.append(_stretch(clean, other, rng))
        except (FaultError, SourceError, ValueError, av.error.FFmpegError) as error:
            problems.append(f"{n}: {type(error).__name__}: {error}")
    if made:
        np.savez(
            path,
            rows=np.concatenate([one[0] for one in made]).astype(np.float16),
            faults=np.concatenate([one[1] for one in made]),
            ends=np.cumsum([len(one[0]) for one in made]),
            strengths=np.array([one[2] for one in made]),
            treatments=np.array([one[3] for one in made]),
        )
    path.with_suffix(".json").write_text(json.dumps({"problems": problems}) + "\n")


def _stretch(
    clean: Clean, other: Clean, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8], float, str]:
    """Windows of one, what is wrong with each, how strongly, and what was done."""
    rate = clean.sample_rate
    sound = _cut(clean, rate, rng)
    beneath = _cut(other, rate, rng) if rng.random() < _UNDER else None
    sound = _varied(sound, beneath, rate, rng)
    length = rng.uniform(*_PART)
    latest = sound.shape[1] / rate - length - 0.4
    if latest <= 0.4:
        raise ValueError("it is too short")
    start = rng.uniform(0.4, latest)
    span = slice(round(start * rate), round((start + length) * rate))
    part = sound[:, span]
    if level(part) < _QUIETEST:
        raise ValueError("it is too quiet")
    chances = _FAULTS | _NONE
    done = str(
        rng.choice(list(chances), p=np.array(list(chances.values())) / sum(chances.values()))
    )
    changed, fault, strength = _done(part, done, rate, other, rng)
    weight = seam(part.shape[1], round(_EDGE * rate))
    sound[:, span] = part + weight * (changed - part)
    sound /= max(1.0, float(np.abs(sound).max()))
    codec = str(rng.choice(list(_DELIVERED), p=list(_DELIVERED.values())))
    if codec:
        kbps = int(rng.choice(_DELIVERED_KBPS))
        sound = Coder(sound, rate, codec, kbps * 1000).decode()
    layout = "mono" if len(sound) == 1 else "stereo"
    spectra = SpectrumMeter(SoundFormat(0, rate, len(sound), layout)).measure(sound, 0.0)
    windows = rows(spectra.power, float(spectra.frequencies[-1]), spectra.wave)
    middle = spectra.times + spectra.hop / 2
    within = (middle >= start) & (middle < start + length)
    return windows, np.where(within, fault, FINE).astype(np.int8), strength, done


def _cut(clean: Clean, rate: int, rng: np.random.Generator) -> Float32:
    """Some seconds of a clip at a rate, one or two channels."""
    sound = clean.sound[:2]
    count = round(_SECONDS * clean.sample_rate)
    start = int(rng.integers(0, max(sound.shape[1] - count, 0) + 1))
    cut = sound[:, start : start + count]
    return cut.copy() if clean.sample_rate == rate else resampled(cut, clean.sample_rate, rate)


def _varied(
    sound: Float32, beneath: Float32 | None, rate: int, rng: np.random.Generator
) -> Float32:
    """As a studio may change it."""
    if rng.random() < _SPEED:  # and higher or lower
        sound = signal.resample_poly(sound, int(rng.integers(80, 126)), 100, axis=1)
    if beneath is not None and level(beneath) > _QUIETEST:
        count = min(sound.shape[1], beneath.shape[1])
        under = rng.uniform(0.0, 20.0)
        added = beneath[:, :count] * amplitude(level(sound) - level(beneath) - under)
        sound = sound[:, :count] + (added if len(added) == len(sound) else added[:1])
    if rng.random() < _COLOUR:
        hertz = np.concatenate([[0.0], np.geomspace(60, rate / 2, 8)]) / (rate / 2)
        gains = 10 ** (np.cumsum(rng.normal(0, 3.0, 9)).clip(-18, 18) / 20)
        sound = signal.fftconvolve(sound, signal.firwin2(255, hertz, gains)[None], "same", axes=1)
    if rng.random() < _ROOM:
        time = np.arange(round(rng.uniform(0.15, 0.6) * rate))
        tail = rng.normal(0, 1, len(time)) * np.exp(-6.9 * time / len(time))
        tail *= amplitude(-rng.uniform(6, 18)) / np.sqrt((tail**2).sum())
        sound = sound + signal.fftconvolve(sound, tail[None], axes=1)[:, : sound.shape[1]]
    sound = sound * amplitude(rng.uniform(-8, 2))
    return (sound / max(1.0, float(np.abs(sound).max()))).astype(np.float32)


def _done(
    part: Float32, what: str, rate: int, other: Clean, rng: np.random.Generator
) -> tuple[Float32, int, float]:
    """A part with a fault or with what is none; the fault, and how strong it is."""
    if what == "drive":
        strength = float(rng.uniform(*_DRIVE))
        return driven(part, strength, float(rng.choice([0.0, 0.2]))), OVERDRIVEN, strength
    if what == "codec":
        strength = float(rng.choice(_KBPS))
        codec = str(rng.choice(CODECS))
        half = 24_000 if codec == "mp3" and rate > 24_000 else None
        coder = Coder(part, rate, codec, round(strength * 1000), half)
        return coder.decode(), STARVED, strength
    if what == "clip":
        strength = float(rng.uniform(*_CLIP))
        ceiling = float(np.abs(part).max()) / amplitude(strength)
        louder = amplitude(rng.uniform(0, strength)) if rng.random() < 0.5 else 1.0
        cut: Float32 = (part.clip(-ceiling, ceiling) * louder).astype(np.float32)
        return cut, CLIPPED, strength
    return _fine(part, what, rate, other, rng), FINE, 0.0


def _fine(part: Float32, what: str, rate: int, other: Clean, rng: np.random.Generator) -> Float32:
    made: npt.NDArray[np.floating] = part
    if what == "treble":
        highest = min(12_000.0, 0.45 * rate)
        filters = signal.butter(6, rng.uniform(0.3, 1.0) * highest, fs=rate, output="sos")
        made = signal.sosfiltfilt(filters, part, axis=1)
    elif what == "gain":
        made = part * amplitude(rng.uniform(-15, 6))
    elif what == "noise":
        made = part + rng.normal(0, 1, part.shape) * amplitude(level(part) - rng.uniform(10, 35))
    elif what == "limiter":  # which lowers the gain smoothly, and bends nothing
        ceiling = float(np.abs(part).max()) / amplitude(rng.uniform(3, 10))
        length = round(rng.uniform(0.005, 0.02) * rate)
        peaks = maximum_filter1d(np.abs(part).max(axis=0), 2 * length + 1)
        gain = uniform_filter1d(np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9)), length)
        made = part * gain
    elif what == "other":
        put = _cut(other, rate, rng)[: len(part), : part.shape[1]]
        if put.shape[1] == part.shape[1] and level(put) > _QUIETEST:
            as_loud = put * amplitude(level(part) - level(put))
            made = np.broadcast_to(as_loud, part.shape)
    out: Float32 = made.astype(np.float32)
    return out
