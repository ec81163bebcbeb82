"""Losses out of what a net says of cells, whatever stretches the sound comes in."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.detectors.lost_packets import Losses, losses
from tests.detectors.sounds import RATE, noise


class Loud:
    """Stands in for the net: it takes what is loud for a loss."""

    def of(self, taken):
        return np.where(taken[:, -1:] > -2.5, 8.0, -8.0).astype(np.float32)


def bursts(*spans):
    sound = noise(-70, 8.0)
    for start, end in spans:
        sound[:, round(start * RATE) : round(end * RATE)] *= 100
    return sound


@pytest.mark.parametrize("part", [700, 48_000, 400_000])
def test_what_is_short_and_amid_sound_is_a_loss(part):
    sound = bursts((0, 0.3), (1, 1.05), (2.5, 2.52), (2.525, 2.56), (3, 4.5), (5, 5.2), (7.9, 8))
    heard, found, known = Losses(RATE, Loud()), [], [-np.inf]
    for at in range(0, sound.shape[1], part):
        now = heard.add(sound[:, at : at + part], 10 + at / RATE)
        assert all(known[-1] - 0.011 <= one.start and one.end <= heard.known for one in now)
        found += now
        known.append(heard.known)
    found += heard.finish()
    spans = [(round(one.start, 2), round(one.end, 2)) for one in found]
    assert spans == [(11.0, 11.05), (12.5, 12.56), (15.0, 15.2)]
    assert known == sorted(known)
    assert {one.odds for one in found} == {8.0}


def test_silence_is_no_loss():
    sound = bursts((2, 2.1))
    sound[:, round(2 * RATE) :] = 0
    heard = Losses(RATE, Loud())
    heard._net.of = lambda taken: np.full((len(taken), 1), 9.0, np.float32)
    sound[:, : round(2 * RATE)] = 0
    assert [*heard.add(sound, 0.0), *heard.finish()] == []


def test_ends_of_the_sound():
    odds = np.full(100, -3.0, np.float32)
    odds[10:15] = odds[40:45] = odds[85:90] = 6
    assert len(losses(odds, 0.005, 0.0)) == 3
    (one,) = losses(odds, 0.005, 1.0, first=True, last=True)
    assert (one.start, one.end) == pytest.approx((1.2, 1.225))
