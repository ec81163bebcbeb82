"""Which frames a net is asked about, and what it is shown of them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.measure import steps
from pipeline.measure.steps import WINDOW, StepMeter
from pipeline.measurements import UNASKED, PictureFormat

TILES = (30, 50)
HEIGHT, WIDTH = 16 * TILES[0], 16 * TILES[1]


class Net:
    """Remembers what it is asked."""

    def __init__(self):
        self.asked = []

    def of(self, before, after):
        self.asked.append((before, after))
        shape = [-(-side // 16) for side in after[0].shape]
        return np.stack([np.full(shape, 3.0), np.full(shape, -3.0)]).astype(np.float32)


def planes(level, chroma=(HEIGHT // 2, WIDTH // 2)):
    return (
        np.full((HEIGHT, WIDTH), level, np.uint8),
        np.full(chroma, 100, np.uint8),
        np.full(chroma, 150, np.uint8),
    )


def seen(motions, *, full_range=False, chroma=(HEIGHT // 2, WIDTH // 2), renew=None):
    """What is said with each frame, and the net that was asked; frames have the level 16 + n."""
    net = Net()
    meter = StepMeter(PictureFormat(0, WIDTH, HEIGHT, 25.0, full_range, 8, False, True), net)
    said = []
    for n, motion in enumerate(motions):
        if n == renew:
            meter.renew()
        out = np.empty((2, *TILES), np.float32)
        meter.add(n / 25, planes(16 + n % 200, chroma), motion, out)
        said.append(out)
    return said, net


def still(count):
    return [np.ones(TILES, np.float32) for _ in range(count)]


def test_asked_of_a_part_that_changes_at_once():
    motions = still(10)
    motions[5][20:24, 30:36] = 40
    said, net = seen(motions)
    ((before, after),) = net.asked
    assert (before[0][0, 0], after[0][0, 0]) == (20, 21)
    assert after[0].shape == (16 * WINDOW, 16 * WINDOW)
    assert after[1].shape == (8 * WINDOW, 8 * WINDOW)
    assert [n for n, one in enumerate(said) if (one > UNASKED).any()] == [6]  # with the next frame
    where = said[6][0] > UNASKED
    assert where[20:24, 30:36].all()
    assert where.sum() == WINDOW * WINDOW
    assert said[6][0][where] == pytest.approx(3)
    assert said[6][1][where] == pytest.approx(-3)


@pytest.mark.parametrize("name", ["nothing", "motion", "a cut", "a few samples"])
def test_not_asked(name):
    motions = still(10)
    if name == "motion":
        for motion in motions[4:]:
            motion[20:24, 30:36] = 40
    elif name == "a cut":
        motions[5][:] = 40
    elif name == "a few samples":
        motions[5][20, 30:33] = 7
    _, net = seen(motions)
    assert not net.asked


@pytest.mark.parametrize("at", [1, 4, 5, 6])
def test_nothing_from_before_counts(at):
    """Measuring that begins anew at a key frame says what one that begins there says."""
    motions = still(14)
    motions[at][20:24, 30:36] = 40
    said, _ = seen(motions, renew=4)
    first = still(14)
    first[at][20:24, 30:36] = 40
    alone, _ = seen(first[4:])
    assert np.array_equal(said[4:], alone)


def test_the_budget_is_kept(monkeypatch):
    monkeypatch.setattr(steps, "AT_ONCE", 4.0)
    motions = still(251)
    for n in range(5, 250, 3):
        motions[n][20:24, 30:36] = 40
    _, net = seen(motions)
    assert 4 + 10 * steps.ASKED - 2 <= len(net.asked) <= 4 + 10 * steps.ASKED + 1


def test_limited_range_and_half_of_the_chroma():
    motions = still(8)
    motions[5][20:24, 30:36] = 40
    _, net = seen(motions, full_range=True, chroma=(HEIGHT, WIDTH))
    ((_, after),) = net.asked
    assert after[0][0, 0] == round(21 * 219 / 255 + 16)
    assert after[1].shape == (8 * WINDOW, 8 * WINDOW)
    assert after[1][0, 0] == round(-28 * 224 / 255 + 128)
