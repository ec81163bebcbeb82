"""Impulses that stand out of sound: clicks that were put in, and all that clean sound has itself.

Each clean clip is looked at as it is, which gives what is none, and with clicks of each severity
put in by `faults/click.py`; once as it is and once as AAC leaves it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt

from faults.base import FaultError, Order
from faults.click import ClickFault
from faults.coding import Coder
from faults.media import Clean
from faults.truth import Severity
from models.clicks import INPUTS
from pipeline.detectors.click import ClickDetector, ClickSettings
from pipeline.errors import SourceError
from pipeline.measurements import Float32, SoundFormat

FORM = 1  # raise it when examples are made in another way
NONE = -1  # in place of a severity
SEVERITIES = tuple(Severity)
_PUT_IN = 8  # clicks of each severity in each clip
_LONGEST = 40.0  # seconds of a clip
_NEAR = 60  # samples between an impulse and a click that was put in, which it is then
_KBPS = (48, 64, 96, 128)  # of AAC, a channel
_CODED = 0.5  # chance that what clicks were put into is coded as well


@dataclass(frozen=True)
class Examples:
    """Impulses of some clips.

    Attributes:
        impulses: float32 [N, INPUTS].
        severity: int8 [N]: place in SEVERITIES of the click that it is, or NONE.
        clear: bool [N]: whether the detector asks the net about it.
        moment: [N] number of the half second of sound that it is in; of no other clip.
        source: [N] of each.
        hours: of clean sound, by source.
    """

    impulses: npt.NDArray[np.float32]
    severity: npt.NDArray[np.int8]
    clear: npt.NDArray[np.bool_]
    moment: npt.NDArray[np.int64]
    source: npt.NDArray[np.str_]
    hours: dict[str, float]

    @classmethod
    def read(cls, paths: Sequence[tuple[str, Path]]) -> Examples:
        """Of files, each with the name of its source."""
        parts: dict[str, list[npt.NDArray[Any]]] = {
            name: [] for name in ("impulses", "severity", "clear", "moment")
        }
        sources: list[str] = []
        hours: dict[str, float] = {}
        first = 0
        for source, path in paths:
            with np.load(path) as held:
                for name, part in parts.items():
                    part.append(held[name])
                count = len(held["severity"])
                hours[source] = hours.get(source, 0.0) + float(held["seconds"]) / 3600
            parts["moment"][-1] = parts["moment"][-1] + first
            first = int(parts["moment"][-1].max(initial=first)) + 1
            sources += [source] * count
        return cls(
            np.concatenate(parts["impulses"]).astype(np.float32),
            np.concatenate(parts["severity"]),
            np.concatenate(parts["clear"]),
            np.concatenate(parts["moment"]),
            np.array(sources),
            hours,
        )

    def of(self, sources: set[str]) -> Examples:
        """Those of some sources."""
        here = np.isin(self.source, sorted(sources))
        return Examples(
            self.impulses[here], self.severity[here], self.clear[here], self.moment[here],
            self.source[here], {name: h for name, h in self.hours.items() if name in sources},
        )  # fmt: skip


def write(name: str, file: Path, _: tuple[Path, ...], seed: int, path: Path) -> None:
    """Write the examples of a clip, see `training.sounds.Write`."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    impulses: list[Float32] = []
    facts: list[tuple[int, bool, float]] = []  # severity, clear, time
    problems: list[str] = []
    begun = heard = 0.0  # seconds of all, and of what is clean
    for severity, sound, put_in, rate in _versions(Clean(file), rng, problems):
        length = sound.shape[1] / rate
        heard += length if severity == NONE else 0.0
        sound_format = SoundFormat(0, rate, len(sound), "mono" if len(sound) == 1 else "stereo")
        detector = ClickDetector(ClickSettings(), sound_format)
        for impulse in detector.impulses(sound):
            is_one = bool(len(put_in)) and np.abs(put_in - impulse.centre).min() < _NEAR
            if is_one == (severity == NONE):  # what else is in a damaged clip is in the clean one
                continue
            impulses.append(detector.inputs(sound, impulse))
            facts.append(
                (severity, detector.is_clear(sound, impulse), begun + impulse.centre / rate)
            )
        begun += length + 1.0
    np.savez(
        path,
        impulses=np.array(impulses, np.float16).reshape(-1, INPUTS),
        severity=np.array([one[0] for one in facts], np.int8),
        clear=np.array([one[1] for one in facts], bool),
        moment=np.array([int(2 * one[2]) for one in facts], np.int64),
        seconds=heard,
    )
    path.with_suffix(".json").write_text(json.dumps({"problems": problems}) + "\n")


def _versions(
    clean: Clean, rng: np.random.Generator, problems: list[str]
) -> Iterator[tuple[int, Float32, npt.NDArray[np.int64], int]]:
    """Severity, sound, samples that were changed in it, and rate."""
    rate = clean.sample_rate
    whole = clean.sound[:2, : round(_LONGEST * rate)]
    for severity in (NONE, *range(len(SEVERITIES))):
        sound, put_in = whole.copy(), np.zeros(0, np.int64)
        try:
            if severity != NONE:
                end = whole.shape[1] / rate - 0.5
                order = Order("click", SEVERITIES[severity], 0.5, end, int(rng.integers(2**31)))
                fault = ClickFault(order, clean)
                fault.parameters["impulses"] = _PUT_IN
                sound = fault.sound(sound, rate)
                put_in = np.flatnonzero((sound != whole).any(axis=0))
            yield severity, sound, put_in, rate
            if severity == NONE or rng.random() < _CODED:
                coded = Coder(sound, rate, "aac", int(rng.choice(_KBPS)) * 1000).decode()
                yield severity, coded[:, : sound.shape[1]], put_in, rate
        except (FaultError, SourceError, ValueError, av.error.FFmpegError) as error:
            problems.append(f"{severity}: {type(error).__name__}: {error}")
