"""How long it is waited before a stream is tried again."""

from __future__ import annotations

import numpy as np

from pipeline.live.connect import wait


def test_waits_double_up_to_half_a_minute_and_differ():
    middle = [wait(failures, 0.5) for failures in range(1, 40)]
    assert middle[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(middle[7:]) == {30.0}
    chances = np.random.default_rng(1).random(200)
    waits = np.array([wait(10, float(chance)) for chance in chances])
    assert waits.min() >= 15.0
    assert waits.max() <= 45.0
    assert waits.std() > 5.0  # streams of a server that was down do not come back together
