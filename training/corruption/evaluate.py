"""How well the net sees damage on whole frames of sources that it was never fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from corpus.clips import CleanClip
from faults.base import FaultError
from faults.bitstream import Codec
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike
from faults.media import Clean, Picture
from faults.recode import recode
from models.corruption import CorruptionNet, padded
from models.frames import frame_score
from pipeline.types import Kind
from training.corruption.synthesis import Options, sequences

_EVERY = 2  # frames
_DAMAGES = 3  # of one encode


@dataclass
class Scores:
    """Scores of frames and of tiles, by group.

    Attributes:
        frames: group: (score, damaged or not) of each frame.
        tiles: (probability, damaged or not) of tiles of damaged frames and of clean ones.
    """

    frames: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)
    tiles: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]] = field(default_factory=list)

    def add(
        self, group: str, probabilities: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]
    ) -> None:
        """One frame: both [tile rows, tile columns]."""
        score = frame_score(probabilities)
        self.frames.setdefault(group, []).append((score, bool(mask.any())))
        self.tiles.append((probabilities.ravel(), mask.ravel()))


def score(net: CorruptionNet, picture: Picture, before: Picture) -> npt.NDArray[np.float32]:
    """Probabilities of corruption [tile rows, tile columns] of one frame."""
    device = next(net.parameters()).device
    luma, last = (padded(torch.from_numpy(p.luma)[None, None], 16) for p in (picture, before))
    chroma = padded(torch.from_numpy(np.stack([picture.cb, picture.cr]))[None], 8)
    with torch.inference_mode():
        logits = net(luma.to(device), last.to(device), chroma.to(device))
    made: npt.NDArray[np.float32] = logits[0, 0].sigmoid().float().cpu().numpy()
    return made


def evaluate(
    net: CorruptionNet,
    clips: Sequence[CleanClip],
    seed: int,
    *,
    codecs: tuple[Codec, ...] = tuple(Codec),
    told: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score damaged sequences and look-alikes made of some clips.

    Frames in which an intact picture only stands are left out: they are frozen, not corrupt.
    """
    scores = Scores()
    for n, clip in enumerate(clips):
        rng = np.random.default_rng([seed, n])
        clean = Clean(clip.file)
        try:
            for damaged in sequences(
                clean.pictures(), clean, rng, Options(codecs=codecs), _DAMAGES
            ):
                before: Picture | None = None
                for index, picture in enumerate(damaged.delivered):
                    one = damaged.found[index]
                    if before is not None and index % _EVERY == 0 and not one.stale:
                        scores.add(damaged.group, score(net, picture, before), one.mask)
                    before = picture
        except (FaultError, ValueError, RuntimeError):
            continue
        finally:
            if told is not None:
                told(n + 1, len(clips))
        for group, pictures in _negatives(clean, rng):
            before = None
            for index, picture in enumerate(pictures):
                if before is not None and index % (5 * _EVERY) == 0:
                    probabilities = score(net, picture, before)
                    scores.add(group, probabilities, np.zeros(probabilities.shape, bool))
                before = picture
    return scores


def _negatives(clean: Clean, rng: np.random.Generator) -> Iterator[tuple[str, Iterator[Picture]]]:
    """A look-alike of block corruption, encoded as services do."""
    names = sorted(
        name
        for name, one in LOOKALIKES.items()
        if issubclass(one, PictureLookalike) and Kind.BLOCK_CORRUPTION in one.resembles
    )
    name = names[int(rng.integers(len(names)))]
    lookalike = LOOKALIKES[name](clean, int(rng.integers(2**31)))
    assert isinstance(lookalike, PictureLookalike)
    options = {"preset": "veryfast", "crf": str(int(rng.integers(20, 30)))}
    yield name, recode(lookalike.pictures(clean.pictures()), "libx264", options)


@dataclass(frozen=True)
class Figures:
    """Area under the ROC curve by frame, and of the map: average precision and IoU at 0.5."""

    frame_auc: float
    frames: int
    by_group: dict[str, float]
    baked_auc: float
    tile_ap: float
    tile_iou: float


def figures(scores: Scores) -> Figures:
    """The figures of some scores. Clean frames of all groups are the negatives of each."""
    everything = [one for group in scores.frames.values() for one in group]
    clean = [s for s, damaged in everything if not damaged]
    by_group = {
        name: auc([s for s, damaged in group if damaged], clean)
        for name, group in sorted(scores.frames.items())
        if any(damaged for _, damaged in group)
    }
    baked = [s for name, group in scores.frames.items() if "baked" in name for s, d in group if d]
    probabilities = np.concatenate([p for p, _ in scores.tiles])
    masks = np.concatenate([m for _, m in scores.tiles])
    said = probabilities > 0.5
    union = int((said | masks).sum())
    return Figures(
        frame_auc=auc([s for s, damaged in everything if damaged], clean),
        frames=len(everything),
        by_group=by_group,
        baked_auc=auc(baked, clean),
        tile_ap=average_precision(probabilities, masks),
        tile_iou=float((said & masks).sum() / union) if union else float("nan"),
    )


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive scores above a negative; ties count half. NaN without both."""
    if not len(positive) or not len(negative):
        return float("nan")
    order = np.sort(np.asarray(negative))
    below = np.searchsorted(order, positive, side="left")
    not_above = np.searchsorted(order, positive, side="right")
    return float((below + not_above).mean() / 2 / len(order))


def average_precision(
    probabilities: npt.NDArray[np.float32], masks: npt.NDArray[np.bool_]
) -> float:
    """Mean of the precision over the positives, in the order of the probabilities."""
    order = np.argsort(-probabilities, kind="stable")
    hits = masks[order]
    if not hits.any():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())
