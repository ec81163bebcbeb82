"""Figures of real sound, and of what real decoders make of it when packets are lost.

Each clip is coded and decoded whole and without some packets. It counts as damaged where levels
differ so much that it is heard; where it is damaged but hardly heard, nothing is asked. Files that
are damaged as `faults/` does it, and delivered, try the whole detector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, maximum_filter1d, uniform_filter1d

from faults import FAULTS
from faults.base import FaultError, SoundFault
from faults.coding import Coder
from faults.damage import place
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import SoundLookalike
from faults.media import Clean
from faults.packet_loss_sound import lost_packets
from faults.truth import Severity
from models.packet_loss import COARSE, FIGURES, LEVELS, REPEATS, SILENT
from pipeline.detectors.dropout import DropoutSettings
from pipeline.detectors.holes import Holes
from pipeline.errors import SourceError
from pipeline.measure.concealment import ConcealmentMeter
from pipeline.measurements import Float32
from pipeline.types import Kind

FORM = 2  # raise it when files are made in another way
_CODECS, _KBPS = {"aac": 0.7, "mp3": 0.2, "opus": 0.1}, (48, 64, 96)  # of what is delivered
_DELIVERED = 0.7  # share of damaged sound that is
_LOSSES, _BURSTS = (0.02, 0.05, 0.1, 0.15), (1.0, 1.5, 2.0, 4.0)
_WAYS = {"opus": ("codec", "silence"), "aac": ("repeat", "silence")}
_STREAM_KBPS = (32, 48, 64, 64, 96)  # a channel, of the stream that loses packets
_SECOND = 0.5  # chance of the second way as well
_REACH = 0.2  # seconds after a packet in which the decoder may be wrong
_WRONG = 0.01  # of the power of the sound: an error of -20 dB
_HEARD, _AUDIBLE = 30.0, -75.0  # dB under the loudest band about it, and dBFS, of a band that tells
_AROUND = 41  # cells, 0.2 s, in which that is the loudest
_EVENED = 4  # cells over which levels are compared, a packet
_DIFFERS = 2.0  # dB by which such bands differ on average, where damage is heard
_ALIKE = 1  # of a clip
TRIALS = ("packet_loss_sound", "packet_loss_sound", "dropout")  # faults, of a clip
_LOSSY = 0.6  # share of scenes
_GAIN = -12.0, 6.0  # dB
_TRIED = {"aac": 0.7, "mp3": 0.15, "": 0.15}  # how such files are delivered

_GRAIN = np.full(FIGURES, 0.2, np.float32)  # noise on figures: dB, but for
_GRAIN[-REPEATS:-2] = 0.01  # correlations


def write(name: str, file: Path, others: tuple[Path, ...], seed: int, path: Path) -> None:  # noqa: ARG001
    """Write the figures of a clip, clean and damaged, see `training.sounds.Write`."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    clean, problems = Clean(file), []
    sound, rate = clean.sound[:2], clean.sample_rate
    made: dict[str, npt.NDArray[np.generic]] = {"plain": measured(sound, rate).astype("f2")}
    found = {"plain": by_rules(sound, rate)}
    try:
        coded = _delivered(sound, rate, rng)
        made["coded"], found["coded"] = measured(coded, rate).astype("f2"), by_rules(coded, rate)
        for n, (lossy, truth) in enumerate(_damaged(sound, rate, rng)):
            made[f"lossy{n}"], made[f"truth{n}"] = measured(lossy, rate).astype("f2"), truth
    except (SourceError, ValueError, av.error.FFmpegError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    for n in range(_ALIKE):
        try:
            alike = _delivered(_resembling(clean, rng), rate, rng)
            made[f"alike{n}"], found[f"alike{n}"] = (
                measured(alike, rate).astype("f2"),
                by_rules(alike, rate),
            )
        except (FaultError, SourceError, ValueError, av.error.FFmpegError) as error:
            problems.append(f"alike: {type(error).__name__}: {error}")
    trials: list[dict[str, Any]] = []
    for fault in TRIALS:
        try:
            tried, about = _tried(clean, fault, rng)
            made[f"trial{len(trials)}"] = measured(tried, rate).astype("f2")
            trials.append(about | {"rules": by_rules(tried, rate)})
        except (FaultError, SourceError, ValueError, av.error.FFmpegError) as error:
            problems.append(f"{fault}: {type(error).__name__}: {error}")
    np.savez(path, allow_pickle=False, rate=np.array(rate), **made)
    note = {"problems": problems, "rules": found, "trials": trials}
    path.with_suffix(".json").write_text(json.dumps(note) + "\n")


def measured(sound: Float32, rate: int) -> Float32:
    """Figures [F, FIGURES] of sound [C, N]."""
    return ConcealmentMeter(rate).measure(sound, last=True)


def by_rules(sound: Float32, rate: int) -> list[tuple[float, float]]:
    """Starts and ends of the holes that the detector's rules find."""
    rules = DropoutSettings()
    holes = Holes(rate, len(sound), rules.min_duration, rules.max_duration, rules.depth)
    return [(one.start, one.end) for one in [*holes.add(sound, 0.0), *holes.finish()]]


def _delivered(sound: Float32, rate: int, rng: np.random.Generator) -> Float32:
    codec = str(rng.choice(list(_CODECS), p=list(_CODECS.values())))
    return Coder(sound, rate, codec, int(rng.choice(_KBPS)) * 1000).decode()


def _resembling(clean: Clean, rng: np.random.Generator) -> Float32:
    """Sound with something that resembles dropouts."""
    names = [name for name, one in LOOKALIKES.items() if Kind.DROPOUT in one.resembles]
    lookalike = LOOKALIKES[str(rng.choice(names))](clean, int(rng.integers(1 << 30)))
    assert isinstance(lookalike, SoundLookalike)
    return lookalike.sound(clean.sound[:2].copy(), clean.sample_rate)


def _damaged(
    sound: Float32, rate: int, rng: np.random.Generator
) -> Iterator[tuple[Float32, npt.NDArray[np.int8]]]:
    """The sound without some packets, and where that is heard, see Scene.truth."""
    for codec, ways in _WAYS.items():
        coder = Coder(sound, rate, codec, int(rng.choice(_STREAM_KBPS)) * 1000)
        intact = coder.decode()
        starts = np.array(coder.starts())
        room = np.flatnonzero((starts > 0.3 * rate) & (starts < sound.shape[1] - 0.3 * rate))
        for n, way in enumerate(ways):
            if n and rng.random() >= _SECOND:
                continue
            loss, burst = float(rng.choice(_LOSSES)), float(rng.choice(_BURSTS))
            lost = lost_packets(room, loss, burst, rng)
            damaged = coder.decode(lost, way)
            truth = heard(intact, damaged, starts[lost], coder.size, rate)
            if rng.random() < _DELIVERED:
                damaged = _delivered(damaged, rate, rng)
            yield damaged, truth


def heard(
    intact: Float32, damaged: Float32, starts: npt.NDArray[np.float64], size: float, rate: int
) -> npt.NDArray[np.int8]:
    """Where loss is heard, see Scene.truth.

    Args:
        intact: sound [C, N] with all packets.
        damaged: without some.
        starts: sample of each of these.
        size: samples in a packet.
        rate: of the sound.
    """
    cell = ConcealmentMeter(rate).cell
    right, now = (measured(one, rate)[:, :COARSE].astype(np.float64) for one in (intact, damaged))
    count = len(right)
    reached = np.zeros(count, bool)
    for start in starts:
        reached[int(start // cell) : int((start + size + _REACH * rate) / cell) + 1] = True
    pair = [one[:, : count * cell].reshape(len(one), count, cell) for one in (intact, damaged)]
    wrong = np.square(pair[1] - pair[0]).mean(axis=(0, 2))
    wrong = reached & (wrong > _WRONG * np.square(pair[0]).mean(axis=(0, 2)) + 1e-9)
    even = [
        10 * np.log10(uniform_filter1d(10 ** (one / 10), _EVENED, axis=0) + 1e-11)
        for one in (right, now)
    ]
    loudest = maximum_filter1d(even[0].max(axis=1), _AROUND)[:, None]
    tells = np.maximum(*even) > np.maximum(loudest - _HEARD, _AUDIBLE)
    differs = (np.abs(even[1] - even[0]) * tells).sum(axis=1) / np.maximum(tells.sum(axis=1), 1)
    truth = np.zeros(count, np.int8)
    truth[binary_dilation(wrong, iterations=2)] = -1
    truth[wrong & (differs >= _DIFFERS)] = 1
    return truth


def _tried(clean: Clean, name: str, rng: np.random.Generator) -> tuple[Float32, dict[str, Any]]:
    """Sound with a fault as it is delivered, and what was done to it."""
    severity = list(Severity)[int(rng.integers(len(Severity)))]
    order = place(name, severity, clean, int(rng.integers(1 << 30)))
    fault = FAULTS[name](order, clean)
    assert isinstance(fault, SoundFault)
    sound = fault.sound(clean.sound[:2].copy(), clean.sample_rate)
    if not fault.truths:
        raise FaultError("nothing was changed")
    codec = str(rng.choice(list(_TRIED), p=list(_TRIED.values())))
    if codec:
        kbps = int(rng.choice(_KBPS))
        sound = Coder(sound, clean.sample_rate, codec, kbps * 1000).decode()
    return sound, {
        "fault": name,
        "severity": severity.value,
        "way": [str(fault.parameters.get(key, "")) for key in ("codec", "concealment")],
        "delivered": codec,
        "truths": [(one.start, one.end) for one in fault.truths],
    }


@dataclass(frozen=True)
class Scene:
    """Cells that follow each other.

    Attributes:
        figures: [N, FIGURES].
        truth: [N] 1 where loss is heard, -1 where nothing is asked, else 0.
    """

    figures: Float32
    truth: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Clip:
    """What `write` made of a clip.

    Attributes:
        clean: figures of it as it is and as it is delivered.
        alike: of what resembles dropouts.
        lossy: of it without packets, with Scene.truth.
        trials: of files with faults, with what was done to them.
        rules: what the rules find in `clean` and `alike`.
        seconds: of a cell.
    """

    clean: list[npt.NDArray[np.float16]]
    alike: list[npt.NDArray[np.float16]]
    lossy: list[tuple[npt.NDArray[np.float16], npt.NDArray[np.int8]]]
    trials: list[tuple[npt.NDArray[np.float16], dict[str, Any]]]
    rules: list[list[tuple[float, float]]]
    seconds: float

    @classmethod
    def read(cls, path: Path) -> Clip:
        """From its file."""
        note = json.loads(path.with_suffix(".json").read_text())
        with np.load(path) as held:
            rate = int(held["rate"])
            clean = [name for name in ("plain", "coded") if name in held.files]
            alike = [name for name in held.files if name.startswith("alike")]
            lossy = [name for name in held.files if name.startswith("lossy")]
            return cls(
                [held[name] for name in clean],
                [held[name] for name in alike],
                [(held[name], held["truth" + name[5:]]) for name in lossy],
                [(held[f"trial{n}"], about) for n, about in enumerate(note["trials"])],
                [note["rules"][name] for name in (*clean, *alike)],
                ConcealmentMeter(rate).cell / rate,
            )


class Scenes:
    """Draws scenes from clips, so that no source is most of them.

    Args:
        paths: files that `write` made, each with its source.
    """

    def __init__(self, paths: Sequence[tuple[str, Path]]) -> None:
        self.of: dict[str, list[Clip]] = {}
        for source, path in paths:
            self.of.setdefault(source, []).append(Clip.read(path))
        self._sources = sorted(self.of)
        share = np.sqrt([len(self.of[source]) for source in self._sources])
        self._share = share / share.sum()

    def draw(self, rng: np.random.Generator, count: int) -> Scene:
        """A scene of so many cells."""
        clips = self.of[self._sources[int(rng.choice(len(self._sources), p=self._share))]]
        clip = clips[int(rng.integers(len(clips)))]
        if clip.lossy and rng.random() < _LOSSY:
            held, truth = clip.lossy[int(rng.integers(len(clip.lossy)))]
        else:
            intact = [*clip.clean, *clip.alike]
            held = intact[int(rng.integers(len(intact)))]
            truth = np.zeros(len(held), np.int8)
        first = int(rng.integers(max(len(held) - count, 0) + 1))
        figures = held[first : first + count].astype(np.float32)
        truth = truth[first : first + count]
        levels = list(LEVELS)
        figures[:, levels] += np.float32(rng.uniform(*_GAIN))
        figures += rng.normal(0, 1, figures.shape).astype(np.float32) * _GRAIN
        short = count - len(figures)
        if short:
            figures = np.pad(figures, ((0, short), (0, 0)))
            figures[-short:, levels] = SILENT
            truth = np.pad(truth, (0, short))
        return Scene(figures, truth)
