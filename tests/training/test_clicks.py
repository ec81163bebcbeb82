"""Training of the click net: impulses of real sound, fitting, figures, a card."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from models.clicks import INPUTS, Clicks
from tests import media
from training import sounds
from training.clicks import card, dataset
from training.clicks.dataset import NONE, SEVERITIES, Examples
from training.clicks.evaluate import LIMITS, cross_fitted, figures, said_by
from training.clicks.net import ClickNet, save
from training.clicks.train import Recipe, fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list:
    """Of music, and of music with drums, which are no clicks."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(3)
    clips = []
    for name in ("music", "drums"):
        sound = 0.3 * media.programme(6.0, seed=len(name))
        if name == "drums":
            for at in rng.integers(4800, sound.shape[1] - 4800, 40):
                hit = rng.normal(0, 0.3, 2400) * np.exp(-np.arange(2400) / 300)
                sound[:, at : at + 2400] += hit.astype(np.float32)
        path = media.write(folder / f"{name}.mkv", sound=sound.clip(-1, 1))
        clips.append(
            CleanClip(
                id=name,
                file=str(path),
                kind="sound",
                source=name,
                sound_source=name,
                split="dev",
                duration=6.0,
                picture=False,
                frame_rate=0.0,
                sample_rate=48_000,
                files=(path.name,),
            )
        )
    return sounds.make(clips, folder / "made", 1, dataset.write, workers=1, told=lambda *_: None)


def test_clicks_and_what_clean_sound_has_itself(made):
    held = Examples.read(made)
    assert held.impulses.shape == (len(held.severity), INPUTS)
    assert np.isfinite(held.impulses).all()
    assert set(held.severity) == {NONE, *range(len(SEVERITIES))}
    assert held.hours == pytest.approx(dict.fromkeys(("music", "drums"), 2 * 6.0 / 3600), rel=0.05)
    # no half second is of two clips
    of = [set(held.moment[held.source == name]) for name in ("music", "drums")]
    assert not of[0] & of[1]
    drums = held.of({"drums"})
    assert set(drums.source) == set(drums.hours) == {"drums"}
    assert (drums.severity == NONE).sum() > (held.of({"music"}).severity == NONE).sum()


def test_fitting_learns_goes_on_where_it_ended_and_is_told_in_a_card(made, tmp_path):
    held = Examples.read(made)
    told: list[float] = []
    recipe, device = Recipe(200, batch=64), torch.device("cpu")
    checkpoint = tmp_path / "checkpoint.pt"
    net = fit(held, recipe, checkpoint, device, lambda _, loss: told.append(loss))
    again = fit(held, recipe, checkpoint, device, lambda _, loss: told.append(loss))
    assert len(told) == 1
    assert told[0] < np.log(2) / 2
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    said = said_by(net, held)
    assert said[held.severity != NONE].mean() > said[held.severity == NONE].mean() + 2
    save(net, tmp_path / "net.safetensors")
    np.testing.assert_allclose(
        Clicks(tmp_path / "net.safetensors").of(held.impulses), said, atol=1e-3
    )
    rows = figures(held, said)
    assert [row["limit"] for row in rows] == [None, *LIMITS]
    assert all(a["found"] >= b["found"] for a, b in pairwise(rows))
    assert all(a["alarms"] >= b["alarms"] for a, b in pairwise(rows))
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 200, "batch": 64, "per_source": 1,
        "parameters": 1234, "impulses": len(held.source), "fitted": ["a"], "unseen": ["b"],
        "hours": 1.0, "hours_unseen": 2.0, "figures": rows, "figures_crossed": rows,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.clicks MEDIA... --steps 200" in text
    assert text.count("| rules alone |") == 2


def test_nobody_is_judged_by_who_has_seen_them(made):
    held = Examples.read(made)
    seen: list[set[str]] = []

    def fit_fold(_: int, part: Examples) -> ClickNet:
        seen.append(set(part.source))
        return ClickNet().eval()

    assert len(cross_fitted(held, fit_fold)) == len(held.severity)
    assert seen == [{"music"}, {"drums"}]
