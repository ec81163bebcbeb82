"""Events: what is said of a defect in a live stream while it lasts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from pipeline.types import Kind, Published, Region

Change = Literal["opened", "updated", "closed"]


class Event(Published):
    """One defect of a live stream, as known at one moment.

    A defect is opened, perhaps updated, and closed, each time under the same ID. Times are of the
    wall clock: when that part of the stream came in, which is later than when it was recorded;
    `program_start` and `program_end` are when it was made, where the stream says so.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)

    schema_: Literal["vidette.event/1"] = Field(default="vidette.event/1", alias="schema")
    id: str = Field(description="the same for all that is said of this defect")
    change: Change
    stream: str = Field(description="name of the stream")
    labels: dict[str, str] = Field(default_factory=dict, description="of the stream")
    kind: Kind
    start: datetime
    end: datetime = Field(description="once closed: its end; until then: how far it was seen")
    position: float = Field(
        description="seconds of presentation at its start, since the stream was last connected"
    )
    pts: float | None = Field(
        default=None,
        description="timestamp of its start in the stream, seconds, by the clock that it has when "
        "the event opens (33 bits of 90 kHz in MPEG-TS); null for what the watcher says itself",
    )
    program_start: datetime | None = Field(
        default=None,
        description="when its start was made, as the stream says (EXT-X-PROGRAM-DATE-TIME of HLS); "
        "null where it does not",
    )
    program_end: datetime | None = Field(default=None, description="likewise, of its end")
    severity: float = Field(ge=0, le=1, description="as in an inspection")
    confidence: float = Field(ge=0, le=1)
    track: int | None = Field(description="index in the container, null: the whole stream")
    region: Region | None = None
    evidence: dict[str, float] = Field(default_factory=dict)
    summary: str
    detector: str = Field(description="name/version")
    outcome: Literal["ended", "withdrawn", "lost"] | None = Field(
        default=None,
        description="of a closed one. withdrawn: what came later speaks against it; "
        "lost: it still lasted when watching was interrupted",
    )
