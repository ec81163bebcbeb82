"""The page of a report without a browser: evidence, states, escaping, limits."""

from __future__ import annotations

import base64
import html
import io
import json
import re

import av
import numpy as np
import pytest

from pipeline import words
from pipeline.detectors import DETECTORS
from pipeline.inspect import inspect
from pipeline.report import EvidenceOptions, render, write_report
from pipeline.report import evidence as evidence_of
from pipeline.source import Limits
from pipeline.types import (
    Asset,
    AudioTrack,
    AvSync,
    AvSyncMoment,
    Coverage,
    Defect,
    Inspection,
    Kind,
    Problem,
    Region,
    Timelines,
    VideoTrack,
)
from tests import media, report_media

VIDEO = VideoTrack(stream=0, codec="h264", width=64, height=48)
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The damaged clip and what is true about it."""
    path = report_media.damaged(tmp_path_factory.mktemp("report") / "damaged.mp4")
    return path, report_media.truth(path)


def picture_of(uri):
    """The RGB picture in a data URI."""
    with av.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def defect(kind=Kind.FREEZE, start=1.0, end=2.0, **fields):
    fields = {"severity": 0.8, "confidence": 0.9, "stream": 0, "evidence": {}} | fields
    fields.setdefault("peak", (start + end) / 2)
    fields.setdefault("id", f"{kind}{start}")
    fields.setdefault("summary", "something was measured")
    return Defect(kind=kind, start=start, end=end, detector=f"{kind}/1", **fields)


def embedded(page):
    return re.search(r'id="inspection">(.*?)</script>', page, re.DOTALL).group(1)


# --------------------------------------------------------------------------------- the whole report


def test_every_defect_of_a_real_clip_has_its_evidence(clip):
    path, inspection = clip
    taken = evidence_of.gather(inspection, str(path), Limits(), EvidenceOptions())
    by_kind = {d.kind: (d, taken[d.id]) for d in inspection.defects}
    assert [e.notes for _, e in by_kind.values() if e.notes] == []
    for kind in (Kind.FREEZE, Kind.BLACK, Kind.GLITCH):
        found, shown = by_kind[kind]
        assert [shot.role for shot in shown.shots] == ["Just before", "Worst moment", "Just after"]
        before, worst, after = shown.shots
        assert before.time < found.start - 0.001
        assert found.start - 0.001 <= worst.time < found.end - 0.001
        assert abs(after.time - found.end) < 0.001
        assert picture_of(worst.uri).shape == (270, 480, 3)
        assert max(before.width, before.height) <= 208
    black = by_kind[Kind.BLACK][1].shots
    assert picture_of(black[1].uri).mean() < 25
    assert picture_of(black[0].uri).mean() > 80
    noisy = by_kind[Kind.NOISE][1].shots
    assert [shot.region for shot in noisy] == [report_media.NOISY]
    rough = np.abs(np.diff(picture_of(noisy[0].uri).mean(axis=2), axis=1))
    assert rough[80:180, 130:280].mean() > 2 * rough[:50].mean()  # it is the damaged frame
    for kind in (Kind.HUM, Kind.DROPOUT, Kind.CLIPPING, Kind.DEAD_CHANNEL):
        shown = by_kind[kind][1]
        assert not shown.shots
        assert [name for name, _ in shown.waves[0].channels] == ["FL", "FR"]
    assert by_kind[Kind.HUM][1].spectrum.top_hz == 500
    assert len(by_kind[Kind.CLIPPING][1].waves) == 2  # with a close-up of a few milliseconds


def test_report_is_one_offline_file_with_the_result_inside(clip, tmp_path):
    path, inspection = clip
    write_report(inspection, tmp_path / "report.html", str(path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert Inspection.model_validate_json(embedded(page)) == inspection
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for address in re.findall(r"(?:src|href|action|srcset)=[\"']?([^\"'> ]+)", own):
        assert address.startswith(("data:", "#")), address[:80]
    assert "url(" not in own
    assert "@import" not in own
    assert "default-src &#39;none&#39;" in page
    assert page.count("<article") == len(inspection.defects)
    for found in inspection.defects:
        for moment in (found.start, found.end):
            assert words.timecode(moment) in page
    assert len(page) < 6e6


@pytest.mark.parametrize("uri", [f"/films/{EVIL}.mp4", f"https://a.example/{EVIL}"])
def test_nothing_from_the_asset_becomes_markup(uri):
    evil_track = VideoTrack(stream=0, codec=EVIL, profile=EVIL, width=64, height=48, frames=1)
    inspection = Inspection(
        uri=uri,
        asset=Asset(container=EVIL, duration=5, video=[evil_track], other_streams=[EVIL]),
        coverage=Coverage(
            state="partial", examined=[(0, 5)], problems=[Problem(reason=EVIL, detail=EVIL)]
        ),
        defects=[defect(summary=EVIL, evidence={EVIL: 1.0})],
        timelines=Timelines(series={EVIL: [1.0, 2.0]}),
        settings={"freeze": {EVIL: EVIL}},
        measurements={EVIL: 1.0},
        versions={"vidette": EVIL},
    )
    page = render(inspection)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert html.escape(EVIL, quote=False) in page.replace("&#34;", '"')
    assert json.loads(embedded(page))["asset"]["container"] == EVIL
    # and were one element to slip through, the page's policy knows the hashes of its own scripts
    assert re.search(r"script-src (&#39;sha256-[\w+/=]+&#39; ?){2};", page)


def test_file_names_that_are_no_text_are_written_as_escapes(tmp_path):
    inspection = Inspection(uri="/films/a.mp4", coverage=Coverage(state="none"))
    inspection.uri = "/films/caf\udce9.mp4"
    write_report(inspection, tmp_path / "report.html")
    assert "caf\\udce9.mp4" in (tmp_path / "report.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------- states


def test_empty_state_still_shows_what_was_examined():
    page = render(
        Inspection(
            uri="clean.mp4",
            asset=Asset(duration=61.5, video=[VIDEO]),
            coverage=Coverage(state="complete", examined=[(0, 61.5)], detectors={"black": 1.0}),
        )
    )
    assert '<h1 id="verdict-title">No defects found</h1>' in page
    assert "All of 0:01:01.500 was examined by 1 detector." in page
    assert "Coverage: complete" in page


def moment(start: float, offset: float, answered: bool = True) -> AvSyncMoment:
    return AvSyncMoment(
        start=start, end=start + 5, offset_ms=offset, interval_ms=(offset - 20, offset + 20),
        confidence=0.9 if answered else 0.3, answered=answered,
        mouth=Region(left=0.4, top=0.5, right=0.6, bottom=0.7),
    )  # fmt: skip


def test_sound_and_lips_are_drawn_over_time():
    verdict = AvSync(
        state="out_of_sync", offset_ms=-240.0, interval_ms=(-260.0, -220.0), confidence=0.97,
        share_answered=0.5, track=[moment(0, -240), moment(5, -235), moment(10, 900, False)],
    )  # fmt: skip
    asset = Asset(duration=20, video=[VIDEO])
    settings = {"sync": {"early_ms": 90.0, "late_ms": 185.0}}
    page = render(Inspection(uri="x.mp4", asset=asset, av_sync=verdict, settings=settings))
    assert "Sound and lips are apart" in page
    assert "Sound is 240 ms late (95 of 100: -260 to -220 ms" in page
    assert "in 50% of the asset" in page
    assert page.count('<g class="answered">') == 2
    assert page.count('<g class="unclear">') == 1
    assert "300 ms early" in page  # what is unclear does not set the scale
    heights = [float(y) for y in re.findall(r'"/><path d="M[\d.]+ ([\d.]+)h', page)]
    heights = heights[-3:]  # before them: the mark of Vidette
    assert heights[0] == pytest.approx(75 + 75 * 240 / 300, abs=0.1)  # late is below the middle
    assert heights[2] == 0  # off the scale


def test_an_abstention_says_why():
    verdict = AvSync(state="abstained", reason="no_face")
    page = render(Inspection(uri="x.mp4", asset=Asset(duration=20, video=[VIDEO]), av_sync=verdict))
    assert "Nothing can be said about sound and lips" in page
    assert "No face is large enough" in page
    assert 'id="lips"' not in render(Inspection(uri="x.mp4", asset=Asset(duration=20)))


def test_mouths_are_shown_beside_the_offset(tmp_path):
    path = tmp_path / "x.mp4"
    media.write(path, media.scene(4.0, 320, 180), 0.1 * media.programme(4.0))
    track = [moment(0, 10).model_copy(update={"end": 2.0}), moment(2, 10).model_copy(
        update={"end": 4.0})]  # fmt: skip
    verdict = AvSync(
        state="in_sync", offset_ms=10.0, interval_ms=(-10.0, 30.0), confidence=0.9, track=track
    )
    inspection = inspect(str(path)).model_copy(update={"av_sync": verdict})
    write_report(inspection, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert page.count('alt="Mouth at') == 2


def test_failed_state_says_why_and_claims_nothing():
    problem = Problem(reason="unreadable", detail="Invalid data found")
    page = render(Inspection(uri="x.mp4", coverage=Coverage(state="none", problems=[problem])))
    assert "This asset could not be examined" in page
    assert "The asset could not be read" in page
    assert "Invalid data found" in page
    assert "No defects found" not in page


def test_partial_state_says_how_much_and_what_is_missing():
    coverage = Coverage(
        state="partial",
        examined=[(0, 30), (60, 75)],
        detectors={"black": 0.45},
        problems=[Problem(reason="read_timeout", detail="no answer for 10 s", time=75.0, stream=1)],
    )
    page = render(
        Inspection(
            uri="x.mp4", asset=Asset(declared_duration=100, video=[VIDEO]), coverage=coverage
        )
    )
    assert "No defects found, but not everything was examined" in page
    assert "0:00:45.000 of 0:01:40.000 (45 %) was examined" in page
    assert "The source stopped answering" in page
    assert "(at 0:01:15.000, stream 1)" in page
    assert "45 % of its input" in page


def test_detectors_without_input_are_not_called_blind():
    deaf = next(name for name, one in DETECTORS.items() if one.reads == "sound")
    video_only = Inspection(
        uri="x.mp4",
        asset=Asset(duration=5, video=[VIDEO]),
        coverage=Coverage(state="complete", examined=[(0, 5)], detectors={"black": 1.0, deaf: 0.0}),
    )
    assert f"for want of such a stream: {deaf.replace('_', ' ')}" in render(video_only)


# ------------------------------------------------------------------------------------------- limits


def test_asset_that_cannot_be_opened_again_costs_the_pictures_only(clip, tmp_path):
    _, inspection = clip
    write_report(inspection, tmp_path / "report.html", str(tmp_path / "gone.mp4"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("could not be opened again") == len(inspection.defects)


def test_asset_that_was_cut_since_says_so(clip, tmp_path):
    path, inspection = clip
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[:4000])
    write_report(inspection, tmp_path / "report.html", str(cut))
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<article") == 8


def test_time_is_bounded(clip):
    path, inspection = clip
    taken = evidence_of.gather(inspection, str(path), Limits(), EvidenceOptions(seconds=1e-6))
    for found in taken.values():
        assert not found.shots
        assert "time allowed" in found.notes[0]


def test_most_severe_defects_have_the_pictures(clip):
    path, inspection = clip
    options = EvidenceOptions(pictures=2, sounds=1)
    taken = evidence_of.gather(inspection, str(path), Limits(), options)
    kinds = {d.kind for d in inspection.defects if taken[d.id].shots}
    assert kinds == {Kind.GLITCH, Kind.FREEZE}
    assert {d.kind for d in inspection.defects if taken[d.id].waves} == {Kind.CLIPPING}
    black = next(d for d in inspection.defects if d.kind == Kind.BLACK)
    assert taken[black.id].notes == ["No picture: only the 2 most severe defects have one."]


def test_defect_of_a_stream_that_is_not_there(clip):
    path, inspection = clip
    odd = inspection.model_copy(
        update={
            "defects": [
                defect(Kind.BLACK, 99.0, 100.0),
                defect(Kind.AV_OFFSET, 4.0, 4.6, stream=None),
                defect(Kind.MISSING_STREAM, 0.0, 10.0, stream=7),
            ]
        }
    )
    taken = evidence_of.gather(odd, str(path), Limits(), EvidenceOptions())
    late, both, none = (taken[found.id] for found in odd.defects)
    assert late.shots or late.notes
    assert both.shots
    assert both.waves
    assert none == evidence_of.Evidence()
    assert "Missing stream" in render(odd)


def test_eight_hours_and_five_hundred_defects_stay_small():
    rng = np.random.default_rng(1)
    seconds, rate = 8 * 3600, 10
    values = {
        name: rng.normal(0, 9, seconds * rate).round(2).tolist() for name in ("luma", "level")
    }
    kinds = list(Kind)
    found = [
        defect(kinds[n % len(kinds)], s := float(rng.uniform(0, seconds - 9)), s + 0.1, id=f"i{n}")
        for n in range(500)
    ]
    page = render(
        Inspection(
            uri="long.mxf",
            asset=Asset(
                duration=seconds,
                video=[VideoTrack(stream=0, codec="mpeg2video", width=1920, height=1080)],
                audio=[AudioTrack(stream=1, codec="pcm", sample_rate=48_000, channels=8)],
            ),
            coverage=Coverage(state="complete", examined=[(0, seconds)]),
            defects=sorted(found, key=lambda d: d.start),
            timelines=Timelines(rate=rate, series=values),
        )
    )
    assert page.count("<article") == 500
    assert len(page) < 9e6


def test_no_wrong_picture_after_the_clock_jumped(clip):
    path, inspection = clip
    jump = defect(Kind.TIMESTAMP_JUMP, 5.0, 5.0, stream=None)
    jumped = inspection.model_copy(update={"defects": [*inspection.defects, jump]})
    taken = evidence_of.gather(jumped, str(path), Limits(), EvidenceOptions())
    for found in jumped.defects:
        assert ("cannot be sought" in "".join(taken[found.id].notes)) == (found.peak > 5)


def test_credentials_stay_out_of_the_report():
    uri = "https://me:secret@films.example/a.mp4?signature=token"
    page = render(Inspection(uri=uri))
    assert "secret" not in page
    assert "token" not in re.sub(r"<style.*?</style>|<script>.*?</script>", "", page, flags=re.S)
    assert "https://films.example/a.mp4" in page
