"""The report without a browser: evidence taken from real files, words, escaping, limits."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline import words
from pipeline.detectors import DETECTORS
from pipeline.inspect import inspect
from pipeline.report import EvidenceOptions, pictures, render, sounds, write_report
from pipeline.report import evidence as evidence_of
from pipeline.report.pictures import Deadline, EvidenceError, frames_at
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

BOX = (640, 480)
VIDEO = VideoTrack(stream=0, codec="h264", width=64, height=48)
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The damaged clip and what is true about it."""
    path = report_media.damaged(tmp_path_factory.mktemp("report") / "damaged.mp4")
    return path, report_media.truth(path)


def numbered(path, count=100, rate=25, **options):
    """A clip whose frame n is grey n + 60, so that a frame tells its number."""
    frames = [np.full((48, 64, 3), 60 + n, np.uint8) for n in range(count)]
    options.setdefault(
        "video_options",
        {"preset": "ultrafast", "crf": "1", "g": "60", "bf": "2", "b_strategy": "0"},
    )
    return media.write(path, frames, rate=rate, **options)


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


# ------------------------------------------------------------------------------- the whole report


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


# ------------------------------------------------------------------------------------- states


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


# ------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov", "avi"])
def test_pictures_are_those_on_screen_at_the_time(tmp_path, suffix):
    options = {"bf": "0"} if suffix == "avi" else {"bf": "2", "b_strategy": "0"}
    path = numbered(
        tmp_path / f"n.{suffix}",
        video_options={"preset": "ultrafast", "crf": "1", "g": "60"} | options,
    )
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        times = [0.0, 0.9999, 1.02, 2.41, 3.96]
        for wanted in ([times[3]], times, [times[0]], [times[4]]):
            found = frames_at(container, 0, wanted, origin, BOX, Deadline.after(20))
            numbers = [round(float(picture.rgb.mean())) - 60 for picture in found]
            assert numbers == pytest.approx([int(t * 25 + 0.05) for t in wanted], abs=1)
            assert [p.time for p in found] == pytest.approx(
                [int(t * 25 + 0.05) / 25 for t in wanted]
            )


def test_pictures_of_a_raw_stream_that_cannot_be_sought(tmp_path):
    path = numbered(tmp_path / "n.h264", count=40, container_options={})
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        try:
            found = frames_at(container, 0, [0.5], origin, BOX, Deadline.after(20))
        except EvidenceError:
            return
        assert found == [None] or found[0].rgb.shape == (48, 64, 3)


def test_pictures_after_damage_are_still_found(tmp_path):
    path = numbered(tmp_path / "n.ts", count=100)
    data = bytearray(path.read_bytes())
    for packet in range(40, 44):
        data[packet * 188 : (packet + 1) * 188] = b"\x47\x1f\xff\x10" + bytes(184)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        origin = container.start_time / av.time_base
        (found,) = frames_at(container, 0, [3.5], origin, BOX, Deadline.after(20))
    assert round(float(found.rgb.mean())) - 60 == pytest.approx(87, abs=1)


def test_pictures_are_upright_and_have_square_pixels(tmp_path):
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:24, :48] = 255  # top left
    path = media.write(tmp_path / "r.mp4", [picture] * 10)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    assert data[matrix : matrix + 36] == identity
    # as telephones write it: turn clockwise to show
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        (shown,) = frames_at(container, 0, [0.2], 0.0, BOX, Deadline.after(20))
    assert shown.rgb.shape == (96, 48, 3)
    assert shown.rgb[:40, 30:].mean() > 230  # clockwise: what was top left is top right
    assert shown.rgb[:40, :20].mean() < 25
    region = shown.region(Region(left=0, top=0, right=0.5, bottom=0.5))
    assert (region.left, region.top, region.right, region.bottom) == (0.5, 0, 1, 0.5)


