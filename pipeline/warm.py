"""Warming up: everything that an inspection loads, loaded before the first real one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import av
import numpy as np
from av import AudioStream, VideoStream

from pipeline.hardware import Device
from pipeline.inspect import inspect
from pipeline.scratch import scratch
from pipeline.settings import load

_SECONDS, _RATE, _SAMPLES = 3, 25, 48_000  # long enough that every detector judges something
_HEIGHT, _WIDTH = 180, 320  # large enough to be looked at for faces
_CODECS = (("libx264", "mpeg4"), ("aac", "pcm_s16le"))  # usual ones; always there


def warm(device: Device = "cpu") -> None:
    """Inspect a few seconds of texture and tones; seconds long where nothing is loaded yet.

    Args:
        device: on which inspections are to be done.
    """
    with scratch() as folder:
        path = folder / "warm.mkv"
        _write(path)
        inspect(str(path), load(device=device))


def _write(path: Path) -> None:
    picture, sound = (next(one for one in some if one in av.codecs_available) for some in _CODECS)
    rng = np.random.default_rng(1)
    texture = rng.integers(16, 235, (_HEIGHT // 4, _WIDTH // 4 + _SECONDS * _RATE, 3), np.uint8)
    texture = texture.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        video = cast(VideoStream, container.add_stream(picture, _RATE))
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        audio = cast(AudioStream, container.add_stream(sound, _SAMPLES, layout="stereo"))
        for n in range(_SECONDS * _RATE):  # it moves to the side
            shown = np.ascontiguousarray(texture[:, n : n + _WIDTH])
            container.mux(video.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
            container.mux(audio.encode(_tone(n, rng)))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _tone(number: int, rng: np.random.Generator) -> av.AudioFrame:
    """The sound of one picture: a tone in noise."""
    count = _SAMPLES // _RATE
    times = (np.arange(count) + number * count) / _SAMPLES
    wave = 3000 * np.sin(2 * np.pi * 440 * times)[:, None] + rng.normal(0, 300, (count, 2))
    frame = av.AudioFrame.from_ndarray(
        wave.astype(np.int16).reshape(1, -1), format="s16", layout="stereo"
    )
    frame.sample_rate = _SAMPLES
    frame.pts = number * count
    return frame
