"""Every flash is beyond the limits of BT.1702, by its own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from faults import FAULTS
from faults.damage import place
from faults.flashing import GAMMA, PEAK
from faults.truth import Severity


def _luminance(luma):
    return PEAK * np.clip((luma.astype(float) - 16) / 219, 0, 1) ** GAMMA


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("severity", list(Severity))
def test_beyond_the_limits(clean_clip, clean_pictures, severity, seed):
    fault = FAULTS["flashing"](place("flashing", severity, clean_clip, seed), clean_clip)
    out = list(fault.pictures(iter(clean_pictures)))
    (truth,) = fault.truths
    lit = [p for p in out if truth.start - 1e-6 <= p.time < truth.end - 1e-6]
    height, width = clean_clip.size
    region = truth.region
    area = 1.0
    if region is not None:
        area = (region.right - region.left) * (region.bottom - region.top)
    assert area > 0.27
    assert 3 < truth.parameters["rate"] <= 12.5
    if truth.parameters["red"]:
        return
    # changes of a sample in the middle of the area, in cd/m2
    y = height // 2 if region is None else int((region.top + region.bottom) / 2 * height)
    x = width // 2 if region is None else int((region.left + region.right) / 2 * width)
    levels = _luminance(np.array([p.luma[y - 4 : y + 4, x - 4 : x + 4].mean() for p in lit]))
    assert levels.max() - levels.min() > 20
    assert levels.min() < 160
