"""Decoding: the presentation clock, samples, and what is said about damage."""

from __future__ import annotations

import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
import pytest

from faults.packets import tracks, write
from pipeline import facts
from pipeline.clock import WRAP, Cadence, Clock
from pipeline.decode import DecodedFrame, DecodedSound, Decoder
from pipeline.inspect import inspect
from pipeline.measurements import FrameFlag, Note
from pipeline.samples import Samples
from pipeline.segment import Segmenter
from pipeline.settings import load
from pipeline.source import Limits, open_source
from tests import media


@pytest.fixture(scope="module")
def small():
    return media.scene(3.0, 160, 90), media.programme(3.0, 2)


def decode(path):
    """Frames, sounds and notes of an asset, and its facts."""
    with open_source(str(path), Limits()) as container:
        decoder = Decoder(container)
        items = list(decoder)
        asset = decoder.asset()
    frames = [item for item in items if isinstance(item, DecodedFrame)]
    sounds = [item for item in items if isinstance(item, DecodedSound)]
    notes = [item for item in items if isinstance(item, Note) and item.what != "end"]
    assert isinstance(items[-1], Note)
    assert items[-1].what == "end"
    return frames, sounds, notes, asset


def assert_clean(path, seconds=3.0, rate=25):
    frames, sounds, notes, _ = decode(path)
    assert notes == []
    times = [frame.time for frame in frames]
    assert times == sorted(set(times))
    if frames:
        assert len(frames) == round(seconds * rate)
        assert times[0] == pytest.approx(0, abs=0.1)
        assert times[-1] + frames[-1].duration == pytest.approx(seconds, abs=0.1)
    if sounds:
        length = sum(sound.samples.shape[1] for sound in sounds) / sounds[0].rate
        assert length == pytest.approx(seconds, abs=0.1)
        assert sounds[0].time == pytest.approx(0, abs=0.1)
        ends = [sound.time + sound.samples.shape[1] / sound.rate for sound in sounds]
        steps = np.array([s.time for s in sounds[1:]]) - ends[:-1]
        assert np.abs(steps).max() < 0.002
        assert all(sound.samples.dtype == np.float32 for sound in sounds)


@pytest.mark.parametrize(
    ("name", "video", "pixels", "audio"),
    [
        ("h264.mp4", "libx264", "yuv420p", "aac"),
        ("h264_10.mkv", "libx264", "yuv420p10le", "flac"),
        ("hevc.mov", "libx265", "yuv420p", "aac"),
        ("hevc_10.ts", "libx265", "yuv420p10le", "aac"),
        ("h264.ts", "libx264", "yuv420p", "mp2"),
        ("vp9.webm", "libvpx-vp9", "yuv420p", "libopus"),
        ("av1.mkv", "libsvtav1", "yuv420p", "libopus"),
        ("mpeg2.mxf", "mpeg2video", "yuv422p", "pcm_s16le"),
        ("mpeg2.mpg", "mpeg2video", "yuv420p", "mp2"),
        ("prores.mov", "prores_ks", "yuv422p10le", "pcm_s24le"),
        ("h264.flv", "libx264", "yuv420p", "libmp3lame"),
        ("mjpeg.avi", "mjpeg", "yuvj420p", "pcm_s16le"),
    ],
)
def test_formats(tmp_path, small, name, video, pixels, audio):
    options = {
        "libx264": {"preset": "ultrafast", "bf": "2"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
        "libsvtav1": {"preset": "12"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    }
    mpeg = {"mpeg2.mxf": {"b": "5M"}}.get(name, {})
    frames = media.scene(3.0, 720, 576, cuts=0) if name.endswith("mxf") else small[0]
    path = media.write(
        tmp_path / name,
        frames,
        small[1],
        video_codec=video,
        pixel_format=pixels,
        video_options=options.get(video, mpeg),
        audio_codec=audio,
    )
    assert_clean(path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.wav", "pcm_f32le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.m4a", "aac"),
     ("a.ogg", "libopus"), ("a.aiff", "pcm_s16be")],
)  # fmt: skip
def test_sound_alone(tmp_path, small, name, codec):
    assert_clean(media.write(tmp_path / name, sound=small[1], audio_codec=codec))


def test_bunny_is_clean():
    frames, sounds, notes, asset = decode(media.bunny())
    assert notes == []
    assert len(frames) == 132
    assert {sound.samples.shape[0] for sound in sounds} == {6}
    assert asset.video[0].field_order == "progressive"


def test_interlaced_and_range_and_rotation(tmp_path):
    path = tmp_path / "fields.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "flags": "+ildct+ilme"}
        )
        stream.height, stream.width = 96, 160
        stream.codec_context.color_range = 2
        stream.codec_context.color_trc = 16
        stream.codec_context.color_primaries = 9
        stream.set_display_rotation(90)
        for picture in media.scene(0.4, 160, 96):
            frame = av.VideoFrame.from_ndarray(picture)
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    frames, _, _, asset = decode(path)
    track = asset.video[0]
    assert track.color_range == "full"
    assert (track.color_transfer, track.color_primaries) == ("smpte2084", "bt2020")
    assert abs(track.rotation) == 90
    assert len(frames) == 10


