"""Linear prediction: an impulse is not let into the predictor, and the gap is filled as it was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from pipeline.measure.lpc import ORDER, interpolated, residual

AT = 1000


@pytest.fixture
def resonant():
    """Noise through three resonances [2048], whose prediction error is 0.01."""
    poles = 0.97 * np.exp(1j * np.array([0.2, 0.7, 1.4]))
    taps = np.real(np.poly(np.concatenate([poles, poles.conj()])))
    noise = np.random.default_rng(1).normal(0, 0.01, 2048)
    return signal.lfilter([1], taps, noise).astype(np.float32)


def test_the_error_of_an_impulse_is_its_height_whatever_its_height(resonant):
    for height in (0.3, 3.0, 30.0):
        clicked = resonant.copy()
        clicked[AT] += height
        error = np.zeros(len(clicked))
        taps = residual(clicked, AT - 24, AT + 48, error)
        assert taps[0] == 1
        assert error[AT] == pytest.approx(height, abs=0.05)
        assert np.sqrt(np.square(error[ORDER : AT - 1]).mean()) < 0.015
        assert not error[:ORDER].any()


def test_a_gap_is_filled_as_it_was(resonant):
    error = np.zeros(len(resonant))
    taps = residual(resonant, AT - 24, AT + 48, error)
    clicked = resonant.copy()
    clicked[AT : AT + 6] += 5.0
    filled = interpolated(clicked, AT, AT + 6, taps)
    assert np.abs(filled - resonant[AT : AT + 6]).max() < 0.05
    assert np.abs(resonant[AT : AT + 6]).max() > 0.1
