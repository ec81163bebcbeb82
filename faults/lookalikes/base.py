"""What a look-alike is: something that programmes rightly do and that resembles a defect."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from faults.media import Clean, Picture
from pipeline.measurements import Float32
from pipeline.types import Kind


class Lookalike(ABC):
    """Base of all look-alikes. Like a fault, drawn from a seed; unlike a fault, it has no truth."""

    name: ClassVar[str]
    summary: ClassVar[str]
    reads: ClassVar[Literal["picture", "sound"]]
    resembles: ClassVar[tuple[Kind, ...]]  # kinds that must not be reported because of it
    # Kinds that the same content may rightly be reported as (flashing for a strobe); not counted.
    excused: ClassVar[tuple[Kind, ...]] = ()

    def __init__(self, clean: Clean, seed: int) -> None:
        self.clean = clean
        self.rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])


class PictureLookalike(Lookalike):
    """Changes decoded frames."""

    reads = "picture"

    @abstractmethod
    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the frames of the look-alike, as many as come in and at the same times."""


class Whole(PictureLookalike):
    """Changes every frame by itself."""

    @abstractmethod
    def change(self, picture: Picture, index: int) -> Picture:
        """The frame of the look-alike; `index` counts frames."""

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        for index, picture in enumerate(pictures):
            yield self.change(picture, index)


class Passage(PictureLookalike):
    """Changes the frames of a passage whose length and place are drawn."""

    seconds: ClassVar[tuple[float, float]]  # shortest and longest passage

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        self.length = min(float(self.rng.uniform(*self.seconds)), self.clean.duration)
        start = float(self.rng.uniform(0, self.clean.duration - self.length))
        first: float | None = None
        for index, picture in enumerate(pictures):
            if picture.time < start - 1e-6:
                yield picture
                continue
            if first is None:
                first = picture.time
                self.begin(picture)
                self.first = index
            at = picture.time - first
            yield self.change(picture, at) if at < self.length else self.after(picture)

    def begin(self, picture: Picture) -> None:
        """Called with the first frame of the passage."""

    @abstractmethod
    def change(self, picture: Picture, at: float) -> Picture:
        """A frame of the passage, `at` seconds after its start."""

    def after(self, picture: Picture) -> Picture:
        """A frame after the passage."""
        return picture

    def frame(self, at: float) -> int:
        """Frames since the start of the passage, at the nominal rate."""
        return round(at * float(self.clean.rate))


class SoundLookalike(Lookalike):
    """Changes decoded samples."""

    reads = "sound"

    @abstractmethod
    def sound(self, sound: Float32, rate: int) -> Float32:
        """The sound [C, N] of the look-alike, full scale 1.0. `sound` may be changed in place."""
