"""A piece: what was measured of one range of the pictures of an asset, as a file.

A file is a row of chunks, each a JSON header and compressed arrays. Per packet that the decoder was
given (a Step) it has the packet's mark, what the decoder complained of, and the frames that it gave
then. The end of the file (a Tail) has the frames that it still held. Arrays are stored without
loss: floats of neighbouring frames differ little, so their bits are stored as differences (XOR),
bytes of one weight together, by Zstandard. A second of 1080p25 takes about 1.8 MB.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from itertools import pairwise
from typing import IO, Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import SeamError
from pipeline.measure.measured import FrameShape, MeasuredFrame
from pipeline.measurements import Look, Mouth

Array = npt.NDArray[Any]
Mark = tuple[int | None, int, int]  # of a packet: PTS, size, CRC-32

_VERSION = 3
_NOT_ONE = (ValueError, KeyError, TypeError, IndexError, OverflowError, struct.error)
_SIZES = struct.Struct("<QQ")  # of a header and of its arrays, in bytes
_CHUNK = 25  # frames
_LOOK_ARRAYS = tuple(one.name for one in fields(Look) if one.name not in ("time", "frame"))
_FACTS = (
    *("pts", "dts", "duration", "key_frame", "interlaced_frame", "is_corrupt", "time", "anew"),
    "check",
)


def mark_of(packet: av.Packet[Any]) -> Mark:
    """What a packet is known by."""
    return packet.pts, packet.size, zlib.crc32(bytes(packet))


@dataclass(frozen=True)
class Complaint:
    """What was wrong while a packet was decoded; as a Note has it."""

    detail: str
    reason: str
    count: int


@dataclass
class Step:
    """What the decoder made of a packet.

    Attributes:
        mark: of the packet.
        complaints: come before the frames.
        frames: that it gave.
    """

    mark: Mark
    complaints: list[Complaint] = field(default_factory=list)
    frames: list[MeasuredFrame] = field(default_factory=list)


@dataclass
class Seam:
    """The beginning of the next range, decoded once more after this one.

    Attributes:
        pts: of its first frame.
        compared: [2, tile rows, tile columns] motion and order of that frame (PictureStatistics):
            the maps that the frame before it has a part in.
        checks: CRC-32 of its first pictures, by PTS.
        said: of its first packets: marks, and what the decoder complained of.
    """

    pts: int
    compared: npt.NDArray[np.float32]
    checks: dict[int, int]
    said: list[tuple[Mark, list[Complaint]]]


@dataclass
class Tail:
    """The end of a range.

    Attributes:
        frames: that the decoder still held when the next range began, or the asset ended.
        complaints: at the end of the asset.
        seam: to the next range; None: the asset ends here.
        cpu: seconds that decoding and measuring the range took.
    """

    frames: list[MeasuredFrame] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    seam: Seam | None = None
    cpu: float = 0.0


class PieceWriter:
    """Writes a piece, a chunk at a time; the newest frame waits, so that it can still change.

    Args:
        file: open for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._steps: list[Step] = []
        self._held = 0  # frames

    def add(self, step: Step) -> None:
        """Take the next step."""
        if step.frames and self._held >= _CHUNK:
            self._write(None)
        self._steps.append(step)
        self._held += len(step.frames)

    def finish(self, tail: Tail) -> None:
        """Take the end."""
        self._write(tail)

    def _write(self, tail: Tail | None) -> None:
        packer = _Packer()
        frames = [frame for step in self._steps for frame in step.frames]
        if tail is not None:
            frames += tail.frames
        shapes = list(dict.fromkeys(frame.shape for frame in frames))
        said: dict[str, Any] = {
            "version": _VERSION,
            "steps": [
                [step.mark, [asdict(one) for one in step.complaints], len(step.frames)]
                for step in self._steps
            ],
            "shapes": [
                asdict(shape) | {"aspect": None if shape.aspect is None else str(shape.aspect)}
                for shape in shapes
            ],
            "frames": [_facts(frame, shapes, packer) for frame in frames],
            "statistics": [
                [
                    packer.add(np.stack([frame.maps for frame in part])),
                    packer.add(np.stack([frame.profile for frame in part])),
                    _looks(part, packer),
                ]
                for part in _of_one_size(frames)
            ],
            "tail": None if tail is None else _tail(tail, packer),
        }
        said["arrays"] = packer.said
        header = json.dumps(said).encode()
        self._file.write(_SIZES.pack(len(header), packer.size))
        self._file.write(header)
        for part in packer.parts:
            self._file.write(part)
        self._steps, self._held = [], 0


def read_piece(file: IO[bytes]) -> Iterator[Step | Tail]:
    """The steps of a piece, and its tail at the end.

    Raises:
        SeamError: it is no piece, or half of one.
    """
    while True:
        try:
            sizes = _SIZES.unpack(_exactly(file, _SIZES.size))
            said = json.loads(_exactly(file, sizes[0]))
            if said["version"] != _VERSION:
                raise ValueError("it is of another version")
            arrays = _unpacked(said["arrays"], _exactly(file, sizes[1]))
            frames = iter(_frames(said, arrays))
        except (*_NOT_ONE, OSError, pa.ArrowException) as error:
            raise SeamError(f"a range cannot be read: {error}") from error
        for mark, complaints, count in said["steps"]:
            yield Step(
                (mark[0], mark[1], mark[2]),
                [Complaint(**one) for one in complaints],
                [next(frames) for _ in range(count)],
            )
        tail = said["tail"]
        if tail is not None:
            seam = tail["seam"]
            yield Tail(
                list(frames),
                [Complaint(**one) for one in tail["complaints"]],
                None if seam is None else _seam(seam, arrays),
                tail["cpu"],
            )
            return


