"""Hard negatives by name: what programmes rightly do and detectors must not report."""

from __future__ import annotations

from faults.lookalikes.base import Lookalike

LOOKALIKES: dict[str, type[Lookalike]] = {
    lookalike.name: lookalike
    for lookalike in (
        # picture
        # sound
    )
}
