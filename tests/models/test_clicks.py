"""The click net on impulses of real signals."""

from __future__ import annotations

import numpy as np
import pytest

from models.clicks import FIGURES, INPUTS, REACH, WAVE, Clicks, inputs, shared
from pipeline.detectors.click import ClickDetector, ClickSettings
from pipeline.measurements import SoundFormat
from tests import media

PLACE = 154_000


@pytest.mark.parametrize("length", [1, 6, 18])
def test_a_click_is_likely_and_the_music_beside_it_is_not(length):
    sound = media.programme(6.0)
    sound[:, PLACE : PLACE + length] += 0.25
    detector = ClickDetector(ClickSettings(), SoundFormat(0, 48_000, 2, "stereo"))
    found = detector.impulses(sound)
    said = Clicks().of(np.array([detector.inputs(sound, one) for one in found]))
    asked = [
        (abs(one.centre - PLACE) < 40, odds)
        for one, odds in zip(found, said, strict=True)
        if detector.is_clear(sound, one)
    ]
    likely = ClickSettings().likely
    assert any(here for here, _ in asked)
    assert all(odds > likely for here, odds in asked if here)
    assert not [odds for here, odds in asked if not here and odds > likely]


def test_what_streams_share_changes_no_bit():
    asked = np.random.default_rng(2).normal(0, 1, (9, INPUTS)).astype(np.float32)
    alone = [Clicks().of(one[None])[0] for one in asked]
    assert Clicks().together(list(asked)) == alone
    assert [shared().ask(one) for one in asked] == alone


def test_what_the_net_takes_does_not_depend_on_how_loud_the_sound_is():
    rng = np.random.default_rng(1)
    wave = rng.normal(0, 0.01, 2 * WAVE).astype(np.float32)
    error = np.abs(rng.normal(0, 0.001, 2 * REACH))
    error[REACH] = 0.2
    figures = np.zeros(FIGURES, np.float32)
    figures[0] = 20 * np.log10(0.2)
    one = inputs(figures, error, wave, 44_100)
    figures[0] -= 20
    other = inputs(figures, error / 10, wave / 10, 44_100)
    assert one.shape == (INPUTS,)
    np.testing.assert_allclose(one[FIGURES:], other[FIGURES:], atol=1e-4)
    assert np.isfinite(
        inputs(figures, np.zeros(2 * REACH), np.zeros(2 * WAVE, np.float32), 8000)
    ).all()