def test_last_frame_has_a_duration(tmp_path, small):
    times = [*(n / 25 for n in range(20)), 2.0, 5.0]
    path = media.write(tmp_path / "vfr.mkv", small[0][:22], times=times)
    frames, _, notes, _ = decode(path)
    assert notes == []
    assert [f.time for f in frames] == pytest.approx(times, abs=2e-3)
    assert all(f.duration > 0 for f in frames)


def test_avi_with_b_frames_is_in_order(tmp_path, small):
    options = {"preset": "veryfast", "bf": "3", "g": "30"}
    path = media.write(tmp_path / "b.avi", small[0], video_options=options)
    frames, _, notes, _ = decode(path)
    assert notes == []
    assert np.diff([f.time for f in frames]) == pytest.approx(0.04, abs=1e-3)


def test_starts_late_and_has_priming(tmp_path, small):
    """A clock that starts at 30 hours; AAC priming and B-frames must not show."""
    path = tmp_path / "late.ts"
    media.write(
        path, *small, video_options={"preset": "ultrafast", "bf": "3"},
        container_options={"output_ts_offset": "20000"},
    )  # fmt: skip
    assert_clean(path)
    assert decode(path)[3].start_time == pytest.approx(20_000, abs=3)


def test_threads_end_when_left_early(small, tmp_path):
    """Leaving an iteration over damaged video in the middle neither hangs nor crashes."""
    path = media.write(tmp_path / "a.ts", small[0])
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    hit = np.random.default_rng(1).random(data.size) < 0.001
    data[hit] ^= 0x5A
    path.write_bytes(data.tobytes())

    def partly():
        for stop in range(1, 8):
            with open_source(str(path), Limits()) as container:
                items = iter(Decoder(container))
                for _ in range(stop * 4):
                    next(items, None)
                items.close()

    worker = threading.Thread(target=partly, daemon=True)
    worker.start()
    worker.join(30)
    assert not worker.is_alive()


# ------------------------------------------------------------------------------------------ samples


@pytest.mark.parametrize("form", ["u8", "s16", "s32", "flt", "dbl", "u8p", "s16p", "s32p", "fltp"])
def test_sample_formats(form):
    wave = np.linspace(-0.9, 0.9, 960, dtype=np.float32)
    both = np.stack([wave, -wave])
    source = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
    source.sample_rate = 48_000
    converted = av.AudioResampler(form, "stereo", 48_000).resample(source)[0]
    assert Samples().of(converted) == pytest.approx(both, abs=0.01 if "u8" in form else 1e-4)


