"""How well nets, and FFmpeg's filters, see damage on whole frames of sources never fitted on.

A tile counts as damaged where the damage shows (`faults/visibility.py`), a frame where one tile of
it does. Frames that differ from the undamaged decode without showing it, and frames in which an
intact picture only stands, are neither damaged nor intact: they are counted, and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from fractions import Fraction
from multiprocessing import get_context

import av.filter
import numpy as np
import numpy.typing as npt
import torch

from corpus.clips import CleanClip
from faults.base import FaultError
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike
from faults.media import Clean, Picture
from faults.recode import recode
from faults.visibility import around, shown
from models.frames import frame_score
from models.nets.corruption import CorruptionNet, padded
from pipeline.types import Kind
from training.corruption.synthesis import sequences

_EVERY = 2  # frames
_DAMAGES = 3  # of one encode
# FFmpeg's filters: what they say of a frame
PEERS = {
    "blockdetect": "lavfi.block",
    "bitplanenoise": "lavfi.bitplanenoise.0.1",
    "signalstats TOUT": "lavfi.signalstats.TOUT",
    "signalstats YDIF": "lavfi.signalstats.YDIF",
}
_SUBTLE, _LARGE = 0.01, 0.05  # shares of a frame

_Map = npt.NDArray[np.float32]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """One frame.

    Attributes:
        group: what it was made by.
        area: share of its tiles whose damage shows; 0 for an intact frame.
        scores: per net and per filter.
    """

    group: str
    area: float
    scores: Mapping[str, float]


@dataclass
class Scores:
    """Everything that was scored.

    Attributes:
        frames: one by one.
        tiles: per net: probabilities, and whether damage shows there; other tiles are left out.
        neither: frames that were left out.
    """

    frames: list[Seen] = field(default_factory=list)
    tiles: dict[str, list[tuple[npt.NDArray[np.float16], _Mask]]] = field(default_factory=dict)
    neither: int = 0

    def add(
        self,
        group: str,
        maps: Mapping[str, _Map],
        peers: Mapping[str, float],
        seen: _Mask,
        known: _Mask,
    ) -> None:
        """One frame.

        Args:
            group: what it was made by.
            maps: per net: probabilities [tile rows, tile columns].
            peers: values of FFmpeg's filters.
            seen: tiles whose damage shows; same shape.
            known: tiles that are damaged for all to see, or intact; same shape.
        """
        found = {name: frame_score(values) for name, values in maps.items()}
        self.frames.append(Seen(group, float(seen.mean()), {**found, **peers}))
        for name, values in maps.items():
            pair = values[known].astype(np.float16), seen[known]
            self.tiles.setdefault(name, []).append(pair)

    def extend(self, other: Scores) -> None:
        """Take over what another process scored."""
        self.frames += other.frames
        self.neither += other.neither
        for name, tiles in other.tiles.items():
            self.tiles.setdefault(name, []).extend(tiles)


def score(net: CorruptionNet, picture: Picture, before: Picture) -> _Map:
    """Probabilities of corruption [tile rows, tile columns] of one frame."""
    device = next(net.parameters()).device
    luma, last = (padded(torch.from_numpy(p.luma)[None, None], 16) for p in (picture, before))
    chroma = padded(torch.from_numpy(np.stack([picture.cb, picture.cr]))[None], 8)
    with torch.inference_mode():
        logits = net(luma.to(device), last.to(device), chroma.to(device))
    made: _Map = logits[0, 0].sigmoid().float().cpu().numpy()
    return made


def evaluate(
    nets: Mapping[str, CorruptionNet],
    clips: Sequence[CleanClip],
    seed: int,
    *,
    device: torch.device,
    workers: int,
    told: Callable[[int, int], None],
) -> Scores:
    """Score damaged sequences and look-alikes made of some clips.

    Args:
        nets: by name.
        clips: clean ones.
        seed: of the damage.
        device: where the nets run.
        workers: processes.
        told: is called with the number of clips that are done and of all.
    """
    scores = Scores()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(_of_clip, dict(nets), clip, [seed, n], device)
            for n, clip in enumerate(clips)
        ]
        for n, job in enumerate(as_completed(jobs), 1):
            scores.extend(job.result())
            told(n, len(clips))
    return scores


def _of_clip(
    nets: dict[str, CorruptionNet], clip: CleanClip, seed: list[int], device: torch.device
) -> Scores:
    torch.set_num_threads(1)
    nets = {name: net.to(device).eval() for name, net in nets.items()}
    scores = Scores()
    rng = np.random.default_rng(seed)
    clean = Clean(clip.file)
    try:
        for damaged in sequences(clean.pictures(), clean, rng, _DAMAGES):
            for n, picture, before, peers in _filtered(damaged.delivered):
                one = damaged.found[n]
                if before is None or n % _EVERY:
                    continue
                cleans = around([each.clean for each in damaged.found], n)
                seen = one.mask & shown(one.shown, cleans)
                if one.stale or (one.mask.any() and not seen.any()):
                    scores.neither += 1
                    continue
                maps = {name: score(net, picture, before) for name, net in nets.items()}
                scores.add(damaged.group, maps, peers, seen, seen | ~one.mask)
    except (FaultError, ValueError, RuntimeError):
        pass  # this clip cannot be damaged in the way that was drawn
    for group, pictures in _negatives(clean, rng):
        for n, picture, before, peers in _filtered(pictures):
            if before is None or n % (5 * _EVERY):
                continue
            maps = {name: score(net, picture, before) for name, net in nets.items()}
            nothing = np.zeros([-(-side // 16) for side in picture.luma.shape], bool)
            scores.add(group, maps, peers, nothing, ~nothing)
    return scores


def _filtered(
    pictures: Iterable[Picture],
) -> Iterator[tuple[int, Picture, Picture | None, dict[str, float]]]:
    """Number, picture, the one before, and what FFmpeg's filters say of it."""
    graph: av.filter.Graph | None = None
    before: Picture | None = None
    for n, picture in enumerate(pictures):
        frame = picture.frame()
        frame.pts = n  # the filters do not look at the time
        if graph is None:
            graph = av.filter.Graph()
            chain = [
                graph.add_buffer(
                    width=frame.width, height=frame.height, format=frame.format,
                    time_base=Fraction(1, 25),
                ),
                graph.add("blockdetect"), graph.add("bitplanenoise"),
                graph.add("signalstats", "stat=tout"), graph.add("buffersink"),
            ]  # fmt: skip
            graph.link_nodes(*chain).configure()
        graph.push(frame)
        said = graph.pull().metadata
        yield n, picture, before, {name: float(said[key]) for name, key in PEERS.items()}
        before = picture


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
    """Areas under the ROC curve by frame; of the map: average precision and IoU at 0.5.

    Attributes:
        frame_auc: of all frames.
        baked_auc: of those whose damage is baked in, against all that are intact.
        by_group, by_codec, by_area: likewise.
        tile_ap, tile_iou: NaN for what has no map.
    """

    frame_auc: float
    baked_auc: float
    by_group: dict[str, float]
    by_codec: dict[str, float]
    by_area: dict[str, float]
    tile_ap: float
    tile_iou: float


