"""The pieces of an asset take its decoder's place: what follows sees the frames of one decoding.

The whole asset is read once more, for its sound and for the order in which everything comes. For
each packet of picture the pieces have what a decoder made of it. The frames that a range's decoder
still held at its end come with the first packets of the next range, as they would have from one
decoder: a decoder that starts anew gives nothing for as many packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any, cast

import av
import av.container

from pipeline.clock import Clock
from pipeline.decode import Decoded, Decoder, PictureStream
from pipeline.errors import SeamError
from pipeline.ffmpeg_log import ErrorCount
from pipeline.measure.frame import MOTION, ORDER
from pipeline.measure.measured import MeasuredFrame
from pipeline.ranges.piece import Complaint, Mark, Seam, Step, Tail, mark_of
from pipeline.types import VideoTrack


class Replay:
    """Gives for each packet of picture what its decoder made of it.

    Args:
        pieces: in order; each is read as it is needed.

    Attributes:
        cpu: seconds that measuring the pieces took, of those that were read to their ends.
    """

    def __init__(self, pieces: Iterable[Iterator[Step | Tail]]) -> None:
        self.cpu = 0.0
        self._steps = chain.from_iterable(pieces)
        self._held: deque[MeasuredFrame] = deque()  # by a decoder when its range ended
        self._seam: Seam | None = None  # to the range that has begun, until its first frame comes
        self._said: deque[tuple[Mark, list[Complaint]]] = deque()  # see Seam
        self._checks: dict[int, int] = {}  # see Seam
        self._complaints: list[Complaint] = []  # of its end

    def take(self, packet: av.Packet[Any]) -> tuple[list[Complaint], list[MeasuredFrame]]:
        """What a packet made.

        Raises:
            SeamError: the pieces are not of this asset, or two of them do not fit.
        """
        step = self._next()
        if step is None or step.mark != mark_of(packet):
            raise SeamError("its ranges were read differently from the whole")
        complaints = step.complaints
        if self._said:  # by the decoder that came from before
            mark, complaints = self._said.popleft()
            if mark != step.mark:
                raise SeamError("two ranges read what is between them differently")
        if not step.frames and self._seam is not None:
            if not self._held:
                raise SeamError("the decoder gives frames later after a range began")
            return complaints, [self._held.popleft()]
        if step.frames and self._seam is not None:
            if self._held:
                raise SeamError("the decoder gives frames sooner after a range began")
            self._meet(step.frames[0])
        self._compare(step.frames)
        return complaints, step.frames

    def rest(self) -> tuple[list[Complaint], list[MeasuredFrame]]:
        """What is left at the end of the asset.

        Raises:
            SeamError: the pieces go on.
        """
        if self._next() is not None or self._seam is not None:
            raise SeamError("its ranges have more than the whole")
        complaints, frames = self._complaints, list(self._held)
        self._complaints = []
        self._held.clear()
        return complaints, frames

    def _next(self) -> Step | None:
        """The next step, of the next range where one ends; None at the end of the last."""
        for one in self._steps:
            if isinstance(one, Step):
                return one
            if self._seam is not None and one.frames:  # a range so short that all of it is held
                self._meet(one.frames[0])
            self._compare(one.frames)
            self._held.extend(one.frames)
            self._complaints += one.complaints
            self.cpu += one.cpu
            if one.seam is not None:
                if self._seam is not None:
                    raise SeamError("a range has no picture")
                self._seam = one.seam
                self._said, self._checks = deque(one.seam.said), dict(one.seam.checks)
        return None

    def _meet(self, first: MeasuredFrame) -> None:
        """The first frame of a range comes; the range before has seen it too."""
        seam, self._seam = self._seam, None
        if seam is None or first.pts != seam.pts:
            raise SeamError("a range begins with another frame than the one before it leads to")
        first.maps[[MOTION, ORDER]] = seam.compared

    def _compare(self, frames: Iterable[MeasuredFrame]) -> None:
        """See that the first pictures of a range are what the range before made of them."""
        for frame in frames:
            other = self._checks.pop(frame.pts or 0, None)
            if other is not None and other != frame.check:
                raise SeamError("a decoder that begins at a key frame makes another picture of it")


class JoinedDecoder(Decoder):
    """A decoder whose pictures come from pieces.

    Args:
        container: the whole asset.
        threads: see Decoder.
        replay: of its pieces; iterating raises SeamError where they do not fit.
    """

    def __init__(
        self, container: av.container.InputContainer, threads: int, replay: Replay
    ) -> None:
        self._replay = replay
        super().__init__(container, threads)

    def _picture(self, stream: av.VideoStream, clock: Clock, track: VideoTrack) -> PictureStream:
        return _JoinedPicture(stream, clock, track, self._replay)


class _JoinedPicture(PictureStream):
    def __init__(
        self, stream: av.VideoStream, clock: Clock, track: VideoTrack, replay: Replay
    ) -> None:
        super().__init__(stream, clock, track)
        self._replay = replay
        self._threads = stream.codec_context.thread_count

    def aspect(self, frame: object) -> Fraction | None:
        return frame.shape.aspect if isinstance(frame, MeasuredFrame) else None

    def _decode(
        self, packet: av.Packet[Any] | None, raw: float | None, log: ErrorCount
    ) -> Iterator[Decoded]:
        if packet is None or not packet.size:
            complaints, frames = self._replay.rest()
        else:
            complaints, frames = self._replay.take(packet)
        log.take()
        if complaints and self._threads != 1:  # they log when they get to it
            raise SeamError("it is damaged, and its decoder had several threads")
        for one in complaints:
            yield self._error("decode_error", raw, one.detail, one.reason, one.count)
        for frame in frames:
            yield from self._frame(cast(av.VideoFrame, frame))  # it has all that is asked of one

    def _frame(self, frame: av.VideoFrame) -> Iterator[Decoded]:  # type: ignore[override]
        yield from super()._frame(frame)
        if self._pts_faults:  # then times of decoding count, which a range may see differently
            raise SeamError("its pictures have times of presentation that are out of order")
