"""What a fault is: it takes clean media and damages it, and knows exactly what it did.

Three kinds by what they take: `PictureFault` (decoded frames), `SoundFault` (decoded samples) and
`FileFault` (an encoded file). One object does one order, once.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from faults.media import Clean, Picture
from faults.truth import MaskedFrames, Parameter, Severity, Truth
from pipeline.measurements import Float32
from pipeline.types import Kind, Region

Parameters = Mapping[str, Any]


class FaultError(Exception):
    """A fault cannot be put into this asset, or not there; the message says why."""


@dataclass(frozen=True)
class Order:
    """What to put in: a fault, how badly, from `start` to `end` (seconds), drawn from `seed`."""

    fault: str
    severity: Severity
    start: float
    end: float
    seed: int


class Fault(ABC):
    """Base of all faults.

    A subclass says what it makes in class attributes and how in one method. `ladder` has the
    parameters of each severity; what varies besides is drawn from `self.rng`, so that the same
    order gives the same damage.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    summary: ClassVar[str]
    reads: ClassVar[Literal["picture", "sound", "stream"]]
    ladder: ClassVar[Mapping[Severity, Parameters]]
    # Shortest and longest interval in seconds when the place is drawn; (0, 0): severity decides,
    # and the end of an order is not looked at.
    lengths: ClassVar[tuple[float, float]] = (1.0, 3.0)
    whole: ClassVar[bool] = False  # the whole asset is damaged, whatever the order says
    mixes: ClassVar[bool] = True  # may stand beside others in one file: it moves no later time
    # Kinds as which the same damage may rightly be reported besides `kind`.
    also: ClassVar[tuple[Kind, ...]] = ()

    def __init__(self, order: Order, clean: Clean) -> None:
        self.order = order
        self.clean = clean
        self.parameters: dict[str, Any] = dict(self.ladder[order.severity])
        self.rng = np.random.default_rng([order.seed, zlib.crc32(self.name.encode())])
        self.truths: list[Truth] = []
        self.masks: dict[str, MaskedFrames] = {}

    @classmethod
    def length_of(cls, severity: Severity, rng: np.random.Generator) -> float:
        """Seconds for an interval that nobody asked for: the ladder's `seconds`, else drawn."""
        if "seconds" in cls.ladder[severity]:
            return float(cls.ladder[severity]["seconds"])
        shortest, longest = cls.lengths
        return float(rng.uniform(shortest, longest))

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """Why this asset cannot have the fault; None: it can."""
        if cls.reads == "picture" and not clean.has_picture:
            return "there is no picture in it"
        if cls.reads == "sound" and not clean.has_sound:
            return "there is no sound in it"
        return None

    def inside(self, time: float) -> bool:
        """Whether an instant lies in the ordered interval."""
        return self.order.start - 1e-6 <= time < self.order.end - 1e-6

    def did(
        self,
        start: float,
        end: float,
        *,
        kind: Kind | None = None,
        region: Region | None = None,
        masked: MaskedFrames | None = None,
        also: Iterable[Kind] | None = None,
        **measured: Parameter,
    ) -> None:
        """Record the truth; `measured` adds to the parameters of the ladder."""
        name = None
        if masked is not None:
            name = f"{self.name}-{self.order.seed}-{len(self.masks)}"
            self.masks[name] = masked
        self.truths.append(
            Truth(
                kind=kind or self.kind,
                start=round(float(start), 6),
                end=round(float(end), 6),
                severity=self.order.severity,
                reads=self.reads,
                fault=self.name,
                seed=self.order.seed,
                region=region,
                mask=name,
                parameters={k: _plain(v) for k, v in {**self.parameters, **measured}.items()},
                also=list(self.also if also is None else also),
            )
        )


def _plain(value: Any) -> Parameter:
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, tuple | list):
        return ", ".join(str(part) for part in value)
    return round(float(value), 6)


class PictureFault(Fault):
    """Damages decoded frames."""

    reads = "picture"

    @abstractmethod
    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the damaged frames; those outside the truth are passed on as they are."""


class FrameFault(PictureFault):
    """Changes every frame of the interval by itself."""

    @abstractmethod
    def change(self, picture: Picture, index: int) -> Picture:
        """The damaged frame, not changed in place; `index` counts those of the interval."""

    def begin(self, picture: Picture) -> None:
        """Called with the first frame of the interval, to draw what stays the same in all."""

    def region(self) -> Region | None:
        """The part of the picture that is damaged; None: all of it."""
        return None

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureFault."""
        start = end = None
        index = 0
        for picture in pictures:
            if not self.inside(picture.time):
                yield picture
                continue
            if start is None:
                start = picture.time
                self.begin(picture)
            end = picture.time + picture.duration
            yield self.change(picture, index)
            index += 1
        if start is not None and end is not None:
            self.did(start, end, region=self.region())


class SoundFault(Fault):
    """Damages decoded samples."""

    reads = "sound"

    @abstractmethod
    def sound(self, sound: Float32, rate: int) -> Float32:
        """The damaged sound [C, N], full scale 1.0. `sound` may be changed in place."""

    def span(self, sound: Float32, rate: int) -> slice:
        """Samples of the ordered interval.

        Raises:
            FaultError: it lies outside the sound.
        """
        first = max(round(self.order.start * rate), 0)
        stop = min(round(self.order.end * rate), sound.shape[1])
        if stop <= first:
            raise FaultError(f"there is no sound from {self.order.start} to {self.order.end} s")
        return slice(first, stop)


class FileFault(Fault):
    """Damages an encoded file: packets, timestamps, bytes."""

    reads: ClassVar[Literal["picture", "sound", "stream"]] = "stream"
    mixes = False

    @abstractmethod
    def file(self, source: Path, target: Path) -> None:
        """Write the damaged `target` from `source`; both have the same suffix."""
