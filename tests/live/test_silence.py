"""How long a stream was silent: our own slowness, and the rhythm of its segments, are none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decode import DecodedSound
from pipeline.live.silence import OPENING, STALL, STUCK, Silence
from pipeline.measurements import Note

EVERY = 0.5


def sound(time):
    return DecodedSound(1, time, 48_000, "mono", np.zeros((1, 480), np.float32))


class Stream:
    """One whose time goes by."""

    def __init__(self, **more):
        self.now = 1000.0
        self.silence = Silence(self.now, **more)
        self.target, self.opening = 0.0, False
        self.items = self.silence.handing(iter(self._given, None))
        self.next = None

    def _given(self):
        return self.next

    def come(self, time=None, *, done=True):
        """Something comes, and is worked on until the next, or no more."""
        self.next = Note("decode_error", self.now, 1, "") if time is None else sound(time)
        next(self.items)
        if done:
            self.silence._busy = False

    def lasts(self):
        return self.silence.lasts(opening=self.opening, target=self.target)

    def wait(self, seconds):
        """Returns after how long it was too long."""
        for n in range(1, round(seconds / EVERY) + 1):
            self.now += EVERY
            self.silence.look(self.now)
            if self.lasts():
                return n * EVERY
        return None


def test_a_stream_that_gives_nothing_is_silent_after_a_while():
    one = Stream()
    one.come(0.0)
    assert one.wait(20.0) == STALL + EVERY
    assert one.lasts() == STALL + EVERY
    one.come(0.5)
    assert not one.lasts()


def test_the_first_connection_and_long_segments_may_take_longer():
    one = Stream()
    one.opening = True
    assert one.wait(20.0) == OPENING + EVERY
    one = Stream()
    one.target = 6.0
    assert one.wait(20.0) == pytest.approx(1.5 * 6.0 + 1.0 + EVERY)


def test_what_says_nothing_new_does_not_break_it():
    one = Stream()
    one.come(0.0)
    for _ in range(4):  # the same picture again and again, and notes
        assert not one.wait(1.0)
        one.come(0.0)
        one.come()
    assert one.wait(1.0)


def test_time_that_a_process_does_not_get_is_no_silence():
    one = Stream()
    one.come(0.0)
    one.now += 60.0
    one.silence.look(one.now)
    assert not one.lasts()
    assert one.wait(20.0) == STALL + EVERY - 1.0  # one second of it may have been


def test_work_is_no_silence_unless_it_never_ends():
    one = Stream()
    one.come(0.0, done=False)
    assert one.wait(STUCK) is None
    assert one.wait(5.0) == EVERY
    assert one.silence.is_stuck
    one.come(0.5)
    assert not one.lasts()
    assert not one.silence.is_stuck


@pytest.mark.parametrize("length", [2.0, 6.0, 9.0])
def test_segments_that_are_not_seen_have_their_rhythm(length):
    one = Stream(hidden=True)
    for n in range(5):
        one.come(n * length)
        assert one.wait(length) is None
    one.come(5 * length)
    assert one.wait(60.0) == pytest.approx(max(STALL, 1.5 * length + 1.0) + EVERY)
    # a silence is no rhythm
    one.come(6 * length)
    assert one.wait(60.0) == pytest.approx(max(STALL, 1.5 * length + 1.0) + EVERY)
