"""Phase: the stretch cancels in mono; false stereo is one channel twice."""

from __future__ import annotations

import numpy as np
import pytest

from faults import FAULTS
from faults.truth import Severity
from tests.faults.sounds import damaged

RATE = 48_000


@pytest.mark.parametrize("severity", list(Severity))
def test_opposite_phase(clean_clip, severity):
    fault, after = damaged(clean_clip, "phase_inversion", severity)
    truth = fault.truths[0]
    left, right = after[:, round(truth.start * RATE) : round(truth.end * RATE)]
    correlation = np.corrcoef(left, right)[0, 1]
    assert correlation == pytest.approx(truth.parameters["correlation"], abs=0.01)
    assert correlation <= -truth.parameters["least_correlation"] + 0.01


@pytest.mark.parametrize("severity", list(Severity))
def test_false_stereo(clean_clip, severity):
    fault, after = damaged(clean_clip, "false_stereo", severity)
    assert np.corrcoef(after)[0, 1] > 0.9995
    source = fault.truths[0].parameters["copied_channel"]
    assert np.array_equal(after[source], clean_clip.sound[source])
    assert not np.array_equal(after[0], after[1])


def test_what_is_mono_already(clean_clip, monkeypatch):
    assert FAULTS["false_stereo"].obstacle(clean_clip) is None
    monkeypatch.setitem(clean_clip.__dict__, "sound", np.repeat(clean_clip.sound[:1], 2, axis=0))
    assert "same" in FAULTS["false_stereo"].obstacle(clean_clip)
    monkeypatch.setitem(clean_clip.__dict__, "sound", clean_clip.sound[:1])
    for name in ("phase_inversion", "dead_channel", "false_stereo"):
        assert "mono" in FAULTS[name].obstacle(clean_clip)
