"""Illegal levels: a full-range picture passed on as limited range, and what R 103 tolerates."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import bunny, scene, write


def planes(frames: list[np.ndarray], change=None, *, full: bool = False) -> list[av.VideoFrame]:
    """YUV frames with their luma changed by `change(luma, n)`, as a wrong chain would."""
    made = []
    for n, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        array = frame.to_ndarray()
        high = picture.shape[0]
        if change is not None:
            array[:high] = np.clip(change(array[:high].astype(float), n), 0, 255).round()
        made.append(av.VideoFrame.from_ndarray(array, "yuvj420p" if full else "yuv420p"))
    return made


def encode(path: Path, frames: list[av.VideoFrame], *, full: bool = False) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "crf": "18"}
        )
        video.width, video.height = frames[0].width, frames[0].height
        video.pix_fmt = "yuvj420p" if full else "yuv420p"
        for n, frame in enumerate(frames):
            frame.pts = n
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def stretch(luma: np.ndarray) -> np.ndarray:
    """Limited to full range: black 0, white 255; the stream goes on to say limited."""
    return (luma - 16) * 255 / 219


def contrasty(seconds: float = 6.0) -> list[np.ndarray]:
    """A scene that uses the whole range: deep shadows and a bright sky."""
    frames = scene(seconds, 480, 272)
    return [np.clip((f.astype(float) - 110) * 3.5 + 128, 0, 255).astype(np.uint8) for f in frames]


def test_a_stretch_in_the_wrong_range(tmp_path: Path) -> None:
    frames = planes(contrasty(), lambda y, n: stretch(y) if 50 <= n < 100 else y)
    result = examine(encode(tmp_path / "a.mp4", frames), "illegal_levels")
    defect = only_one(result, "illegal_levels")
    assert_interval(defect, 2.0, 4.0)
    assert defect.evidence["share_of_picture"] > 0.01
    assert defect.confidence > 0.6


def test_severity_follows_the_share(tmp_path: Path) -> None:
    severities = []
    for gain in (1.0, 1.25, 1.6):
        frames = planes(contrasty(2), lambda y, _, gain=gain: (stretch(y) - 128) * gain + 128)
        result = examine(encode(tmp_path / "a.mp4", frames), "illegal_levels")
        severities.append(only_one(result, "illegal_levels").severity)
    assert severities == sorted(severities)
    assert severities[0] < severities[-1]


@pytest.mark.parametrize("what", ["legal", "highlights", "ringing", "full range"])
def test_negatives(tmp_path: Path, what: str) -> None:
    def highlight(luma: np.ndarray, n: int) -> np.ndarray:
        luma[10:24, 30 + n : 90 + n] = 254  # 0.6 % of the picture
        return luma

    def ringing(luma: np.ndarray, _: int) -> np.ndarray:
        luma[:, 100:102], luma[:, 102:104] = 2, 250  # one edge, over- and undershoot
        return luma

    change = {"highlights": highlight, "ringing": ringing}.get(what)
    if what == "full range":
        frames = planes(contrasty(3), lambda y, _: stretch(y), full=True)
    else:
        frames = planes(contrasty(3), change)
    path = encode(tmp_path / "a.mp4", frames, full=what == "full range")
    assert not of_kind(examine(path, "illegal_levels"), "illegal_levels")


def test_clean(tmp_path: Path) -> None:
    assert not examine(write(tmp_path / "a.mp4", scene(4)), "illegal_levels").defects
    assert not examine(bunny(), "illegal_levels").defects
