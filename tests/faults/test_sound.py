"""Faults of sound in general: ladders, other formats than 48 kHz stereo, and silence."""

from __future__ import annotations

import numpy as np
import pytest

from faults import FAULTS
from faults.base import FaultError, SoundFault
from faults.damage import place
from faults.media import Clean
from faults.sound import clusters, place_amid_sound, seam
from faults.truth import Severity
from tests import media
from tests.faults.sounds import damaged

SOUND = [
    name
    for name, fault in FAULTS.items()
    if issubclass(fault, SoundFault) and not name.startswith("av_")
]
# at 8 kHz there is nothing that bandwidth loss could take away
ANY_RATE = [name for name in SOUND if name != "bandwidth_loss" and not FAULTS[name].whole]


def clip(folder, sound, rate):
    return Clean(
        media.write(
            folder / "clean.mkv",
            sound=sound,
            sample_rate=rate,
            audio_codec="flac",
            audio_format="s16",
        )
    )


@pytest.fixture(scope="module")
def unusual(tmp_path_factory):
    """Eight seconds of 5.1 at 22.05 kHz and of mono at 8 kHz."""
    return [
        clip(tmp_path_factory.mktemp("unusual"), media.programme(8, channels, rate=rate), rate)
        for channels, rate in ((6, 22_050), (1, 8000))
    ]


@pytest.mark.parametrize("name", SOUND)
def test_ladder_is_ordered(name):
    ladder = FAULTS[name].ladder
    assert list(ladder) == list(Severity)[::-1]
    steps = [ladder[severity] for severity in ladder]
    for key in steps[0]:
        values = [step[key] for step in steps]
        assert values in (sorted(values), sorted(values, reverse=True)), key
        assert len(set(values)) == 4, key


@pytest.mark.parametrize("name", ANY_RATE)
def test_unusual_formats(unusual, name):
    for clean in unusual:
        if FAULTS[name].obstacle(clean):
            assert clean.sound.shape[0] == 1
            continue
        fault, after = damaged(clean, name)
        hit = np.flatnonzero((after != clean.sound).any(axis=0)) / clean.sample_rate
        inside = np.zeros(len(hit), bool)
        for truth in fault.truths:
            inside |= (hit >= truth.start - 2e-4) & (hit <= truth.end + 2e-4)
        assert inside.all()
        assert np.isfinite(after).all()


@pytest.fixture(scope="module")
def falls_silent(tmp_path_factory):
    """Half a second of programme, then nothing."""
    sound = media.programme(6)
    sound[:, 24_000:] = 0
    return clip(tmp_path_factory.mktemp("silent"), sound, 48_000)


@pytest.mark.parametrize("name", ["dropout", "silence", "level_jump", "clipping", "hiss"])
def test_silence_cannot_be_damaged(falls_silent, name):
    order = place(name, Severity.SUBTLE, falls_silent, 3, at=(2.0, 5.0))
    with pytest.raises(FaultError, match="sound"):
        FAULTS[name](order, falls_silent).sound(falls_silent.sound.copy(), 48_000)


def test_moves_to_where_there_is_sound():
    sound = np.zeros((1, 8000), np.float32)
    sound[:, 3000:5000] = 0.3
    at = place_amid_sound(sound, 8000, slice(1000, 1500), 80, np.random.default_rng(0))
    assert 3000 + 64 <= at <= 5000 - 64 - 80


def test_seam_and_clusters():
    weight = seam(100, 10)
    assert (np.diff(weight[:11]) > 0).all()
    assert (weight[10:90] == 1).all()
    assert np.allclose(weight, weight[::-1])
    spans = [(9000, 9100), (0, 10), (400, 500)]
    assert clusters(spans, 1000) == [[(0, 10), (400, 500)], [(9000, 9100)]]
