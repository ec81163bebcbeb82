"""The net of lost packets."""

from __future__ import annotations

import numpy as np

from models.packet_loss import COARSE, FIGURES, LEVELS, REACH, PacketLoss, inputs, shared


def test_what_is_far_away_and_what_streams_share_change_nothing():
    rng = np.random.default_rng(2)
    taken = rng.normal(-1, 1, (2 * REACH + 20, FIGURES)).astype(np.float32)
    other = taken.copy()
    other[:9], other[-9:] = 1, -3
    middle = slice(REACH + 9, REACH + 11)
    one, two = (shared().ask(each) for each in (taken, other))
    assert one.shape == (len(taken), 1)
    np.testing.assert_allclose(one[middle], two[middle], atol=1e-4)
    asked = rng.normal(0, 1, (9, 40, FIGURES)).astype(np.float32)
    for alone, together in zip(asked, PacketLoss().together(list(asked)), strict=True):
        assert np.array_equal(PacketLoss().together([alone])[0], together)


def test_inputs_leave_the_figures_as_they_are_and_hold_levels():
    figures = np.full((4, FIGURES), -130.0, np.float32)
    taken = inputs(figures)
    assert (figures == -130).all()
    assert taken.shape == figures.shape
    np.testing.assert_allclose(taken[:, list(LEVELS)], -4.5)
    np.testing.assert_allclose(taken[:, COARSE], -26)
