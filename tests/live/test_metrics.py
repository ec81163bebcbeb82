"""Figures for Prometheus: what the dashboard asks for is what is exported."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from pipeline.live.metrics import Metrics
from pipeline.live.store import Store
from tests.live.test_store import event, stream

DASHBOARD = Path(__file__).parent.parent.parent / "deploy/grafana.json"


def test_the_dashboard_asks_for_what_there_is(tmp_path):
    store = Store(tmp_path)
    metrics = Metrics(store)
    names = {
        f"ray_{figure.info['name']}" for figure in vars(metrics).values() if hasattr(figure, "info")
    }
    asked = " ".join(
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    )
    assert set(re.findall(r"ray_vidette_\w+", asked)) == names
    store.close()


def test_gauges_fall_when_defects_end(tmp_path, monkeypatch):
    shown = {}
    store = Store(tmp_path)
    store.add(stream("s"))
    metrics = Metrics(store)
    for figure in vars(metrics).values():
        if hasattr(figure, "set"):
            monkeypatch.setattr(
                figure, "set",
                lambda value, tags, name=figure.info["name"]: shown.update(
                    {(name, *tags.values()): value}
                ),
            )  # fmt: skip
    store.take([event("opened")], [], [])
    metrics.refresh()
    assert shown["vidette_open_defects", "s", "freeze"] == 1.0
    assert shown["vidette_streams", "waiting"] == 1.0
    store.take([event("closed", outcome="ended")], [], [])
    metrics.refresh()
    assert shown["vidette_open_defects", "s", "freeze"] == 0.0
    assert shown["vidette_stream_watched", "s"] == 0.0
    store.remove("s")
    metrics.refresh()
    assert math.isnan(shown["vidette_stream_watched", "s"])  # no alarm says that it is not watched
    store.close()
