"""DC offset: a mean that stays; bass and asymmetric voices are none."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.detectors.sounds import AAC, PCM, RATE, save, tone
from tests.findings import assert_interval, examine, of_kind


def offset(size, start=3.0, end=6.0):
    sound = media.programme(9.0)
    sound[:, round(start * RATE) : round(end * RATE)] += size
    return sound


@pytest.mark.parametrize("how", [PCM, AAC], ids=["pcm", "aac"])
@pytest.mark.parametrize(("start", "end"), [(3.0, 6.0), (0.0, 9.0), (5.0, 9.0)])
def test_an_offset(tmp_path, start, end, how):
    sound = offset(0.03, start, end)
    found = of_kind(examine(save(tmp_path, sound, how), "dc_offset"), "dc_offset")
    assert len(found) >= 1
    assert_interval(found[0], start, end)
    assert found[0].evidence["offset_of_full_scale"] == pytest.approx(0.028, abs=0.004)


def test_larger_is_worse(tmp_path):
    small, large = (
        examine(save(tmp_path, offset(-size)), "dc_offset").defects[0] for size in (0.02, 0.2)
    )
    assert large.severity > small.severity
    assert large.confidence >= small.confidence


def voice():
    """Asymmetric pulses, as of a voice, without a mean."""
    t = np.arange(8 * RATE) / RATE
    pulse = np.maximum(np.sin(2 * np.pi * 110 * t), 0.6) - 0.6
    pulse -= pulse[: round(RATE / 110) * 110].mean()
    return np.repeat((pulse * 1.5 * (np.sin(2 * np.pi * 3 * t) > 0))[None], 2, axis=0)


@pytest.mark.parametrize(
    "sound", [voice, lambda: tone(-1, 8, 31), lambda: tone(-1, 8, 41.2), media.programme]
)
def test_hard_negatives(tmp_path, sound):
    assert examine(save(tmp_path, sound()), "dc_offset").defects == []


def test_clean_media():
    assert examine(media.bunny(), "dc_offset").defects == []
