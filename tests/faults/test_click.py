"""Clicks: number, length and height."""

from __future__ import annotations

import numpy as np
import pytest

from faults.truth import Severity
from tests.faults.sounds import damaged


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("severity", list(Severity))
def test_impulses(clean_clip, severity, seed):
    fault, after = damaged(clean_clip, "click", severity, seed)
    added = np.abs(after - clean_clip.sound)
    hit = np.flatnonzero(added.any(axis=0))
    groups = np.split(hit, np.flatnonzero(np.diff(hit) > 400) + 1)
    assert len(groups) == sum(truth.parameters["impulses"] for truth in fault.truths)
    assert all(group[-1] - group[0] < 20 for group in groups)
    for truth in fault.truths:
        here = slice(round(truth.start * 48_000), round(truth.end * 48_000))
        height = 20 * np.log10(added[:, here].max())
        assert height == pytest.approx(truth.parameters["height_dbfs"], abs=0.1)
        near = clean_clip.sound[:, here.start - 1200 : here.stop + 1200]
        level = 10 * np.log10(np.square(near).mean(axis=1).max())
        if here.stop - here.start <= 20 and height < -8:  # one impulse, not at full scale
            over = FAULT_HEIGHT[severity]
            assert height - max(level, -45) == pytest.approx(over, abs=4)


FAULT_HEIGHT = {
    Severity.VERY_SUBTLE: 2,
    Severity.SUBTLE: 7,
    Severity.NOTICEABLE: 12,
    Severity.VERY_NOTICEABLE: 18,
}
