"""Every error that Vidette raises on purpose.

VidetteError
 +- UsageError            the request itself is wrong (an unknown detector, a bad setting)
 +- SourceError           the asset could not be opened or read; has `reason`, a short identifier
 +- WorkersError          the processes that do the work cannot be started, or are gone with Ray
 +- StoreError            the database that keeps what must not be lost does not answer
 +- SeamError             an asset cannot be cut into ranges that give the result of the whole
"""

from __future__ import annotations


class VidetteError(Exception):
    """Base of all errors that Vidette raises on purpose."""


class UsageError(VidetteError):
    """The request itself is wrong: an unknown detector, a setting out of range, no input."""


class SourceError(VidetteError):
    """The asset could not be opened or read.

    Attributes:
        reason: a short identifier, the same as in `Coverage.problems`, for instance `not_found`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class WorkersError(VidetteError):
    """The processes that do the work cannot be started, or are gone with their Ray."""


class StoreError(VidetteError):
    """The database that keeps what must not be lost cannot be used, or does not answer."""


class SeamError(VidetteError):
    """An asset cannot be cut into ranges that give the result of the whole; the message says why.

    It is no fault of the asset: it is inspected in one piece then.
    """