def test_anamorphic_pictures_are_widened(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 72, 58, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for n in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((58, 72, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        (shown,) = frames_at(container, 0, [0.1], 0.0, BOX, Deadline.after(20))
        (small,) = frames_at(container, 0, [0.1], 0.0, (51, 480), Deadline.after(20))
    assert shown.rgb.shape == (58, 102, 3)
    assert small.rgb.shape == (29, 51, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 2), (480, 640)])
def test_pictures_of_any_size_can_be_encoded(size):
    rgb = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    assert picture_of(pictures.png(rgb)).tolist() == rgb.tolist()
    assert picture_of(pictures.jpeg(rgb)).shape == rgb.shape


# --------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("m4a", "aac"), ("mkv", "libopus"), ("ts", "aac")]
)
def test_sound_is_where_it_was(tmp_path, suffix, codec):
    rate = 48_000
    sound = np.zeros((2, 8 * rate), np.float32)
    sound[:, 5 * rate : 5 * rate + rate // 10] = 0.5 * np.sin(np.arange(rate // 10) * 0.3)
    path = media.write(tmp_path / f"s.{suffix}", sound=sound, audio_codec=codec)
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        heard = sounds.sound_at(container, 0, 4.8, 5.3, origin, Deadline.after(20))
    assert heard.names == (("1", "2") if suffix == "wav" else ("FL", "FR"))
    assert abs(heard.time - 4.8) < 1e-3
    assert abs(heard.end - 5.3) < 1e-3
    loud = np.flatnonzero(np.abs(heard.samples[0]) > 0.2)
    delay = 0.05 if codec == "aac" else 0.02  # encoder delay, where the container does not tell
    assert abs(heard.time + loud[0] / rate - 5.0) < delay
    assert abs(heard.time + loud[-1] / rate - 5.1) < delay


def test_envelope_keeps_every_peak():
    samples = np.zeros(100_003, np.float32)
    samples[77_777], samples[12] = 0.9, -0.8
    low, high = sounds.envelope(samples, 640)
    assert len(low) == len(high) == 640
    assert (low.min(), high.max()) == (np.float32(-0.8), np.float32(0.9))
    assert [len(part) for part in sounds.envelope(samples[:3], 640)] == [3, 3]


@pytest.mark.parametrize("count", [1, 2, 100, 5000])
def test_waveforms_are_drawn_from_any_number_of_samples(count):
    samples = np.full(count, np.nan, np.float32)
    samples[:: max(count // 2, 1)] = 2.0
    path = sounds.svg_path(samples, 640, 640, 64)
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    assert path.startswith("M")
    assert all(math.isfinite(number) and -1 <= number <= 640 for number in numbers)


def test_spectrogram_shows_a_tone_at_its_height():
    rate = 48_000
    t = np.arange(2 * rate) / rate
    tone = (0.1 * np.sin(2 * np.pi * 6000 * t)).astype(np.float32)[None]
    picture = sounds.spectrogram(sounds.Sound(0.0, rate, tone, ("FC",)), 24_000, (200, 96))
    assert picture.shape == (96, 200, 3)
    brightest = picture[:, 100].astype(int).sum(axis=1).argmax()
    assert 96 - brightest == pytest.approx(24, abs=1.5)  # a quarter of the way up


@pytest.mark.parametrize("count", [1, 30, 500])
def test_spectrogram_of_next_to_nothing(count):
    silence = sounds.Sound(0.0, 8000, np.zeros((1, count), np.float32), ("FC",))
    assert sounds.spectrogram(silence, 4000, (20, 10)).shape == (10, 20, 3)


# -------------------------------------------------------------------------------------- limits


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


# --------------------------------------------------------------------------------------- words


def test_every_kind_has_words():
    for kind in Kind:
        term = words.KINDS[kind]
        assert term.name
        assert term.notice.endswith(".")
        assert set(term.senses) <= {"v", "a"}
    assert len({term.name for term in words.KINDS.values()}) == len(Kind)
    assert words.term("made_up").name == "Made up"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00.000"),
        (59.9996, "0:01:00.000"),
        (3723.0456, "1:02:03.046"),
        (-0.04, "−0:00:00.040"),
        (100_000, "27:46:40.000"),
    ],
)
def test_timecode(seconds, text):
    assert words.timecode(seconds) == text


def test_severity_words():
    steps = [words.severity_word(value) for value in (0, 0.25, 0.37, 0.38, 0.75, 0.9, 1)]
    assert steps == [
        "very subtle",
        "very subtle",
        "very subtle",
        "subtle",
        "noticeable",
        "very noticeable",
        "very noticeable",
    ]


def test_figures_have_units():
    assert words.measured("level_dbfs", -26.04) == ("Level", "−26.04 dBFS")
    assert words.measured("share_of_picture", 0.175) == ("Share of picture", "17.5 %")
    assert words.measured("flashes_per_s", 5) == ("Flashes", "5 per second")
    assert words.measured("share_moving", 0.5) == ("Share moving", "50.0 %")
    assert words.measured("duration_s", 2) == ("Duration", "2 s")
    assert words.measured("frames", math.inf) == ("Frames", "∞")
    assert [words.size(n) for n in (999, 15_926_685, 12_345_678_901)] == [
        "999 bytes",
        "15.9 MB",
        "12.3 GB",
    ]
    assert [words.seconds_words(s) for s in (0.08, 2.483, 62, 4800)] == [
        "80 ms",
        "2.48 s",
        "1 min 2 s",
        "1 h 20 min",
    ]
