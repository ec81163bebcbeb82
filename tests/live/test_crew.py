"""Workers of live streams as Ray places them."""

from __future__ import annotations

import time

import pytest

from pipeline.cluster import Session
from pipeline.live.crew import Gone, RayCrew, Ready
from pipeline.live.streams import Pool
from pipeline.settings import load
from tests.nodes import in_a_child, several_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("ray")]


def arrived(crew: RayCrew, count: int, seconds: float) -> set[str]:
    """Which workers got ready in so many seconds; ends early when so many have."""
    found: set[str] = set()
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        for one in crew.news():
            assert not isinstance(one, Gone), one
            if isinstance(one, Ready):
                found.add(one.worker)
        time.sleep(0.05)
    return found


def two_then_one(address: str) -> tuple[int, int]:
    """Of three workers that want half a GPU, how many get one; how many after one has gone."""
    with Session(address):
        crew = RayCrew(load(only=("black",)))
        for name in ("one", "two", "three"):
            crew.hire(name, Pool(cpus=1.0, gpus=0.5))
        there = arrived(crew, 3, 25.0)
        crew.dismiss(next(iter(there)))
        return len(there), len(arrived(crew, 1, 60.0))


def test_workers_share_a_gpu_by_fraction():
    """Ray counts GPUs as it is told: half a one each, and no room for a third worker."""
    with several_nodes(1, cpus=4, gpus=1) as address:
        assert in_a_child(two_then_one, address) == (2, 1)
