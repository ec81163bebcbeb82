"""Glimpses: small pictures of a stream, for people who look at many of them at once."""

from __future__ import annotations

import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import av
from PIL import Image

from pipeline.decode import Decoded, DecodedFrame

WIDTH = 256  # samples
TALLEST = 456  # lines, of an upright picture
EVERY = 10.0  # seconds between those that are handed on unasked
FRESH = 0.5  # seconds of presentation between frames that are made small
_REMEMBERED = 20  # of these: an event is told of seconds after it began
_QUALITY = 70


@dataclass(frozen=True)
class Glimpse:
    """One of them.

    Attributes:
        stream: its name.
        time: of the wall clock, when the frame was decoded.
        jpeg: the picture, with square samples.
        event: the ID of the event that it shows; "" where it shows the stream as it is.
    """

    stream: str
    time: float
    jpeg: bytes
    event: str = ""


class Glimpses:
    """Looks at frames as they pass by.

    Args:
        stream: its name.
        show: is called with a glimpse now and then, in the thread that decodes.
    """

    def __init__(self, stream: str, show: Callable[[Glimpse], None]) -> None:
        self._stream, self._show = stream, show
        self._lock = threading.Lock()
        # wall clock, presentation, frame
        self._small: deque[tuple[float, float, av.VideoFrame]] = deque(maxlen=_REMEMBERED)
        self._shown = 0.0

    def passing(self, items: Iterable[Decoded], aspect: float = 1.0) -> Iterator[Decoded]:
        """Hand everything on; `aspect` is the width of a sample over its height."""
        due = -math.inf
        with self._lock:
            self._small.clear()  # presentation begins anew
        for item in items:
            if isinstance(item, DecodedFrame) and (item.time >= due or item.time < due - 2 * FRESH):
                due, now = item.time + FRESH, time.time()
                with self._lock:
                    self._small.append((now, item.time, _small(item.frame, aspect)))
                if now >= self._shown + EVERY:
                    self._shown = now
                    self.take()
            yield item

    def take(self, event: str = "", moment: float = math.inf) -> None:
        """Show what was seen at a moment of presentation, as the picture of an event."""
        with self._lock:
            if not self._small:
                return
            if math.isinf(moment):
                seen = self._small[-1]
            else:
                seen = min(self._small, key=lambda small: abs(small[1] - moment))
        self._show(Glimpse(self._stream, seen[0], _jpeg(seen[2]), event))


def _small(frame: av.VideoFrame, aspect: float) -> av.VideoFrame:
    height = max(2, round(WIDTH * frame.height / (frame.width * aspect)))
    width = WIDTH
    if height > TALLEST:
        width, height = max(2, round(WIDTH * TALLEST / height)), TALLEST
    return frame.reformat(width, height, "rgb24", interpolation="AREA")


def _jpeg(frame: av.VideoFrame) -> bytes:
    file = io.BytesIO()
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
