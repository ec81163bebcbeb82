"""Which assets of a run are cut into ranges, and how far each of them is; Ray stays outside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from pipeline.batch.inspector import Job
from pipeline.ranges.measure import Range

# What joining a range costs, as a share of measuring it, chosen: joining begins while ranges are
# still being measured where it would be the last to end otherwise.
_JOINING = 0.3


@dataclass
class _Cut:
    """An asset that is cut.

    Attributes:
        job: the asset.
        parts: its ranges.
        undone: those that are not measured yet.
        whole: why it is inspected in one piece after all.
        joining: a worker has it.
    """

    job: Job
    parts: tuple[Range, ...]
    undone: set[Range] = field(default_factory=set)
    whole: str | None = None
    joining: bool = False


class Cuts:
    """The assets that are cut, by ID."""

    def __init__(self) -> None:
        self._cuts: dict[str, _Cut] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._cuts

    @property
    def count(self) -> int:
        """Assets that are cut and not finished."""
        return len(self._cuts)

    @property
    def waiting(self) -> int:
        """Assets that no worker joins yet."""
        return sum(not cut.joining for cut in self._cuts.values())

    @property
    def parts(self) -> tuple[int, int]:
        """Ranges that are measured, and all ranges, of the assets that are not finished."""
        cuts = self._cuts.values()
        total = sum(len(cut.parts) for cut in cuts)
        return total - sum(len(cut.undone) for cut in cuts), total

    def add(self, job: Job, parts: Sequence[Range]) -> list[Job]:
        """An asset is to be cut; returns the jobs of its ranges."""
        self._cuts[job.id] = _Cut(job, tuple(parts), set(parts))
        return [replace(job, part=part) for part in parts]

    def wants(self, job: Job) -> bool:
        """Whether a range is still of use."""
        cut = self._cuts.get(job.id)
        return cut is not None and cut.whole is None

    def measured(self, job: Job) -> None:
        """A range is measured."""
        cut = self._cuts.get(job.id)
        if cut is not None and job.part is not None:
            cut.undone.discard(job.part)

    def give_up(self, job: Job, reason: str) -> bool:
        """A range cannot be measured; returns whether a worker waits for it."""
        cut = self._cuts.get(job.id)
        if cut is None:
            return False
        cut.whole = cut.whole or reason
        return cut.joining

    def again(self, job: Job) -> None:
        """The worker that joined an asset is gone; another takes it, as `job` counts them."""
        cut = self._cuts.get(job.id)
        if cut is not None:
            cut.joining = False
            cut.job = replace(cut.job, attempt=job.attempt, lost=job.lost)

    def finish(self, name: str) -> None:
        """An asset is done, or has failed."""
        self._cuts.pop(name, None)

    def ready(self, queue: Collection[Job], others: int) -> Job | None:
        """An asset that should be joined now, or inspected in one piece.

        Args:
            queue: what else there is to do.
            others: workers that are at work.
        """
        for cut in self._cuts.values():
            if cut.joining:
                continue
            early = (
                others > 0
                and len(cut.undone) <= _JOINING * len(cut.parts) * others
                and all(job.id == cut.job.id for job in queue)
                and not any(other.joining and other.undone for other in self._cuts.values())
            )
            if cut.whole is not None or not cut.undone or early:
                cut.joining = True
                return replace(cut.job, parts=cut.parts, whole=cut.whole)
        return None
