"""What holds for every fault: it damages inside its truth and nowhere else, and repeats itself."""

from __future__ import annotations

import numpy as np
import pytest

from faults import FAULTS
from faults.base import FaultError, PictureFault, SoundFault
from faults.damage import damage, place
from faults.media import Clean
from faults.truth import Severity
from tests import media

PICTURE = [n for n, f in FAULTS.items() if issubclass(f, PictureFault) and f.mixes]
SOUND = [n for n, f in FAULTS.items() if issubclass(f, SoundFault) and f.mixes and not f.whole]
# one subtle and one plain step by default; the other two with the slow tests
SEVERITIES = [
    pytest.param(
        s, marks=() if s in (Severity.VERY_SUBTLE, Severity.NOTICEABLE) else pytest.mark.slow
    )
    for s in Severity
]
ENDS = 0.3  # seconds: periodic damage may begin or end with an instant that looks clean


def _differs(one, other):
    """Where two pictures differ, as a mask of luma samples."""
    chroma = (one.cb != other.cb) | (one.cr != other.cr)
    return (one.luma != other.luma) | np.kron(chroma, np.ones((2, 2), bool))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", PICTURE)
def test_picture_is_damaged_inside_the_truth_alone(clean_clip, clean_pictures, name, severity):
    order = place(name, severity, clean_clip, seed=6)
    fault = FAULTS[name](order, clean_clip)
    damaged = list(fault.pictures(iter(clean_pictures)))
    assert [p.time for p in damaged] == [p.time for p in clean_pictures]
    truths = fault.truths
    assert truths
    assert all(truth.kind == fault.kind and truth.severity == severity for truth in truths)
    hit = []
    for before, after in zip(clean_pictures, damaged, strict=True):
        where = _differs(before, after)
        inside = [t for t in truths if t.start - 1e-6 <= before.time < t.end - 1e-6]
        if not inside:
            assert not where.any(), before.time
        elif where.any():
            hit.append(before.time)
            region = inside[0].region
            if region is not None:
                height, width = where.shape
                where[
                    round(region.top * height) : round(region.bottom * height),
                    round(region.left * width) : round(region.right * width),
                ] = False
                assert not where.any(), before.time
    assert hit[0] - truths[0].start <= ENDS
    assert truths[-1].end - hit[-1] <= ENDS


@pytest.mark.parametrize("name", PICTURE)
def test_picture_damage_grows_with_severity(clean_clip, clean_pictures, name):
    """Total difference to the clean picture, over all frames."""
    totals = []
    for severity in (Severity.VERY_SUBTLE, Severity.VERY_NOTICEABLE):
        order = place(name, severity, clean_clip, seed=6)
        damaged = FAULTS[name](order, clean_clip).pictures(iter(clean_pictures))
        totals.append(
            sum(
                np.abs(a.luma.astype(int) - b.luma).sum()
                + np.abs(a.cb.astype(int) - b.cb).sum()
                + np.abs(a.cr.astype(int) - b.cr).sum()
                for a, b in zip(clean_pictures, damaged, strict=True)
            )
        )
    assert 0 < totals[0] < totals[1]


@pytest.mark.parametrize("name", PICTURE)
def test_picture_same_seed_same_damage(clean_clip, clean_pictures, name):
    def run(seed):
        order = place(name, Severity.NOTICEABLE, clean_clip, seed)
        fault = FAULTS[name](order, clean_clip)
        out = list(fault.pictures(iter(clean_pictures)))
        return fault.truths, [(p.luma, p.cb, p.cr) for p in out]

    truths, frames = run(7)
    again, same = run(7)
    assert again == truths
    assert all(
        np.array_equal(a, b)
        for x, y in zip(frames, same, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    assert run(9)[0] != truths


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", SOUND)
def test_sound_is_damaged_inside_the_truth_alone(clean_clip, name, severity):
    order = place(name, severity, clean_clip, seed=5)
    fault = FAULTS[name](order, clean_clip)
    rate, before = clean_clip.sample_rate, clean_clip.sound
    after = fault.sound(before.copy(), rate)
    assert after.shape == before.shape
    assert after.dtype == np.float32
    hit = np.flatnonzero((after != before).any(axis=0)) / rate
    inside = np.zeros(len(hit), bool)
    for truth in fault.truths:
        assert truth.kind == fault.kind
        assert truth.severity == severity
        inside |= (hit >= truth.start - 1e-4) & (hit <= truth.end + 1e-4)
    assert inside.all(), hit[~inside][:5]
    assert hit[0] - fault.truths[0].start <= 0.05
    assert fault.truths[-1].end - hit[-1] <= 0.05


@pytest.mark.parametrize("name", SOUND)
def test_sound_same_seed_same_damage(clean_clip, name):
    def run(seed):
        order = place(name, Severity.NOTICEABLE, clean_clip, seed)
        fault = FAULTS[name](order, clean_clip)
        return fault.truths, fault.sound(clean_clip.sound.copy(), clean_clip.sample_rate)

    truths, sound = run(7)
    again, same = run(7)
    assert again == truths
    assert np.array_equal(sound, same)
    assert run(8)[0] != truths


@pytest.fixture(scope="module")
def plain_clip(tmp_path_factory):
    """A picture without detail in which nothing moves."""
    frames = [np.full((192, 320, 3), 90, np.uint8)] * 200
    path = tmp_path_factory.mktemp("plain") / "plain.mkv"
    return Clean(media.write(path, frames, media.programme(8), audio_codec="flac"))


@pytest.mark.parametrize(
    "name", ["banding", "blur", "combing", "dropped_frames", "freeze", "repeated_frames", "tearing"]
)
def test_what_nobody_can_see_is_not_made(plain_clip, tmp_path, name):
    order = place(name, Severity.VERY_NOTICEABLE, plain_clip, seed=5)
    with pytest.raises(FaultError):
        damage(plain_clip, tmp_path / "damaged.mkv", [order])
