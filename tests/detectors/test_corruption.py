"""Block corruption in real streams, damaged as transport damages them and encoded again."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from faults import lookalikes
from faults.damage import damage, place
from faults.media import Clean, Encoding, encode
from faults.truth import Severity
from pipeline.inspect import inspect
from pipeline.settings import load
from pipeline.types import Inspection, Kind
from tests import media
from tests.findings import examine, of_kind

NAME = "block_corruption"
PLAIN = Encoding("libx264", (("crf", "23"), ("preset", "veryfast")), "aac")


@pytest.fixture(scope="module")
def clean() -> Clean:
    return Clean(media.bunny())


def looked_at(path, **settings) -> Inspection:
    return inspect(str(path), load(only=(NAME,), **settings))


@pytest.mark.parametrize("suffix", [".ts", ".mp4"])
@pytest.mark.parametrize("severity", [Severity.VERY_NOTICEABLE, Severity.NOTICEABLE])
def test_damage_is_found_where_it_is(clean, tmp_path, severity, suffix):
    target = tmp_path / f"damaged{suffix}"
    order = place(NAME, severity, clean, seed=11, at=(1.6, 3.4))
    (truth,) = damage(clean, target, [order], encoding=PLAIN).truths
    found = of_kind(examine(target, NAME), Kind.BLOCK_CORRUPTION)
    assert found
    assert abs(found[0].start - truth.start) <= 0.5
    assert abs(found[-1].end - truth.end) <= 0.5
    assert found[0].confidence >= 0.6


def test_worse_damage_is_more_severe_and_the_map_shows_where(clean, tmp_path):
    severities = []
    for severity in (Severity.SUBTLE, Severity.VERY_NOTICEABLE):
        target = tmp_path / f"{severity}.mp4"
        order = place(NAME, severity, clean, seed=3, at=(1.6, 3.4))
        damage(clean, target, [order], encoding=PLAIN)
        found = of_kind(looked_at(target, budget=10.0), Kind.BLOCK_CORRUPTION)
        severities.append(max(one.severity for one in found))
    assert severities[0] < severities[1]
    worst = max(found, key=lambda one: one.severity)
    assert worst.heat_map is not None
    heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(worst.heat_map))))
    assert heat.shape == (45, 80)
    assert worst.region is not None
    rows, columns = np.nonzero(heat >= 128)
    assert rows.min() / 45 == pytest.approx(worst.region.top, abs=0.01)
    assert (columns.max() + 1) / 80 == pytest.approx(worst.region.right, abs=0.01)


def test_coverage_is_the_share_of_frames_that_were_scored():
    some = looked_at(media.bunny())
    every = looked_at(media.bunny(), budget=10.0)
    assert every.coverage.detectors[NAME] == pytest.approx(1.0, abs=0.02)
    assert 0.005 < some.coverage.detectors[NAME] < 0.15
    assert looked_at(media.bunny(), budget=0.0).coverage.detectors[NAME] == 0.0


def test_clean_media_is_not_reported(tmp_path):
    assert only_clean(looked_at(media.bunny(), budget=10.0))
    path = media.write(tmp_path / "scene.mp4", media.scene(4.0, cuts=2, speed=3, seed=5))
    assert only_clean(looked_at(path, budget=10.0))


@pytest.mark.parametrize("name", ["censored_face", "confetti", "fast_cuts", "whip_pan"])
def test_lookalikes_are_not_reported(clean, tmp_path, name):
    target = tmp_path / "alike.mp4"
    lookalike = lookalikes.LOOKALIKES[name](clean, 5)
    encode(target, lookalike.pictures(clean.pictures()), None, rate=clean.rate,
           sample_rate=clean.sample_rate, layout=clean.layout, encoding=PLAIN)  # fmt: skip
    assert only_clean(looked_at(target))


def only_clean(result: Inspection) -> bool:
    """Whether it was examined whole and nothing was found."""
    return result.coverage.state == "complete" and not result.defects
