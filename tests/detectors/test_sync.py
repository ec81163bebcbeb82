"""Sync: mouths and sound that belong together, and by how much sound is off.

The mouths are drawn: they open as their sound gets louder. What judges them is a net that was made
by hand for such mouths and has the shape and the scale of the trained one; what the trained one can
do with people is measured in training (models/weights/sync.md).
"""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from torch import Tensor

import models.sync
import vidette
from models.mouths import SIDE
from models.nets.sync import SyncNet, seen_part
from models.sync import Calibration, Trained
from pipeline.detectors.lags import MOST, STEP, gain_of_change, reading, stretches
from pipeline.detectors.sync import SyncDetector, SyncSettings
from pipeline.measure.sound import SoundMeter
from pipeline.measurements import Mouth, Segment, SoundFormat
from pipeline.types import Asset, AudioTrack, Kind, VideoTrack
from tests import media

RATE = 48_000
CALIBRATION = Calibration(sharpness=1.0, half_sure=4.0, surer=2.0, change=12.0)


class LoudnessNet(SyncNet):
    """Scores how alike the darkness of a mouth and the loudness of the sound move."""

    def see(self, mouths: Tensor) -> Tensor:
        dark = 255 - mouths[:, :, 12:36, 12:36].mean(dim=(2, 3))
        return _moves(dark.unfold(1, 9, 1))

    def hear(self, spectra: Tensor) -> Tensor:
        loud = spectra.mean(dim=2).unfold(1, 5, 1).mean(dim=2)  # 50 ms; the first is of spectrum 2
        loud = torch.nn.functional.pad(loud, (6, 14), mode="replicate")
        # nine values, 40 ms apart, around the spectrum that a position belongs to
        return _moves(loud.unfold(1, 33, 4)[:, : (spectra.shape[1] - 25) // 4 + 1, ::4])


def _moves(values: Tensor) -> Tensor:
    away = values - values.mean(dim=2, keepdim=True)
    return away / (away.norm(dim=2, keepdim=True) + 1e-3)


@pytest.fixture(autouse=True)
def net(monkeypatch):
    made = LoudnessNet().eval()

    def vectors(mouth, spectra):
        with torch.inference_mode():
            seen = made.see(seen_part(torch.from_numpy(mouth)[None]))[0]
            return [seen.numpy(), made.hear(torch.from_numpy(spectra)[None])[0].numpy()]

    trained = Trained(
        vectors,
        made.mel.spectrogram.window.numpy(),
        made.mel.mel_scale.fb.numpy(),
        float(np.e),  # of the scores
        CALIBRATION,
    )
    monkeypatch.setattr(models.sync, "load", lambda: trained)


def speech(seconds: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """How wide a mouth is open, 25 times a second, and its sound [1, N]."""
    rng = np.random.default_rng(seed)
    count = round(seconds * 25)
    wide = np.convolve(rng.normal(0, 1, count + 8), np.ones(3) / 3, "same")[4:-4].clip(-1, 1) + 1
    times = np.arange(round(seconds * RATE)) / RATE
    loud = np.interp(times, np.arange(count) / 25, wide)
    sound = 0.08 * loud**2 * rng.normal(0, 1, len(times)) + rng.normal(0, 1e-4, len(times))
    return wide, sound[None].astype(np.float32)


def pictures(wide: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = [((columns - 40) / 24) ** 2 + ((rows - 40) / (2 + 11 * one)) ** 2 < 1 for one in wide]
    return np.where(np.stack(inside), 40, 160).astype(np.uint8)


def asset() -> Asset:
    return Asset(
        video=[VideoTrack(stream=0, codec="h264", width=640, height=360)],
        audio=[AudioTrack(stream=1, codec="aac", sample_rate=RATE, channels=1)],
    )


def detected(wide, sound, mouths=((0.0, None),), **settings):
    """What the detector says of mouths (start, end in seconds) and sound, a second at a time."""
    detector = SyncDetector(SyncSettings(**settings), asset())
    meter = SoundMeter(SoundFormat(1, RATE, 1, "mono"))
    parts = []
    for start, end in mouths:
        last = len(wide) / 25 if end is None else end
        for first in np.arange(start, last, 10.0):
            part = wide[round(first * 25) : round(min(first + 10, last) * 25)]
            parts.append(Mouth(first, pictures(part), 120.0, (0.4, 0.5, 0.6, 0.7)))
    found = []
    for second in range(int(np.ceil(sound.shape[1] / RATE))):
        part = sound[:, second * RATE : (second + 1) * RATE]
        meter.add(part, float(second))
        ended = [m for m in parts if second < m.time + len(m.pictures) / 25 <= second + 1]
        found += detector.update(Segment(second, second + 1.0, None, [meter.take()], [], ended))
    found += detector.finish()
    return found, detector.av_sync()


def late(sound: np.ndarray, seconds: float) -> np.ndarray:
    count = round(seconds * RATE)
    return np.roll(sound, count, axis=1)


@pytest.mark.parametrize("milliseconds", [-600, -250, 130, 330])
def test_an_offset_is_found_with_its_sign(milliseconds):
    wide, sound = speech(24.0)
    found, verdict = detected(wide, late(sound, -milliseconds / 1000))
    assert verdict.state == "out_of_sync"
    assert verdict.offset_ms == pytest.approx(milliseconds, abs=15)
    low, high = verdict.interval_ms
    assert low <= verdict.offset_ms <= high
    assert verdict.share_answered > 0.9
    assert [one.kind for one in found] == [Kind.AV_OFFSET]
    assert (found[0].start, found[0].end) == pytest.approx((0, 24), abs=0.6)
    assert ("early" if milliseconds > 0 else "late") in found[0].summary
    assert found[0].region.left == 0.4


def test_what_is_known_is_told_while_the_stream_goes_on():
    wide, sound = speech(20.0)
    detector = SyncDetector(SyncSettings(), asset())
    meter = SoundMeter(SoundFormat(1, RATE, 1, "mono"))
    shifted = late(sound, -0.2)
    told = []
    for second in range(20):
        meter.add(shifted[:, second * RATE : (second + 1) * RATE], float(second))
        mouths = []
        if second % 5 == 4:
            part = wide[(second - 4) * 25 : (second + 1) * 25]
            mouths = [Mouth(second - 4.0, pictures(part), 120.0, (0.4, 0.5, 0.6, 0.7))]
        segment = Segment(second, second + 1.0, None, [meter.take()], [], mouths)
        assert not list(detector.update(segment))
        assert detector.av_offset_ms() == (told[-1] if told else None)
        standing = list(detector.standing())
        told.append(detector.av_offset_ms())
        assert bool(standing) == (told[-1] is not None)
    assert told[0] is None
    assert told[-1] == pytest.approx(200, abs=20)
    assert detector.av_sync().state == "abstained"  # that is said at the end
    list(detector.finish())
    assert detector.av_sync().offset_ms == pytest.approx(told[-1], abs=10)


def test_larger_offsets_are_worse():
    wide, sound = speech(16.0)
    severities = [
        detected(wide, late(sound, seconds))[0][0].severity for seconds in (0.2, 0.3, 0.5)
    ]
    assert severities == sorted(severities)
    assert severities[0] < severities[-1]


@pytest.mark.parametrize("milliseconds", [-150, -60, 0, 60])
def test_what_is_acceptable_is_said_and_not_reported(milliseconds):
    wide, sound = speech(16.0)
    found, verdict = detected(wide, late(sound, -milliseconds / 1000))
    assert not found
    assert verdict.state == "in_sync"
    assert verdict.offset_ms == pytest.approx(milliseconds, abs=15)
    assert [moment.answered for moment in verdict.track].count(True) >= 2


def test_a_step_is_found_where_it_is():
    wide, sound = speech(40.0)
    both = np.concatenate([sound[:, : 22 * RATE], late(sound, 0.32)[:, 22 * RATE :]], axis=1)
    found, verdict = detected(wide, both)
    by_kind = {one.kind: one for one in found}
    assert set(by_kind) == {Kind.AV_STEP, Kind.AV_OFFSET}
    step, offset = by_kind[Kind.AV_STEP], by_kind[Kind.AV_OFFSET]
    assert step.start == pytest.approx(22, abs=1.0)
    assert step.evidence["step_ms"] == pytest.approx(-320, abs=20)
    assert (offset.start, offset.end) == pytest.approx((22, 40), abs=1.0)
    assert verdict.state == "out_of_sync"


def test_a_drift_is_one_finding():
    wide, sound = speech(60.0)
    there = np.arange(sound.shape[1])
    slower = np.interp(there, there * 1.005, sound[0])[None].astype(np.float32)  # 300 ms in 60 s
    found, _ = detected(wide, slower)
    assert [one.kind for one in found] == [Kind.AV_DRIFT]
    assert found[0].evidence["drift_ms_per_minute"] == pytest.approx(-300, abs=30)
    assert found[0].evidence["offset_end_ms"] == pytest.approx(-300, abs=40)


@pytest.mark.parametrize("milliseconds", [900, -900])
@pytest.mark.parametrize("fill", ["silence", "sound"])
def test_a_step_is_found_where_the_sound_was_spliced(milliseconds, fill):
    """Sound that is cut out, and a hole that is silent or filled with what was heard before."""
    wide, sound = speech(36.0)
    at, count = 15 * RATE, round(abs(milliseconds) / 1000 * RATE)
    rest = sound[:, at:]
    if milliseconds > 0:
        rest = rest[:, count:]
    else:
        hole = sound[:, at - count : at] if fill == "sound" else np.zeros((1, count), np.float32)
        rest = np.concatenate([hole, rest[:, :-count]], axis=1)
    found, _ = detected(wide, np.concatenate([sound[:, :at], rest], axis=1))
    (step,) = (one for one in found if one.kind == Kind.AV_STEP)
    assert step.start == pytest.approx(15, abs=0.5)
    assert step.end == pytest.approx(36, abs=1.5)
    assert step.evidence["step_ms"] == pytest.approx(milliseconds, abs=30)


def test_a_step_back_into_sync_lasts_no_longer():
    wide, sound = speech(40.0)
    both = np.concatenate([late(sound, 0.32)[:, : 18 * RATE], sound[:, 18 * RATE :]], axis=1)
    found, _ = detected(wide, both)
    by_kind = {one.kind: one for one in found}
    assert set(by_kind) == {Kind.AV_STEP, Kind.AV_OFFSET}
    step, offset = by_kind[Kind.AV_STEP], by_kind[Kind.AV_OFFSET]
    assert (step.start, step.end) == pytest.approx((18, 18), abs=0.6)
    assert (offset.start, offset.end) == pytest.approx((0, 18), abs=0.6)


def test_film_that_runs_as_fast_as_video_drifts():
    """24 pictures a second shown as 25, the sound left as it was, in a clip of 24 s."""
    wide, sound = speech(24.0)
    there = np.arange(sound.shape[1])
    slower = np.interp((there - 12 * RATE) * 24 / 25 + 12 * RATE, there, sound[0])
    found, _ = detected(wide, slower[None].astype(np.float32))
    assert [one.kind for one in found] == [Kind.AV_DRIFT]
    assert found[0].evidence["drift_ms_per_minute"] == pytest.approx(-2400, rel=0.1)


def test_foreign_sound_is_abstained_on():
    wide, _ = speech(24.0, seed=1)
    found, verdict = detected(wide, speech(24.0, seed=2)[1])
    assert not found
    assert (verdict.state, verdict.reason, verdict.offset_ms) == ("abstained", "unclear", None)
    assert not any(moment.answered for moment in verdict.track)


def test_the_speaker_is_the_one_whose_mouth_goes_with_the_sound():
    """Two faces at a time: the listener moves too."""
    wide, sound = speech(20.0, seed=1)
    listener = speech(20.0, seed=9)[0]
    detector = SyncDetector(SyncSettings(), asset())
    meter = SoundMeter(SoundFormat(1, RATE, 1, "mono"))
    meter.add(late(sound, 0.24), 0.0)
    mouths = [
        Mouth(first, pictures(of[round(first * 25) :][:250]), 120.0, place)
        for first in (0.0, 10.0)
        for of, place in ((listener, (0.1, 0.5, 0.2, 0.6)), (wide, (0.7, 0.5, 0.8, 0.6)))
    ]
    found = [*detector.update(Segment(0.0, 20.0, None, [meter.take()], [], mouths))]
    found += detector.finish()
    assert [one.kind for one in found] == [Kind.AV_OFFSET]
    assert found[0].region.left == 0.7
    assert detector.av_sync().offset_ms == pytest.approx(-240, abs=15)


def test_no_face_and_no_sound_are_reasons():
    wide, sound = speech(8.0)
    _, verdict = detected(wide, sound, mouths=())
    assert (verdict.state, verdict.reason) == ("abstained", "no_face")
    _, verdict = detected(wide, sound * 1e-5)
    assert (verdict.state, verdict.reason) == ("abstained", "no_sound")
    detector = SyncDetector(SyncSettings(), Asset(video=asset().video))
    assert detector.av_sync() is None


def test_mouths_after_a_gap_in_the_sound_are_judged_by_what_is_there():
    wide, sound = speech(30.0)
    detector = SyncDetector(SyncSettings(), asset())
    heard = []
    for first, last in ((0, 12), (16, 30)):  # four seconds are lost
        meter = SoundMeter(SoundFormat(1, RATE, 1, "mono"))
        meter.add(late(sound, 0.3)[:, first * RATE : last * RATE], float(first))
        heard.append(meter.take())
    mouths = [
        Mouth(first, pictures(wide[round(first * 25) :][:250]), 120.0, (0.0, 0.0, 1.0, 1.0))
        for first in (0.0, 10.0, 20.0)
    ]
    list(detector.update(Segment(0.0, 30.0, None, heard, [], mouths)))
    found = list(detector.finish())
    assert {one.kind for one in found} == {Kind.AV_OFFSET}
    assert detector.av_sync().offset_ms == pytest.approx(-300, abs=15)


def test_curves_are_divided_where_the_lag_changes_and_nowhere_else():
    rng = np.random.default_rng(4)
    at = np.arange(-MOST, MOST + 1) * STEP

    def curves(lags):
        peaks = [3 * np.exp(-0.5 * ((at - lag) / 0.05) ** 2) for lag in lags]
        return np.stack(peaks) + rng.normal(0, 1, (len(lags), len(at)))

    times = np.arange(120) * 0.5
    (whole,) = stretches(times, curves(np.full(120, 0.1)), CALIBRATION)
    assert whole.reading.lag == pytest.approx(0.1, abs=0.02)
    assert whole.slope == 0
    before, after = stretches(times, curves([0.0] * 50 + [0.4] * 70), CALIBRATION)
    assert before.last == pytest.approx(50, abs=2)
    assert after.reading.lag - before.reading.lag == pytest.approx(0.4, abs=0.03)
    assert after.since == pytest.approx(25, abs=0.5)
    (drift,) = stretches(times, curves(times * 0.005), CALIBRATION)
    assert drift.slope == pytest.approx(0.005, abs=0.0006)


def test_faint_changes_count_where_all_is_clear_and_strong_ones_where_nothing_is():
    """A larger gain over one lag in noise alone than of a small step of a clear peak."""
    rng = np.random.default_rng(11)
    at = np.arange(-MOST, MOST + 1) * STEP
    times = np.arange(60) * 0.5
    strict = Calibration(sharpness=0.05, half_sure=4.0, surer=2.0, change=40.0)

    def gain(curves):
        return strict.sharpness * gain_of_change(times, curves)

    lags = np.where(times < 15, 0.0, 0.12)[:, None]
    clear = 9 * np.exp(-0.5 * ((at - lags) / 0.05) ** 2) + rng.normal(0, 1, (60, len(at)))
    noise = rng.normal(0, 30, (60, len(at)))
    assert 8 < gain(clear) < gain(noise) < strict.change
    assert len(stretches(times, clear, strict)) == 2
    assert len(stretches(times, noise, strict)) == 1


def test_a_reading_is_surer_where_the_peak_is_higher():
    rng = np.random.default_rng(7)
    at = np.arange(-MOST, MOST + 1) * STEP
    noise = rng.normal(0, 1, len(at))
    said = [
        reading(noise + height * np.exp(-0.5 * ((at - 0.3) / 0.05) ** 2), CALIBRATION)
        for height in (4, 8, 16)
    ]
    assert [one.confidence for one in said] == sorted(one.confidence for one in said)
    assert said[-1].high - said[-1].low < said[0].high - said[0].low


def test_a_real_face_without_speech_is_abstained_on(tmp_path, monkeypatch):
    """The whole way from a file: the man in the car is found and followed; the sound is music."""
    monkeypatch.undo()  # the trained net
    frames = []
    with av.open(str(media.speaker())) as container:
        for frame in container.decode(video=0):
            grown = frame.reformat(352, 288, "rgb24")
            frames.append(grown.to_ndarray())
    path = tmp_path / "man.mkv"
    media.write(path, frames[:100], media.programme(len(frames[:100]) / 25, 1, seed=3))
    result = vidette.inspect(path, only=["sync"])
    assert not result.defects
    assert result.av_sync.state == "abstained"
    assert result.av_sync.reason == "unclear"
    assert result.av_sync.track, "his mouth was followed"
    again = type(result).model_validate_json(result.model_dump_json(by_alias=True))
    assert again.av_sync == result.av_sync
