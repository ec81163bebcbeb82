"""Decoding by the GPU: whether this process can, and what it is asked with.

Frames of NVDEC stay on the GPU, where pipeline/measure/device.py measures them. Where a GPU, a
codec or a profile cannot, FFmpeg's software decoders do the work, and the result says so and why.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from functools import cache
from typing import Literal

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.codec.hwaccel import HWAccel

from pipeline.types import VideoTrack

Device = Literal["cpu", "cuda"]
LEFT_THERE = ("nv12", "p010le", "p016le")  # formats of which PyAV hands over planes on a GPU
# FFmpeg joins the context that torch has made current. With one of its own, or with the primary
# one and other flags than torch's, it fails, or frames are read before they are there.
_SHARED = {"primary_ctx": "0", "current_ctx": "1"}
_WIDTH, _HEIGHT, _FRAMES = 320, 192, 12  # of the clip of the self-test; NVDEC takes none below 144
_testing = threading.Lock()


def accelerator(device: Device) -> tuple[HWAccel | None, str]:
    """What to open a container with.

    Args:
        device: where frames are to be decoded and measured.

    Returns:
        A new accelerator for `av.open`, or None, and why it is none where one was asked for.
    """
    if device == "cpu":
        return None, ""
    with _testing:  # one test for all threads
        reason = _obstacle()
    return (None, reason) if reason else (_nvdec(), "")


def _nvdec() -> HWAccel:
    import torch  # noqa: PLC0415 - takes seconds, and the CPU needs none of it

    torch.cuda.current_stream().query()  # makes torch's context that of this thread
    return HWAccel("cuda", options=dict(_SHARED), is_hw_owned=True, allow_software_fallback=True)


@cache
def _obstacle() -> str:
    """Why the GPU cannot decode, "" where it can: tried once on a small clip."""
    import torch  # noqa: PLC0415 - as above

    if not torch.cuda.is_available():
        return "torch finds no NVIDIA GPU in this process"
    try:
        there = list(_pictures(_nvdec()))
    # PyAV raises NotImplementedError where its decoder has no CUDA, and for planes it cannot share
    except (av.error.FFmpegError, OSError, NotImplementedError, RuntimeError) as error:
        return f"NVDEC cannot be opened: {error}"
    if not there:
        return "NVDEC does not decode H.264 here"
    here = list(_pictures(None))
    if len(here) != len(there) or any(
        not np.array_equal(one, other) for one, other in zip(here, there, strict=True)
    ):
        return "NVDEC gives other pictures than the software decoder (self-test)"
    return ""


def _pictures(hwaccel: HWAccel | None) -> Iterator[npt.NDArray[np.uint8]]:
    """The luma of the clip, [H, W] each, read as DeviceMeter reads it; none if not as asked for."""
    from pipeline.measure.device import samples_on_device  # noqa: PLC0415 - imports torch

    with av.open(io.BytesIO(_clip()), "r", hwaccel=hwaccel) as container:
        for frame in container.decode(video=0):
            if (frame.sw_format is None) != (hwaccel is None):
                return
            yield samples_on_device(frame.planes[0]).cpu().numpy()


@cache
def _clip() -> bytes:
    """A few moving frames, H.264 in MPEG-TS."""
    file = io.BytesIO()
    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH]
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for n in range(_FRAMES):
            values = ((rows * 3 + columns * 2 + n * 7) % 200 + 20).astype(np.uint8)
            picture = np.repeat(values[..., None], 3, axis=2)
            picture[n * 4 : n * 4 + 40, 60:120, 0] = 200
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def note_fallback(track: VideoTrack, obstacle: str) -> None:
    """Say in a track's facts why it was decoded in software, where it was.

    Args:
        track: after its first frame.
        obstacle: what `accelerator` said.
    """
    if track.examined and track.decoder == "software":
        stored = track.pixel_format or "unknown pixels"
        track.no_hardware = obstacle or f"NVDEC does not take this stream ({track.codec}, {stored})"


def stored_format(frame: av.VideoFrame) -> av.VideoFormat:
    """The format of a frame's samples, wherever they lie."""
    return frame.sw_format or frame.format
