"""How well the net finds offsets in groups that it was not fitted on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from models.mouths import RATE
from models.sync import STACK, SyncNet, centred, over_lags, read
from training.sync.dataset import Take
from training.sync.train import cut, seen_part

SEARCH = 25  # positions either way: 1 s
WINDOWS = (0.6, 1.2, 2.4, 5.0, 10.0)  # seconds
RIGHT = 1 / RATE  # seconds: one picture
_MOST_SHIFT = 10  # pictures by which sound is put off
_DRAWS = 2  # windows of one take, or rounds through a group where takes are joined
_SHORTEST = 14  # pictures of a piece


@dataclass
class Trials:
    """Windows of one group and one length.

    Attributes:
        error: seconds by which the lag that was read is wrong.
        peak: how clearly the curve shows it.
        foreign: as `peak`, where the sound was another take's.
    """

    error: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)

    @property
    def right(self) -> float:
        """Share within one picture."""
        return float(np.mean(np.abs(self.error) <= RIGHT + 1e-6)) if self.error else float("nan")


def evaluate(net: SyncNet, takes: Sequence[Take], seed: int) -> dict[str, dict[float, Trials]]:
    """Trials by group and by length of the window.

    Every window has its sound put off by a random number of pictures, up to ten either way (fewer
    where a take has no room). Windows longer than a take are joined of takes of one group, with
    the same shift, as a programme cuts between shots of one speaker.
    """
    found: dict[str, dict[float, Trials]] = defaultdict(lambda: defaultdict(Trials))
    by_group: dict[str, list[Take]] = defaultdict(list)
    for take in takes:
        by_group[take.group].append(take)
    for group, own in by_group.items():
        rng = np.random.default_rng([seed, len(own)])
        for seconds in WINDOWS:
            for pieces, foreign in _windows(own, round(seconds * RATE), rng):
                shift = int(rng.integers(-_MOST_SHIFT, _MOST_SHIFT + 1))
                curve, moved = _curve(net, pieces, shift)
                said = read(curve)
                trials = found[group][seconds]
                trials.error.append(said.lag - moved)
                trials.peak.append(said.peak)
                mixed = [
                    (take, first, count, other)
                    for (take, first, count, _), (other, *_) in zip(pieces, foreign, strict=True)
                ]
                trials.foreign.append(read(_curve(net, mixed, shift)[0]).peak)
    return found


Piece = tuple[Take, int, int, Take]  # whose mouth, first picture, pictures, whose sound


def _windows(
    takes: Sequence[Take], length: int, rng: np.random.Generator
) -> list[tuple[list[Piece], list[Piece]]]:
    """Windows of so many pictures, and windows that give foreign sound to each."""
    made: list[list[Piece]] = []
    for _ in range(_DRAWS):
        pieces: list[Piece] = []
        missing = length
        for n in rng.permutation(len(takes)):
            take = takes[n]
            count = min(missing, len(take.mouth))
            if count < _SHORTEST and missing != count:
                continue
            room = len(take.mouth) - count
            pieces.append((take, int(rng.integers(room + 1)), count, take))
            missing -= count
            if missing < _SHORTEST:
                made.append(pieces)
                pieces, missing = [], length
    return [(one, (made[n - 1] * len(one))[: len(one)]) for n, one in enumerate(made)]


def _curve(
    net: SyncNet, pieces: Sequence[Piece], shift: int
) -> tuple[npt.NDArray[np.float32], float]:
    """Scores over lags of a window, and the lag in seconds that it was given.

    Mouth and sound are cut to the same length, so that no lag has more pairs for being right.
    """
    room = min(take.mouth.shape[0] - count for take, _, count, _ in pieces)
    shift = int(np.clip(shift, -max(room, 5), max(room, 5)))
    total = np.zeros(2 * SEARCH + 1, np.float32)
    with torch.inference_mode():
        for take, first, count, other in pieces:
            mouth, _ = cut(take, first, count)
            _, sound = cut(other, first, count, -shift / RATE)
            if len(mouth) < STACK + 2:
                continue
            seen = net.see(seen_part(mouth[None]))
            heard = net.hear(net.spectrum(sound[None].float() / 32768))
            total += over_lags(centred(net.scores(seen, heard)), SEARCH)[0].numpy()
    return total, shift / RATE
