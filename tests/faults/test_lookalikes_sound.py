"""Look-alikes in sound: same shape, within full scale, repeatable, and not the clean sound."""

from __future__ import annotations

import numpy as np
import pytest

from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import SoundLookalike
from tests import media

SOUND = [name for name, one in LOOKALIKES.items() if issubclass(one, SoundLookalike)]
CLIPS = {
    (channels, rate): media.programme(3, channels, rate=rate)
    for channels, rate in ((2, 48_000), (1, 8000), (6, 22_050))
}


def made(name, clip, seed=3):
    rate = clip[1]
    # none of them asks for more of the clean asset than its samples
    return LOOKALIKES[name](None, seed).sound(CLIPS[clip].copy(), rate)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("name", SOUND)
def test_is_sound(name, clip):
    after = made(name, clip)
    before = CLIPS[clip]
    assert after.shape == before.shape
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    assert 0.02 < np.abs(after).max() <= 1
    assert not np.array_equal(after, before)


@pytest.mark.parametrize("name", SOUND)
def test_is_drawn_from_the_seed(name):
    clip = (1, 8000)
    assert np.array_equal(made(name, clip), made(name, clip))
    assert not np.array_equal(made(name, clip), made(name, clip, seed=4))


def test_all_resemble_a_defect_of_sound():
    assert len(SOUND) >= 15
    for name in SOUND:
        assert LOOKALIKES[name].resembles
        assert not set(LOOKALIKES[name].resembles) & set(LOOKALIKES[name].excused)


def test_loud_music_has_no_flat_tops():
    after = made("loud_music", (2, 48_000))
    assert np.abs(after).max() < 0.99
    assert np.square(after).mean() > 3 * np.square(CLIPS[2, 48_000]).mean()
    at_the_top = np.abs(after) > 0.999 * np.abs(after).max()
    assert not (at_the_top[:, 1:] & at_the_top[:, :-1]).sum() > 4


def test_a_pause_fades_into_the_room():
    after = made("pause", (2, 48_000))
    level = np.square(after[0]).reshape(-1, 4800).mean(axis=1)
    quiet = 10 * np.log10(level.min())
    assert -75 < quiet < -50  # a room, not digital silence
