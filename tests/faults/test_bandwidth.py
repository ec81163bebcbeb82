"""Bandwidth loss: nothing above the stated cut, all below it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from faults.truth import Severity
from tests.faults.sounds import seeds

RATE = 48_000


@pytest.mark.parametrize(
    ("form", "severity"),
    [
        ("filter", Severity.VERY_SUBTLE),
        ("mp3", Severity.SUBTLE),
        ("aac", Severity.NOTICEABLE),
        ("filter", Severity.VERY_NOTICEABLE),
    ],
)
def test_cut(clean_clip, severity, form):
    fault, after = seeds(clean_clip, "bandwidth_loss", {"form": form}, severity)
    truth = fault.truths[0]
    here = slice(round((truth.start + 0.02) * RATE), round((truth.end - 0.02) * RATE))
    frequency, before = signal.welch(clean_clip.sound[0, here], RATE, nperseg=1024)
    now = signal.welch(after[0, here], RATE, nperseg=1024)[1]
    cutoff = fault.parameters["cutoff_hz"]
    above, below = frequency > 1.2 * cutoff, (frequency > 200) & (frequency < 0.6 * cutoff)
    assert 10 * np.log10(now[above].sum() / before[above].sum()) < -25
    assert 10 * np.log10(now[below].sum() / before[below].sum()) == pytest.approx(0, abs=2)


def test_telephone(clean_clip):
    wanted = {"form": "telephone"}
    fault, after = seeds(clean_clip, "bandwidth_loss", wanted, Severity.VERY_NOTICEABLE)
    truth = fault.truths[0]
    here = slice(round((truth.start + 0.02) * RATE), round((truth.end - 0.02) * RATE))
    frequency, power = signal.welch(after[0, here], RATE, nperseg=2048)
    inside = (frequency > 200) & (frequency < 3700)
    assert power[~inside].sum() < 1e-3 * power[inside].sum()
