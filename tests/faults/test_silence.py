"""Mutes: silent or at the stated floor, and amid sound."""

from __future__ import annotations

import numpy as np
import pytest

from faults.truth import Severity
from tests.faults.sounds import damaged

RATE = 48_000


@pytest.mark.parametrize("seed", range(8))
def test_level_of_a_mute(clean_clip, seed):
    fault, after = damaged(clean_clip, "silence", Severity.SUBTLE, seed)
    truth = fault.truths[0]
    assert truth.end - truth.start == pytest.approx(2.5, abs=0.001)
    part = after[:, round((truth.start + 0.01) * RATE) : round((truth.end - 0.01) * RATE)]
    floor = truth.parameters.get("floor_dbfs")
    if floor is None:
        assert not part.any()
    else:
        assert 20 * np.log10(part.std()) == pytest.approx(floor, abs=0.2)


@pytest.mark.parametrize("seed", range(4))
def test_dead_channel(clean_clip, seed):
    fault, after = damaged(clean_clip, "dead_channel", Severity.SUBTLE, seed)
    truth = fault.truths[0]
    channel = truth.parameters["channel"]
    assert np.array_equal(after[1 - channel], clean_clip.sound[1 - channel])
    part = after[channel, round(truth.start * RATE) : round(truth.end * RATE)]
    assert 20 * np.log10(max(float(part.std()), 1e-6)) < -69
