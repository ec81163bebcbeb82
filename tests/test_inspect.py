"""One asset from beginning to end: coverage, timelines, and what happens when a part fails."""

from __future__ import annotations

import pytest

from pipeline.detectors import DETECTORS
from pipeline.detectors.base import PictureDetector, SoundDetector
from pipeline.errors import UsageError
from pipeline.inspect import inspect
from pipeline.measurements import Observation
from pipeline.settings import load
from pipeline.types import Kind
from tests import media
from tests.findings import of_kind


@pytest.fixture(scope="module")
def black(tmp_path_factory, clean_scene, clean_programme):
    """Black from 3 to 5 s."""
    frames = list(clean_scene)
    frames[75:125] = [frames[0] * 0] * 50
    place = tmp_path_factory.mktemp("inspect") / "black.mp4"
    return media.write(place, frames, clean_programme)


def test_clean_media_give_nothing_with_every_detector_on(tmp_path, clean_scene, clean_programme):
    asset = media.write(tmp_path / "clean.mp4", clean_scene, clean_programme)
    result = inspect(str(asset))
    assert [(d.kind, d.summary) for d in result.defects] == []
    assert result.coverage.state == "complete"
    assert result.coverage.problems == []
    assert set(result.coverage.detectors) == set(DETECTORS)
    assert min(result.coverage.detectors.values()) > 0.97


def test_the_real_clip_gives_only_what_is_really_wrong_with_it():
    """Big Buck Bunny was made at 24 frames a second; this copy has 25, with one shown twice."""
    result = inspect(str(media.bunny()))
    assert [defect.kind for defect in result.defects] == ["repeated_frames"]
    assert result.defects[0].evidence["holds_per_s"] == pytest.approx(1, abs=0.1)
    assert result.coverage.state == "complete"


def test_facts_coverage_and_timelines(black):
    result = inspect(str(black))
    asset = result.asset
    assert (asset.video[0].codec, asset.video[0].width, asset.video[0].frames) == ("h264", 480, 200)
    assert (asset.audio[0].codec, asset.audio[0].channels) == ("aac", 2)
    assert asset.duration == pytest.approx(8, abs=0.05)
    assert result.coverage.examined == [(pytest.approx(0, abs=0.03), asset.duration)]
    lines = result.timelines
    assert lines.rate == 10
    luma = lines.series["luma"]
    assert len(luma) in (80, 81)
    assert all(abs(value - 16) < 1 for value in luma[32:48])
    assert min(luma[5:28]) > 40
    assert max(lines.series["peak"]) == pytest.approx(-6, abs=1.5)
    assert result.versions["vidette"]
    assert 0 < result.timings["open"] < result.timings["wall"]


def test_the_same_asset_gives_the_same_result(black):
    first, second = (inspect(str(black)) for _ in range(2))
    assert first.defects == second.defects
    assert first.timelines == second.timelines
    assert first.measurements == second.measurements


class Failing(PictureDetector):
    name = "failing"
    kinds = (Kind.FREEZE,)
    summary = "Fails in its second segment."
    calls = 0

    def update(self, picture, segment):
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("out of cheese")
        return [Observation(Kind.FREEZE, 0.0, 0.5, 0.5, 0.5, "found before the failure")]

    def finish(self):
        raise AssertionError("a detector that failed is not asked again")


class FailingAtTheEnd(SoundDetector):
    name = "failing_at_the_end"
    kinds = (Kind.HUM,)
    summary = "Fails when it is asked for what is still open."

    def update(self, sound, segment):
        return []

    def finish(self):
        raise ValueError("no more")


def test_a_detector_that_fails_costs_nothing_but_itself(black, monkeypatch, caplog):
    for detector in (Failing, FailingAtTheEnd):
        monkeypatch.setitem(DETECTORS, detector.name, detector)
    result = inspect(str(black), load(only=("black", "failing", "failing_at_the_end")))
    assert [defect.summary for defect in of_kind(result, "freeze")] == ["found before the failure"]
    assert len(of_kind(result, "black")) == 1
    assert result.coverage.state == "partial"
    assert [problem.reason for problem in result.coverage.problems] == ["detector_failed"] * 2
    assert "out of cheese" in result.coverage.problems[0].detail
    assert result.coverage.detectors["failing"] < 0.5
    assert "out of cheese" in caplog.text


def test_interrupt_keeps_what_was_found(black):
    def stop(now):
        if now.position > 6:
            raise KeyboardInterrupt

    result = inspect(str(black), load(only=("black", "av_length_mismatch")), stop)
    assert [defect.kind for defect in result.defects] == ["black"]
    assert result.coverage.state == "partial"
    assert [problem.reason for problem in result.coverage.problems] == ["interrupted"]
    assert result.coverage.examined[-1][1] < 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ("blck",)}, "no detector 'blck'"),
        ({"detectors": {"black": {"min_duration": "long"}}}, "black.min_duration"),
        ({"detectors": {"nothing": {}}}, "no detector 'nothing'"),
        ({"limits": {"read_timeout": -1}}, "read_timeout"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_wrong_settings_are_named(options, words):
    with pytest.raises(UsageError, match=words):
        load(**options)


def test_no_configuration_file(tmp_path):
    with pytest.raises(UsageError, match="no configuration file"):
        load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("detectors: [")
    with pytest.raises(UsageError):
        load(broken)
