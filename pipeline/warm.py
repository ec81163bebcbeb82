"""Warming up: everything that an inspection loads, loaded before the first real one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np

from pipeline.inspect import inspect


def warm() -> None:
    """Inspect a second of grey and silence; seconds long where nothing is loaded yet."""
    with tempfile.TemporaryDirectory(prefix="vidette-warm-") as folder:
        path = Path(folder) / "warm.mkv"
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", 25, width=96, height=64, pix_fmt="yuv420p")
            audio = container.add_stream("pcm_s16le", 48_000, layout="stereo")
            grey = np.full((64, 96, 3), 128, np.uint8)
            for _ in range(25):
                container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            silence = np.zeros((1, 96_000), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
            frame.sample_rate = 48_000
            container.mux(audio.encode(frame))
            for stream in (video, audio):
                container.mux(stream.encode(None))
        inspect(str(path))
