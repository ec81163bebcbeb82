"""The truth about a damaged file: what was done to it, when, where and how badly, exactly."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from pipeline.measurements import PictureFormat
from pipeline.types import Kind, Published, Region

Mask = npt.NDArray[np.bool_]
TILE = PictureFormat.TILE  # luma samples on a side of one bit of a mask


class Severity(StrEnum):
    """The four-step ladder of MVAD (arXiv 2406.00212, supplement)."""

    VERY_NOTICEABLE = "very_noticeable"
    NOTICEABLE = "noticeable"
    SUBTLE = "subtle"
    VERY_SUBTLE = "very_subtle"

    @property
    def value_on_scale(self) -> float:
        """The severity of a `Defect` that corresponds: 0.25 to 1."""
        return {
            Severity.VERY_SUBTLE: 0.25,
            Severity.SUBTLE: 0.5,
            Severity.NOTICEABLE: 0.75,
            Severity.VERY_NOTICEABLE: 1.0,
        }[self]


Parameter = float | int | str | bool


class Truth(Published):
    """One defect that was put in."""

    kind: Kind
    start: float = Field(description="seconds from the start of the damaged presentation")
    end: float = Field(description="seconds; the first instant that is clean again")
    severity: Severity
    reads: Literal["picture", "sound", "stream"] = Field(description="what was damaged")
    fault: str = Field(description="name of the fault that did it")
    seed: int
    region: Region | None = Field(default=None, description="null: everywhere, or see the mask")
    mask: str | None = Field(
        default=None,
        description="name of the arrays NAME.times, NAME.mask and NAME.shows in the mask file",
    )
    parameters: dict[str, Parameter] = Field(description="what was done, in the fault's own units")
    also: list[Kind] = Field(
        default_factory=list, description="kinds as which the same damage may rightly be reported"
    )


class DamagedFile(Published):
    """What `vidette damage` writes beside a damaged file."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_: Literal["vidette.truth/1"] = Field(default="vidette.truth/1", alias="schema")
    source: str = Field(description="name of the clean file")
    file: str = Field(description="name of the damaged file")
    duration: float = Field(description="seconds of the clean presentation")
    mask_file: str | None = Field(default=None, description="NumPy .npz with the masks, if any")
    truths: list[Truth]
    versions: dict[str, str] = Field(default_factory=dict)


class MaskedFrames:
    """Where frames were damaged: tiles of 16x16 luma samples.

    Attributes:
        times: [T] seconds, of the damaged frames alone.
        mask: bool [T, tile rows, tile columns], tiles that are not as they should be.
        shows: likewise, those of them that a viewer can tell; all, where nothing else is known.
    """

    def __init__(
        self, times: npt.ArrayLike, mask: npt.ArrayLike, shows: npt.ArrayLike | None = None
    ) -> None:
        self.times = np.asarray(times, np.float64)
        self.mask = np.asarray(mask, bool)
        self.shows = self.mask if shows is None else np.asarray(shows, bool)


def write_masks(path: Path, masks: dict[str, MaskedFrames]) -> None:
    """Write masks by name into one compressed .npz."""
    arrays = {}
    for name, masked in masks.items():
        arrays[f"{name}.times"], arrays[f"{name}.mask"] = masked.times, masked.mask
        arrays[f"{name}.shows"] = masked.shows
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def read_masks(path: Path) -> dict[str, MaskedFrames]:
    """What `write_masks` wrote."""
    with np.load(path) as arrays:
        names = [name.removesuffix(".times") for name in arrays if name.endswith(".times")]
        return {
            n: MaskedFrames(*(arrays[f"{n}.{part}"] for part in ("times", "mask", "shows")))
            for n in names
        }