@pytest.mark.parametrize("layout", ["7.1", "hexadecagonal"])
def test_eight_channels_and_more(tmp_path, layout):
    """PyAV's own conversion reads foreign memory from eight planar channels on, and crashes."""
    count = {"7.1": 8, "hexadecagonal": 16}[layout]
    wave = np.sin(np.arange(4800)[None] * np.arange(1, count + 1)[:, None] * 0.01)
    packed = np.ascontiguousarray(wave.T.reshape(1, -1).astype(np.float32))
    packed = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    packed.sample_rate = 48_000
    (frame,) = av.AudioResampler("fltp", layout, 48_000).resample(packed)
    assert Samples().of(frame) == pytest.approx(wave, abs=1e-5)
    if count == 8:
        path = tmp_path / "a.m4a"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=48_000, layout=layout)
            frame.pts, frame.time_base = 0, Fraction(1, 48_000)
            for part in (frame, None):
                container.mux(stream.encode(part))
        assert {sound.samples.shape[0] for sound in decode(path)[1]} == {8}


def test_wild_floats_are_bounded():
    wave = np.array([[0.5, np.nan, np.inf, -np.inf, 1e30, -0.5]], np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = 8000
    assert Samples().of(frame)[0].tolist() == [0.5, 0.0, 100.0, -100.0, 100.0, -0.5]


# -------------------------------------------------------------------------------------------- clock


def test_clock_unwraps_33_bits():
    clock = Clock(0.0, frozenset({0, 1}))
    start = WRAP - 1.0
    clock = Clock(start, frozenset({0, 1}))
    for n in range(100):
        raw = (start + n * 0.04) % WRAP
        placed = clock.picture(0, raw, 0.04)
        assert placed.notes == []
        assert placed.time == pytest.approx(n * 0.04, abs=1e-6)
        assert clock.raw(placed.time) == pytest.approx(raw, abs=1e-6)
        sound = clock.sound(1, raw, 0.04)
        assert sound.notes == []
        assert sound.time == pytest.approx(n * 0.04, abs=1e-3)


@pytest.mark.parametrize("step", [3600.0, -5.0, -3600.0])
def test_clock_moves_all_streams_together(step):
    """Picture reaches the new clock first; sound is 0.3 s behind it in the file."""
    clock = Clock(0.0)
    notes = []
    items = [(n * 0.04, 0) for n in range(200)] + [(n * 0.04 + 0.3, 1) for n in range(200)]
    for when, stream in sorted(items):
        time = when if stream == 0 else when - 0.3
        raw = time + (step if time >= 4.0 - 1e-9 else 0.0)
        place = clock.picture if stream == 0 else clock.sound
        placed = place(stream, raw, 0.04)
        notes += placed.notes
        assert placed.time == pytest.approx(time, abs=2e-3)
    assert [note.what for note in notes] == ["jump"]
    assert clock.raw(7.0) == pytest.approx(7.0 + step, abs=0.05)
    assert notes[0].value == pytest.approx(step, abs=0.05)
    assert notes[0].time == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("step", [3600.0, 5.0, -5.0])
def test_clock_goes_on_over_what_is_announced(step):
    """Forward by a few seconds as well: nothing is missing there."""
    clock = Clock(0.0, announced=lambda raw: abs(raw - 4.0 - step) < 2.0)
    notes = []
    items = [(n * 0.04, 0) for n in range(200)] + [(n * 0.04 + 0.3, 1) for n in range(200)]
    for when, stream in sorted(items):
        time = when if stream == 0 else when - 0.3
        raw = time + (step if time >= 4.0 - 1e-9 else 0.0)
        place = clock.picture if stream == 0 else clock.sound
        placed = place(stream, raw, 0.04)
        notes += placed.notes
        assert placed.time == pytest.approx(time, abs=2e-3)
    assert notes == []


def test_clock_ignores_an_absurd_start():
    clock = Clock(0.0)
    assert clock.picture(0, 90_000.0, 0.04).time == pytest.approx(0.0)
    assert clock.picture(0, 90_000.04, 0.04).time == pytest.approx(0.04)


def test_clock_without_timestamps():
    clock = Clock(5.0)
    times = [clock.picture(0, None, 0.04).time for _ in range(5)]
    assert times == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])


def test_clock_follows_slow_drift_of_sound_without_notes():
    clock = Clock(0.0)
    notes = []
    for n in range(20_000):
        notes += clock.sound(0, n * 0.0213 * 1.0001, 0.0213).notes
    assert notes == []
    assert clock.reach == pytest.approx(20_000 * 0.0213 * 1.0001, abs=0.05)


