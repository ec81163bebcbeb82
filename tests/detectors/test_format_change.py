"""Changes of format in mid-stream."""

from __future__ import annotations

import pytest

from tests import media
from tests.damage import join
from tests.findings import assert_interval, examine, only_one

NAME = "format_change"


def part(
    folder, name, *, size=(160, 90), rate=25, seconds=4.0, sample_rate=48_000, channels=1, **options
):
    """An MPEG-TS with a video and an audio stream."""
    return media.write(
        folder / f"{name}.ts",
        media.scene(seconds, *size, rate=rate, seed=3),
        media.programme(seconds, channels, rate=sample_rate),
        rate=rate,
        sample_rate=sample_rate,
        audio_codec="mp2",
        **options,
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"size": (320, 180)}, "320x180"),
        ({"sample_rate": 44_100}, "44100 Hz"),
        ({"channels": 2}, "stereo"),
        ({"rate": 50}, "50.000 frames"),
    ],
)
def test_change(tmp_path, other, said):
    path = join([part(tmp_path, "a"), part(tmp_path, "b", **other)], tmp_path / "joined.ts")
    result = examine(path, NAME)
    change = only_one(result, "format_change")
    assert_interval(change, 4.0, 4.0, within=0.15)
    assert said in change.summary
    assert result.asset.duration == pytest.approx(8.0, abs=0.3)


def test_another_frame_rate_a_second_after_the_start(tmp_path):
    first = part(tmp_path, "a", seconds=1.2)
    path = join([first, part(tmp_path, "b", rate=50)], tmp_path / "joined.ts")
    change = only_one(examine(path, NAME), "format_change")
    assert_interval(change, 1.2, 1.2, within=0.15)


def test_pixel_aspect(tmp_path):
    wide = {"preset": "ultrafast", "x264-params": "sar=16/11"}
    path = join(
        [part(tmp_path, "a", video_options={"preset": "ultrafast", "x264-params": "sar=12/11"}),
         part(tmp_path, "b", video_options=wide)],
        tmp_path / "joined.ts",
    )  # fmt: skip
    change = only_one(examine(path, NAME), "format_change")
    assert_interval(change, 4.0, 4.0, within=0.15)
    assert "16/11" in change.summary


def test_all_detectors_survive_a_change(tmp_path):
    from pipeline.inspect import inspect

    path = join(
        [
            part(tmp_path, "a", seconds=2.0),
            part(tmp_path, "b", size=(90, 50), channels=2, seconds=2.0),
        ],
        tmp_path / "joined.ts",
    )
    assert inspect(str(path)).coverage.state == "complete"


# -------------------------------------------------------------------------------- hard negatives


def test_same_format_joined(tmp_path):
    path = join([part(tmp_path, "a"), part(tmp_path, "b")], tmp_path / "joined.ts")
    assert examine(path, NAME).defects == []


def test_variable_rate_and_bunny(tmp_path):
    frames = media.scene(5.0, 160, 90)
    steps = [1 / 25] * 62 + [2 / 25, 1 / 25] * 31
    times = [sum(steps[:n]) for n in range(len(frames))]
    path = media.write(tmp_path / "vfr.mkv", frames, times=times)
    assert examine(path, NAME).defects == []
    assert examine(media.bunny(), NAME).defects == []