# ------------------------------------------------------------------------------------ one chunk


def _facts(frame: MeasuredFrame, shapes: list[FrameShape], packer: _Packer) -> list[Any]:
    mouths = [
        [
            [mouth.time, mouth.face, mouth.place, packer.add(mouth.pictures)]
            for mouth in of_frame
        ]
        for of_frame in (frame.mouths, frame.after)
    ]  # fmt: skip
    return [shapes.index(frame.shape), *(getattr(frame, name) for name in _FACTS), *mouths]


def _looks(part: list[MeasuredFrame], packer: _Packer) -> list[Any]:
    """Which frames of a part have one, and the arrays of all of them."""
    with_look = [(n, frame.look) for n, frame in enumerate(part) if frame.look is not None]
    return [
        [n for n, _ in with_look],
        [
            packer.add(np.stack([getattr(look, name) for _, look in with_look]))
            for name in _LOOK_ARRAYS
            if with_look
        ],
    ]


def _tail(tail: Tail, packer: _Packer) -> dict[str, Any]:
    seam = tail.seam
    return {
        "complaints": [asdict(one) for one in tail.complaints],
        "cpu": tail.cpu,
        "seam": None
        if seam is None
        else asdict(seam)
        | {
            "compared": packer.add(seam.compared),
            "checks": list(seam.checks.items()),
        },
    }


def _seam(said: dict[str, Any], arrays: list[Array]) -> Seam:
    return Seam(
        said["pts"],
        arrays[said["compared"]],
        dict(said["checks"]),
        [((*mark,), [Complaint(**one) for one in complaints]) for mark, complaints in said["said"]],
    )


def _of_one_size(frames: list[MeasuredFrame]) -> Iterator[list[MeasuredFrame]]:
    """Frames in a row whose statistics have one shape."""
    edges = [n for n, (a, b) in enumerate(pairwise(frames), 1) if a.maps.shape != b.maps.shape]
    for first, stop in pairwise([0, *edges, len(frames)]):
        if stop > first:
            yield frames[first:stop]


def _frames(said: dict[str, Any], arrays: list[Array]) -> list[MeasuredFrame]:
    shapes = [
        FrameShape(**(one | {"aspect": None if one["aspect"] is None else Fraction(one["aspect"])}))
        for one in said["shapes"]
    ]
    made: list[MeasuredFrame] = []
    facts = iter(said["frames"])
    for maps, profiles, (looked, look_arrays) in said["statistics"]:
        looks = {
            n: dict(zip(_LOOK_ARRAYS, (arrays[index][row] for index in look_arrays), strict=True))
            for row, n in enumerate(looked)
        }
        for n, (of_frame, profile) in enumerate(zip(arrays[maps], arrays[profiles], strict=True)):
            shape, *values, mouths, after = next(facts)
            known = dict(zip(_FACTS, values, strict=True))
            made.append(
                MeasuredFrame(
                    shape=shapes[shape],
                    maps=of_frame,
                    profile=profile,
                    look=Look(time=known["time"], frame=0, **looks[n]) if n in looks else None,
                    mouths=[_mouth(one, arrays) for one in mouths],
                    after=[_mouth(one, arrays) for one in after],
                    **known,
                )
            )
    return made


def _mouth(said: list[Any], arrays: list[Array]) -> Mouth:
    time, face, (left, top, right, bottom), pictures = said
    return Mouth(time, arrays[pictures], face, (left, top, right, bottom))


# ---------------------------------------------------------------------------------------- arrays


class _Packer:
    """Gathers arrays: `said` describes them, `parts` are their bytes."""

    def __init__(self) -> None:
        self.said: list[list[Any]] = []
        self.parts: list[bytes] = []
        self.size = 0
        self._codec = pa.Codec("zstd", 1)

    def add(self, array: Array) -> int:
        """Its number."""
        kind = np.dtype(f"u{array.dtype.itemsize}")
        bits = np.ascontiguousarray(array).view(kind).copy()
        if len(bits) > 1 and bits.ndim > 1:
            bits[1:] ^= np.ascontiguousarray(array).view(kind)[:-1]
        planes = bits.reshape(-1).view(np.uint8).reshape(-1, kind.itemsize).T
        part: bytes = self._codec.compress(np.ascontiguousarray(planes), asbytes=True)
        self.said.append([array.dtype.str, array.shape, len(part)])
        self.parts.append(part)
        self.size += len(part)
        return len(self.said) - 1


def _unpacked(said: list[list[Any]], data: bytes) -> list[Array]:
    codec = pa.Codec("zstd", 1)
    made: list[Array] = []
    at = 0
    for kind, shape, size in said:
        dtype = np.dtype(kind)
        count = int(np.prod(shape, dtype=np.int64))
        part = memoryview(data)[at : at + size]
        at += size
        plain = codec.decompress(part, decompressed_size=count * dtype.itemsize, asbytes=True)
        planes = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, count)
        bits = planes.T.copy(order="C").view(f"u{dtype.itemsize}").reshape(shape)
        if len(shape) > 1:
            np.bitwise_xor.accumulate(bits, axis=0, out=bits)
        made.append(bits.view(dtype))
    return made


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ValueError("it ends too early")
    return data
