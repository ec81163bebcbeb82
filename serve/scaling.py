"""When to add and to remove replicas: by the seconds of work that wait, not by requests.

A listener to events is a request that lasts for hours and costs nothing; a score is one that keeps
a core busy. Serve moves this module to its controller by value: it imports nothing of ours.
"""

from __future__ import annotations

import math
from typing import Any

BACKLOG = "backlog_s"  # what replicas report


class ByBacklog:
    """An autoscaling policy of Ray Serve.

    Args:
        target: seconds of work that each replica may have before it.
        shared: all of them report the same work, which any of them may do.
    """

    def __init__(self, target: float = 4.0, *, shared: bool = False) -> None:
        self._target, self._shared = target, shared

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """How many replicas are wanted; Serve applies bounds and delays."""
        reported = (context.aggregated_metrics or {}).get(BACKLOG, {})
        every = reported.values()
        waiting = max(every, default=0.0) if self._shared else sum(every)
        if not waiting and context.total_queued_requests:  # nobody is there to report
            return max(1, context.current_num_replicas), {}
        if not waiting and context.total_num_requests:  # who listens would be cut off
            return 1, {}
        return math.ceil(waiting / self._target), {}
