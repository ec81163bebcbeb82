"""How well the net finds offsets in groups that it was not fitted on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.mouths import RATE
from models.nets.sync import SyncNet, seen_part
from models.sync import HOP, PER_PICTURE, SAMPLE_RATE, STACK, WINDOW, by_lag
from pipeline.detectors.lags import MOST, STEP
from training.sync.dataset import KNOWN_DELAY, Take
from training.sync.train import cut

WINDOWS = (0.6, 1.2, 2.4, 5.0, 10.0)  # seconds
RIGHT = 1 / RATE  # seconds: one picture
_MOST_SHIFT = 20  # pictures by which sound is put off
_REACH = MOST + _MOST_SHIFT
_ROUNDS = 2  # through all takes, in another order
_MOST_TAKES = 600  # of a group in a round
_SHORTEST = 14  # pictures of a piece
_BLOCK = 12  # positions of a curve of a series: half a second
_SAMPLES = HOP * PER_PICTURE  # of a picture
_AT_ONCE = 2000  # positions of sound
_LEAST = 2 * _REACH + round(10 * RATE)  # pictures, so that foreign sound is nowhere near


@dataclass
class Trials:
    """Windows of one group and one length.

    Attributes:
        lag: seconds by which the sound was late.
        own: curves over lags, [2 * MOST + 1] each.
        foreign: the same where the sound was another part's of the programme.
    """

    lag: list[float] = field(default_factory=list)
    own: list[npt.NDArray[np.float32]] = field(default_factory=list)
    foreign: list[npt.NDArray[np.float32]] = field(default_factory=list)


@dataclass
class GroupTrials:
    """What was found in one group.

    Attributes:
        trials: by seconds of the window.
        series: curves of 0.5 s that follow each other, [B, 2 * MOST + 1], one lag throughout.
        face: mean size of a face, in samples.
    """

    trials: dict[float, Trials] = field(default_factory=lambda: defaultdict(Trials))
    series: list[npt.NDArray[np.float32]] = field(default_factory=list)
    face: float = 0.0


def evaluate(net: SyncNet, takes: Sequence[Take], seed: int) -> dict[str, GroupTrials]:
    """What the net says of windows of takes that it was not fitted on, by group.

    The takes of a group are joined in a random order, as a programme cuts between shots of one
    speaker, and the groups one after the other; a window is a part of that, each shot in it a
    mouth of its own. Every window has its sound put off by a random number of pictures up to 20
    either way, every round by a random part of a picture; what is heard at wrong lags is what was
    said before and after, or the neighbour's voice.

    Raises:
        ValueError: there is too little to test on.
    """
    found: dict[str, GroupTrials] = defaultdict(GroupTrials)
    by_group: dict[str, list[Take]] = defaultdict(list)
    for take in takes:
        by_group[take.group].append(take)
    for group, own in by_group.items():
        found[group].face = float(np.mean([take.face for take in own]))
    for n in range(_ROUNDS):
        rng = np.random.default_rng([seed, n])
        shots = [
            _Shot.of(own[at])
            for own in by_group.values()
            for at in rng.permutation(len(own))[:_MOST_TAKES]
        ]
        shots = [shot for shot in shots if len(shot.mouth) >= _SHORTEST]
        _round(net, shots, rng, found)
    return dict(found)


@dataclass(frozen=True)
class _Shot:
    """The part of a take whose sound is known, without the delay of its corpus."""

    group: str
    mouth: Tensor  # [T, SIDE, SIDE]
    sound: npt.NDArray[np.int16]  # [T * 640]

    @staticmethod
    def of(take: Take) -> _Shot:
        delay = KNOWN_DELAY.get(take.source, 0.0) / 1000
        first = max(0, int(np.ceil(-delay * RATE)))
        known = len(take.sound) / SAMPLE_RATE - delay
        last = min(len(take.mouth), int(np.floor(known * RATE)))
        mouth, sound = cut(take, first, last - first)
        return _Shot(take.group, mouth, sound.numpy()[WINDOW // 2 : -(WINDOW // 2)])


def _round(
    net: SyncNet, shots: Sequence[_Shot], rng: np.random.Generator, found: dict[str, GroupTrials]
) -> None:
    """One way through a programme of all shots."""
    late = float(rng.random()) * STEP
    heard = _heard(net, np.concatenate([shot.sound for shot in shots]), late)
    if len(heard) < _LEAST:
        raise ValueError(f"{len(heard) / RATE:.0f} s are too little to test on")
    starts = np.cumsum([0, *(len(shot.mouth) for shot in shots)])
    rows, foreign = (
        [
            _rows(net, shot.mouth, heard, int(start) + away)
            for shot, start in zip(shots, starts, strict=False)
        ]
        for away in (0, len(heard) // 2)
    )
    groups = [shot.group for shot in shots]
    for group in dict.fromkeys(groups):
        own = [n for n, of in enumerate(groups) if of == group]
        lengths = {n: len(shots[n].mouth) for n in own}
        for seconds in WINDOWS:
            trials = found[group].trials[seconds]
            for pieces in _windows(lengths, round(seconds * RATE)):
                shift = int(rng.integers(-_MOST_SHIFT, _MOST_SHIFT + 1))
                trials.lag.append(late + shift * STEP)
                trials.own.append(_total(rows, pieces, shift))
                trials.foreign.append(_total(foreign, pieces, shift))
        blocks = np.concatenate([rows[n] for n in own])
        count = len(blocks) // _BLOCK
        summed = blocks[: count * _BLOCK].reshape(count, _BLOCK, -1).sum(axis=1)
        found[group].series.append(summed[:, _MOST_SHIFT : _MOST_SHIFT + 2 * MOST + 1])


def _heard(net: SyncNet, sound: npt.NDArray[np.int16], late: float) -> Tensor:
    """Vectors of a programme's sound, put off by `late` seconds: one for each picture of it.

    It is heard in a circle: what is before its beginning is its end.
    """
    pictures = len(sound) // _SAMPLES
    # the vector of a picture is of the 25 spectra whose middle, the 13th, belongs to its beginning
    start = -round(late * SAMPLE_RATE) - 12 * HOP - WINDOW // 2
    parts = []
    for first in range(0, pictures, _AT_ONCE):
        count = min(_AT_ONCE, pictures - first)
        length = (count - 1) * _SAMPLES + 24 * HOP + WINDOW
        wanted = np.arange(start + first * _SAMPLES, start + first * _SAMPLES + length)
        part = torch.from_numpy(sound.take(wanted, mode="wrap").astype(np.float32) / 32768)
        with torch.inference_mode():
            parts.append(net.hear(net.spectrum(part[None]))[0])
    return torch.cat(parts)


def _rows(net: SyncNet, mouth: Tensor, heard: Tensor, at: int) -> npt.NDArray[np.float32]:
    """[T - 8, 2 * _REACH + 1] scores over lags of a mouth whose first picture is the at-th."""
    around = torch.arange(len(mouth) - STACK + 1 + 2 * _REACH + 3) + at + 3 - _REACH
    with torch.inference_mode():
        seen = net.see(seen_part(mouth[None]))[0]
        scale = net.sharpness.exp().item()
    return by_lag(scale, seen.numpy(), heard[around % len(heard)].numpy(), _REACH)


Piece = tuple[int, int, int]  # which shot, its first picture, pictures


def _windows(lengths: dict[int, int], length: int) -> Iterator[list[Piece]]:
    """Windows of so many pictures, one after the other."""
    pieces: list[Piece] = []
    missing = length
    for shot, pictures in lengths.items():
        at = 0
        while min(missing, pictures - at) >= min(missing, _SHORTEST):
            count = min(missing, pictures - at)
            pieces.append((shot, at, count))
            at, missing = at + count, missing - count
            if missing < _SHORTEST:
                yield pieces
                pieces, missing = [], length


def _total(
    rows: Sequence[npt.NDArray[np.float32]], pieces: Sequence[Piece], shift: int
) -> npt.NDArray[np.float32]:
    """The curve of a window whose sound is put off by so many pictures.

    Only positions that see nothing but pictures of the window count.
    """
    first = _MOST_SHIFT - shift
    total = np.zeros(2 * MOST + 1, np.float32)
    for shot, at, count in pieces:
        own = rows[shot][at : at + count - STACK + 1, first : first + 2 * MOST + 1]
        total += own.sum(axis=0)
    return total