def gaps(times, tick=1 / 90_000):
    cadence = Cadence(0, tick)
    found = [note for time in times for note in cadence.add(time)]
    return [note for note in (*found, *cadence.finish()) if note.what == "gap"]


def test_cadence_finds_a_missing_frame():
    times = [n / 25 for n in range(100) if n != 50]
    (gap,) = gaps(times)
    assert (gap.time, gap.value) == (pytest.approx(2.0), pytest.approx(0.04))
    rounded = [round(time, 3) for time in (n / 29.97 for n in range(100) if n not in (60, 61))]
    (gap,) = gaps(rounded, tick=1e-3)
    assert gap.value == pytest.approx(2 / 29.97, abs=2e-3)


@pytest.mark.parametrize("kind", ["screen", "phone", "telecine", "slower", "twos"])
def test_cadence_leaves_variable_rates_alone(kind):
    rng = np.random.default_rng(5)
    steps = {
        "screen": rng.choice([1, 2, 3, 8, 30], 400, p=[0.4, 0.2, 0.2, 0.1, 0.1]) / 60,
        "phone": (1 + (rng.random(400) < 0.02)) / 30 + rng.normal(0, 0.002, 400),
        "telecine": np.tile([2, 3], 200) / 59.94,
        "slower": np.r_[np.full(200, 1 / 30), np.full(200, 1 / 15)],
        "twos": np.r_[np.full(60, 1 / 24), np.full(60, 2 / 24), np.full(60, 1 / 24)],
    }[kind]
    assert gaps(np.cumsum(steps)) == []


# ------------------------------------------------------------------------------------ segments


def test_segments_do_not_depend_on_frame_durations(tmp_path, small):
    """Variable frame rate is one format: detectors are not made anew for each frame."""
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.1], 75)).tolist()
    path = media.write(tmp_path / "vfr.mkv", small[0], small[1], times=times)
    with open_source(str(path), Limits()) as container:
        segments = list(Segmenter().run(Decoder(container)))
    assert len({s.picture.format for s in segments if s.picture}) == 1
    assert sum(len(s.picture.frames) for s in segments if s.picture) == 75
    assert all(s.end - s.start < 2.0 for s in segments)


def damaged_hevc(path: Path, frames, seed: int) -> Path:
    """Bits flipped in packets whose decoder tells of it in its log alone."""
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    media.write(path, frames, video_codec="libx265", video_options=options)
    data = bytearray(path.read_bytes())
    chance = np.random.default_rng(seed)
    for at in chance.integers(len(data) // 3, len(data), 60):
        if at % 188 > 20:  # the head of a transport packet stays
            data[at] ^= 0x55
    path.write_bytes(data)
    return path


def logged(path: Path) -> list[tuple[int, float]]:
    with open_source(str(path), Limits()) as container:
        return [
            (round(item.time * 1000), item.value)
            for item in Decoder(container, threads=1)
            if isinstance(item, Note) and item.reason == "log"
        ]


def test_each_stream_of_a_process_has_its_own_errors(tmp_path, small):
    """What only FFmpeg's log says is known although others decode at the same time."""
    paths = [damaged_hevc(tmp_path / f"{n}.ts", small[0], n) for n in (1, 2, 5)]
    clean = media.write(tmp_path / "clean.ts", small[0], small[1])
    alone = [logged(path) for path in (*paths, clean)]
    assert all(alone[:3])
    assert not alone[3]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(logged, [*paths, clean] * 4))
    assert together == alone * 4
    # in one thread, by turns
    with ExitStack() as stack:
        decoders = [
            iter(Decoder(stack.enter_context(open_source(str(path), Limits())), threads=1))
            for path in (paths[0], clean)
        ]
        found = [0.0, 0.0]
        for items in zip_longest(*decoders):
            for n, item in enumerate(items):
                if isinstance(item, Note) and item.reason == "log":
                    found[n] += item.value
    assert found == [sum(value for _, value in alone[0]), 0.0]


