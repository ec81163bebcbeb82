"""What a look-alike is: something that programmes rightly do and that resembles a defect."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from faults.media import Clean, Picture
from pipeline.types import Float32, Kind


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


class SoundLookalike(Lookalike):
    """Changes decoded samples."""

    reads = "sound"

    @abstractmethod
    def sound(self, sound: Float32, rate: int) -> Float32:
        """The sound [C, N] of the look-alike, full scale 1.0. `sound` may be changed in place."""
