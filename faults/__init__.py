"""Every fault by name, the opposite of the detectors. To add one: its file, test, a line here."""

from __future__ import annotations

from faults.base import Fault
from faults.black import BlackFault

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        # picture
        BlackFault,
    )
}