def test_what_threads_of_the_picture_log_is_not_of_the_sound(tmp_path, small):
    """They log while frames are measured, and packets of sound lie between those of the picture."""
    whole = tmp_path / "whole.ts"
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    media.write(whole, small[0] * 3, media.programme(9.0, 2), video_codec="libx265",
                video_options=options)  # fmt: skip
    chance = np.random.default_rng(1)
    changed = []
    for track in tracks(whole):
        units = list(track.units)
        for n in range(10, len(units), 3) if track.kind == "video" else ():
            data = bytearray(units[n].data)
            for at in chance.integers(len(data) // 2, len(data), 3):
                data[at] ^= 0x55
            units[n] = replace(units[n], data=bytes(data))
        changed.append(track.having(units))
    path = tmp_path / "damaged.ts"
    write(path, changed)
    with open_source(str(path), Limits()) as container:
        decoder = Decoder(container, threads=4)
        (video,) = decoder.asset().video
        found = set()
        for item in decoder:
            time.sleep(0.001)  # as measuring takes
            if isinstance(item, Note) and item.what == "decode_error":
                found.add(item.stream)
    assert found == {video.stream}


def test_nothing_of_it_is_printed(tmp_path, small, capfd):
    path = damaged_hevc(tmp_path / "a.ts", small[0], 1)
    assert logged(path)
    captured = capfd.readouterr()
    assert not captured.out + captured.err


@pytest.mark.parametrize("lead", [0.0, 0.6, 3.0])
def test_segments_have_their_length_where_picture_leads(small, lead):
    """As encoder buffers make it in broadcast streams."""
    frame = av.VideoFrame.from_ndarray(small[0][0], format="rgb24").reformat(format="yuv420p")
    items = []
    for n in range(250):
        picture = DecodedFrame(0, n * 0.04, 0.04, 25.0, FrameFlag(0), frame)
        samples = np.zeros((1, 1920), np.float32)
        sound = DecodedSound(1, n * 0.04, 48_000, "mono", samples)
        items += [(n * 0.04, picture), (n * 0.04 + lead, sound)]
    ordered = [item for _, item in sorted(items, key=lambda pair: pair[0])]
    segments = list(Segmenter(length=0.5).run(ordered))
    assert len(segments) <= 21 + lead / 0.5
    assert sum(len(s.picture.frames) for s in segments if s.picture) == 250


def test_streams_that_begin_later_cost_nothing_that_was_found(tmp_path, small):
    """Another multiplexer's programme between two parts of one, with other PIDs."""
    own = media.write(tmp_path / "a.ts", small[0], small[1])
    other = tmp_path / "b.ts"
    with (
        av.open(str(own)) as old,
        av.open(str(other), "w", format="mpegts", options={"mpegts_start_pid": "500"}) as new,
    ):
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    joined = tmp_path / "joined.ts"
    # what is looked at before it is opened must not reach the other programme
    joined.write_bytes(own.read_bytes() * 20 + other.read_bytes() + own.read_bytes())
    found = inspect(str(joined), load(only=("black",)))
    assert found.coverage.state != "none"
    assert found.asset.video[0].frames > 20 * len(small[0]) * 0.9


def test_rates_that_no_sound_has_are_refused(tmp_path):
    samples = np.zeros(4000, np.int16)
    path = tmp_path / "absurd.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 2_000_000_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    found = inspect(str(path), load())
    assert [problem.reason for problem in found.coverage.problems] == ["unusual_rate"]
    assert found.coverage.state == "none"


def test_like_errors_become_one_note():
    notes = [Note("decode_error", n * 0.001, 0, "x", 1, "log") for n in range(50)]
    (segment,) = Segmenter().run(iter(notes))
    assert [note.value for note in segment.notes] == [50]


def test_nominal_rate_is_credible(tmp_path, small):
    path = media.write(tmp_path / "one.mp4", small[0][:1])
    with open_source(str(path), Limits()) as container:
        rate = facts.nominal_rate(container.streams.video[0])
    assert rate is None or 0.05 <= rate <= 1000
