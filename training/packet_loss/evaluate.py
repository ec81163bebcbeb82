"""Figures of nets on files of sources that they were not fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from faults.truth import Severity
from models.packet_loss import inputs
from pipeline.detectors.dropout import TOGETHER
from pipeline.detectors.lost_packets import Loss, losses, sounding
from pipeline.measurements import Float32
from training.packet_loss.dataset import Clip, Scenes
from training.packet_loss.train import PacketLossNet

LIMITS = (4.0, 5.0, 6.0, 6.5, 7.0, 7.5, 8.0)  # log odds
NEAR = 0.5  # seconds by which an end may be off, as in bench/accuracy/score.py
END_SHARE = 0.2  # or, of the last one, that share of the length


@dataclass(frozen=True)
class Judged:
    """A file and what is said of it.

    Attributes:
        source: whose sound it is.
        seconds: of it.
        about: what was done to it, as `training.packet_loss.dataset` notes it; nothing of a fault
            where it is clean, or resembles one (`alike`).
        rules: starts and ends of holes.
        losses: as the net hears them.
    """

    source: str
    seconds: float
    about: dict[str, Any]
    rules: list[tuple[float, float]]
    losses: list[Loss]


def said_by(net: PacketLossNet, figures: Float32) -> Float32:
    """Log odds [F] of cells [F, FIGURES]."""
    taken = torch.from_numpy(inputs(figures).T.copy())[None]
    with torch.inference_mode():
        said: Float32 = net(taken.to(next(net.parameters()).device))[0, 0].cpu().numpy()
    return said


def judged(net: PacketLossNet, scenes: Scenes) -> Iterator[Judged]:
    """All files of clips."""
    for source, clips in scenes.of.items():
        for clip in clips:
            for figures, about, rules in _files(clip):
                odds = sounding(said_by(net, figures), figures.astype(np.float32))
                found = losses(odds, clip.seconds, 0.0, first=True, last=True)
                yield Judged(source, len(figures) * clip.seconds, about, rules, found)


def _files(clip: Clip) -> Iterator[tuple[Any, dict[str, Any], list[tuple[float, float]]]]:
    intact: list[tuple[Any, dict[str, Any]]] = [(one, {"alike": False}) for one in clip.clean]
    intact += [(one, {"alike": True}) for one in clip.alike]
    for (figures, about), rules in zip(intact, clip.rules, strict=True):
        yield figures, about, rules
    for figures, about in clip.trials:
        yield figures, about, about["rules"]


def events(
    rules: Sequence[tuple[float, float]], heard: Sequence[Loss], limit: float
) -> list[tuple[float, float]]:
    """Starts and ends of what the detector reports."""
    parts = [(start, end, np.inf) for start, end in rules]
    parts += [(one.start, one.end, one.odds) for one in heard]
    made: list[list[float]] = []
    for start, end, odds in sorted(parts):
        if made and start - made[-1][1] <= TOGETHER:
            made[-1][1:] = max(made[-1][1], end), max(made[-1][2], odds)
        else:
            made.append([start, end, odds])
    return [(start, end) for start, end, odds in made if odds >= limit]


def matches(truths: Sequence[tuple[float, float]], found: Sequence[tuple[float, float]]) -> int:
    """How many truths have one of their own."""
    left = list(found)
    count = 0
    for start, end in truths:
        slack = max(NEAR, END_SHARE * (end - start))
        fits = [f for f in left if abs(f[0] - start) <= NEAR and abs(f[1] - end) <= slack]
        if fits:
            left.remove(min(fits, key=lambda f: abs(f[0] - start) + abs(f[1] - end)))
            count += 1
    return count


def figures(judges: Sequence[tuple[PacketLossNet, Scenes]]) -> dict[str, Any]:
    """What is found and wrongly reported, by the least log odds of an event without a hole.

    Args:
        judges: nets, each with scenes of sources that it has not heard.

    Returns:
        `hours` of clean sound, half of it as it is delivered; `alike` files with what resembles
        dropouts; `rows`, of which the first is of the rules alone: `limit`, `false` reports in
        clean sound, in those files (`alike`), and in damaged files where they fit no damage
        (`extra`), and `found` and `ways`: of each severity and mechanism of damage, how many of how
        many truths are found.
    """
    files = [one for net, scenes in judges for one in judged(net, scenes)]
    clean, alike = (
        [one for one in files if one.about.get("alike") is wanted] for wanted in (False, True)
    )
    rows = []
    for limit in (None, *LIMITS):
        found: dict[str, list[int]] = {one.value: [0, 0] for one in Severity}
        ways: dict[str, list[int]] = {}
        extra = 0
        for one in files:
            if "truths" not in one.about:
                continue
            made = _reported(one, limit)
            truths = one.about["truths"]
            right = matches(truths, made)
            extra += len(made) - right
            way = " ".join([one.about["fault"], *one.about["way"]]).strip()
            for counts in (found[one.about["severity"]], ways.setdefault(way, [0, 0])):
                counts[0] += right
                counts[1] += len(truths)
        rows.append(
            {
                "limit": limit,
                "false": sum(len(_reported(one, limit)) for one in clean),
                "alike": sum(len(_reported(one, limit)) for one in alike),
                "extra": extra,
                "found": found,
                "ways": ways,
            }
        )
    hours = sum(one.seconds for one in clean) / 3600
    return {"hours": hours, "alike": len(alike), "rows": rows}


def _reported(one: Judged, limit: float | None) -> list[tuple[float, float]]:
    return events(one.rules, [] if limit is None else one.losses, limit or 0.0)