def figures(scores: Scores, name: str) -> Figures:
    """The figures of a net or of a filter. Intact frames of all groups are the negatives of each.

    A filter is given the direction that suits it: its area is never below a half.
    """
    clean = [one.scores[name] for one in scores.frames if not one.area]
    damaged = [one for one in scores.frames if one.area]
    turned = name in PEERS and auc([one.scores[name] for one in damaged], clean) < 0.5

    def of(some: Iterable[Seen]) -> float:
        found = auc([one.scores[name] for one in some], clean)
        return 1 - found if turned else found

    def by(label: Callable[[Seen], str]) -> dict[str, float]:
        labels = sorted({label(one) for one in damaged})
        return {each: of(one for one in damaged if label(one) == each) for each in labels}

    tile_ap = tile_iou = float("nan")
    if name in scores.tiles:
        probabilities = np.concatenate([p for p, _ in scores.tiles[name]]).astype(np.float32)
        masks = np.concatenate([m for _, m in scores.tiles[name]])
        said = probabilities > 0.5
        union = int((said | masks).sum())
        tile_ap = average_precision(probabilities, masks)
        tile_iou = float((said & masks).sum() / union) if union else float("nan")
    return Figures(
        frame_auc=of(damaged),
        baked_auc=of(one for one in damaged if "-baked" in one.group),
        by_group=by(lambda one: one.group),
        by_codec=by(lambda one: one.group.partition("-")[0]),
        by_area=by(_size),
        tile_ap=tile_ap,
        tile_iou=tile_iou,
    )


def _size(one: Seen) -> str:
    if one.area < _SUBTLE:
        return f"under {_SUBTLE:.0%}"
    return f"{_SUBTLE:.0%} to {_LARGE:.0%}" if one.area < _LARGE else f"{_LARGE:.0%} or more"


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive scores above a negative; ties count half. NaN without both."""
    if not len(positive) or not len(negative):
        return float("nan")
    order = np.sort(np.asarray(negative))
    below = np.searchsorted(order, positive, side="left")
    not_above = np.searchsorted(order, positive, side="right")
    return float((below + not_above).mean() / 2 / len(order))


def average_precision(probabilities: _Map, masks: _Mask) -> float:
    """Mean of the precision over the positives, in the order of the probabilities."""
    order = np.argsort(-probabilities, kind="stable")
    hits = masks[order]
    if not hits.any():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())
