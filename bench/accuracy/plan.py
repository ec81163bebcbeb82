"""The plan: every file that will be made, drawn from a seed and written down as JSON."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from corpus.clips import CleanClip
from faults import FAULTS
from faults.base import Fault
from faults.lookalikes import LOOKALIKES
from faults.media import Encoding
from faults.rates import mpeg2_has
from faults.truth import Severity
from pipeline.types import Kind

_VERY_FAST = ("preset", "veryfast")
_ULTRA = (("preset", "ultrafast"), ("x265-params", "log-level=error"))
_H264 = "libx264"
_QSCALE_4 = (("flags", "+qscale"), ("global_quality", str(4 * 118)))  # 118: FF_QP2LAMBDA
# What services deliver: near transparent to lean. name: (suffix, encoding)
ENCODINGS: dict[str, tuple[str, Encoding]] = {
    "h264-20.mp4": (".mp4", Encoding(_H264, (("crf", "20"), _VERY_FAST), "aac")),
    "h264-26.mp4": (".mp4", Encoding(_H264, (("crf", "26"), _VERY_FAST), "aac", 128_000)),
    "h264-23.ts": (".ts", Encoding(_H264, (("crf", "23"), _VERY_FAST), "aac")),
    "h264-20.mkv": (".mkv", Encoding(_H264, (("crf", "20"), _VERY_FAST), "aac")),
    "hevc-26.mp4": (".mp4", Encoding("libx265", (("crf", "26"), *_ULTRA), "aac")),
    "mpeg2-4.ts": (".ts", Encoding("mpeg2video", _QSCALE_4, "mp2", 160_000)),
    "h264-23.m3u8": (".m3u8", Encoding(_H264, (("crf", "23"), _VERY_FAST), "aac")),
    "aac.m4a": (".m4a", Encoding(audio_codec="aac")),
    "mp3.mp3": (".mp3", Encoding(audio_codec="mp3")),
    "flac.flac": (".flac", Encoding(audio_codec="flac")),
    "pcm.wav": (".wav", Encoding(audio_codec="pcm_s16le")),
}
_PICTURE = ("h264-20.mp4", "h264-26.mp4", "h264-23.ts", "h264-20.mkv", "hevc-26.mp4", "mpeg2-4.ts")
_SHARES = (0.28, 0.22, 0.2, 0.14, 0.08, 0.08)
_SOUND = ("aac.m4a", "mp3.mp3", "flac.flac", "pcm.wav")
_MPEG2 = "mpeg2-4.ts"
# faults of files that some containers cannot have
_ONLY: dict[str, tuple[str, ...]] = {
    "segment_missing": ("h264-23.m3u8",),
    "format_change": ("h264-23.ts", "mpeg2-4.ts"),
    "timestamp_jump": ("h264-23.ts", "mpeg2-4.ts"),
    "truncated": ("h264-20.mp4", "h264-26.mp4", "h264-20.mkv"),
}
# Only where someone is seen to speak is there a right offset: music that was put under photographs
# is as right or wrong a second later.
NEEDS_LIPS = (Kind.AV_OFFSET, Kind.AV_DRIFT, Kind.AV_STEP)
# What takes longer to tell than the 10 s of most clips, which are enough for all else
NEEDS_LENGTH = (Kind.AV_DRIFT, Kind.AV_STEP)
_LIPS = {name: fault for name, fault in FAULTS.items() if fault.kind in NEEDS_LIPS}
TRIES = 4  # clips to try where a fault finds no room or reason in the first
PER_SEVERITY, QUICK_PER_SEVERITY = 3, 1
PER_LOOKALIKE, QUICK_PER_LOOKALIKE = 4, 1
What = Literal["fault", "lookalike", "clean"]
WHAT: tuple[What, ...] = get_args(What)


class Option(BaseModel):
    """A clean clip and how its copy is encoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip: str
    encoding: str


class Item(BaseModel):
    """One file to make. The first of its options that works is used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    what: What
    name: str  # of the fault or look-alike; "" for clean
    severity: Severity | None = None
    seed: int
    options: tuple[Option, ...]


class Plan(BaseModel):
    """All items, and what they were drawn from."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    split: str
    quick: bool
    items: list[Item]


def make_plan(
    clips: Sequence[CleanClip],
    seed: int,
    *,
    split: str = "dev",
    quick: bool = False,
    kinds: Sequence[str] = (),
    per_severity: int | None = None,
    per_lookalike: int | None = None,
    what: Sequence[What] = WHAT,
) -> Plan:
    """Draw the plan. The same clips and seed give the same plan.

    Each fault gets `per_severity` files of each severity, over different sources; each look-alike
    `per_lookalike`; every clean clip is there once as it is. `kinds` (of defects, or names of
    faults) leaves out the others' faults, and long clips of speakers where none of them needs lips;
    `what` leaves out the files of the other sorts.
    """
    chosen = [clip for clip in clips if split in ("all", clip.split)]
    lips = not kinds or any(f.kind in kinds or n in kinds for n, f in _LIPS.items())
    items = [_clean(clip, seed) for clip in chosen if lips or clip.kind != "talk"]
    count = per_severity or (QUICK_PER_SEVERITY if quick else PER_SEVERITY)
    for name, fault in FAULTS.items():
        if kinds and fault.kind not in kinds and name not in kinds:
            continue
        by_sound = fault.reads == "sound"
        fitting = [clip for clip in chosen if _fits(fault, clip)]
        for severity in Severity:
            rng = _rng(seed, name, severity)
            queue = _queue(fitting, by_sound, rng)
            step = min(count, len(queue))
            for n in range(step):
                options = _options(queue, n, step, rng, _ONLY.get(name))
                id_ = f"{name}-{severity}-{n}"
                number = int(rng.integers(2**31))
                items.append(
                    Item(id=id_, what="fault", name=name, severity=severity, seed=number,
                         options=options)
                )  # fmt: skip
    for name, lookalike in LOOKALIKES.items():
        if kinds and not any(kind in kinds for kind in lookalike.resembles):
            continue
        rng = _rng(seed, "lookalike", name)
        by_sound = lookalike.reads == "sound"
        fitting = [c for c in chosen if c.kind != "talk" and (c.sound if by_sound else c.picture)]
        queue = _queue(fitting, by_sound, rng)
        usual = QUICK_PER_LOOKALIKE if quick else PER_LOOKALIKE
        few = min(max(usual, per_lookalike or 0), len(queue))
        items += [
            Item(
                id=f"lookalike-{name}-{n}",
                what="lookalike",
                name=name,
                seed=int(rng.integers(2**31)),
                options=_options(queue, n, few, rng, None),
            )
            for n in range(few)
        ][:per_lookalike]  # fewer are the first of the usual ones
    drawn = [item for item in items if item.what in what]
    return Plan(seed=seed, split=split, quick=quick, items=drawn)


def _fits(fault: type[Fault], clip: CleanClip) -> bool:
    """Whether a clip has the streams; `Fault.obstacle` has the last word, on the clip itself."""
    if clip.kind == "talk":
        if fault.kind not in NEEDS_LIPS:
            return False
    elif fault.kind in NEEDS_LENGTH:
        return False
    speaks = clip.kind in ("face", "talk") and clip.sound_source == clip.source
    if fault.kind in NEEDS_LIPS and not speaks:
        return False
    both = fault.reads == "stream" or fault.kind.startswith("av_")
    return (clip.picture or (fault.reads == "sound" and not both)) and (
        clip.sound or fault.reads == "picture"
    )


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32("|".join(names).encode())])


def _clean(clip: CleanClip, seed: int) -> Item:
    rng = _rng(seed, "clean", clip.id)
    option = Option(clip=clip.id, encoding=_encoding(clip, rng, None))
    return Item(id=f"clean-{clip.id}", what="clean", name="", seed=0, options=(option,))


def _queue(clips: Sequence[CleanClip], by_sound: bool, rng: np.random.Generator) -> list[CleanClip]:
    """The clips in an order in which the sources take turns."""
    waiting: dict[str, list[CleanClip]] = {}
    for n in rng.permutation(len(clips)):
        clip = clips[n]
        waiting.setdefault(clip.sound_source if by_sound else clip.source, []).append(clip)
    queue: list[CleanClip] = []
    while waiting:
        for source in list(waiting):
            queue.append(waiting[source].pop())
            if not waiting[source]:
                del waiting[source]
    return queue


def _options(
    queue: Sequence[CleanClip],
    first: int,
    step: int,
    rng: np.random.Generator,
    only: tuple[str, ...] | None,
) -> tuple[Option, ...]:
    """Every `step`-th clip from the `first` on: no two items of a fault share one."""
    clips = queue[first::step][: TRIES * 2]
    return tuple(Option(clip=c.id, encoding=_encoding(c, rng, only)) for c in clips)


def _encoding(clip: CleanClip, rng: np.random.Generator, only: tuple[str, ...] | None) -> str:
    if not clip.picture:
        return str(rng.choice(_SOUND))
    names = _PICTURE if only is None else only
    shares = _SHARES if only is None else (1.0,) * len(only)
    says = mpeg2_has(clip.frame_rate)
    weights = np.array([
        0.0 if name == _MPEG2 and not says else share
        for name, share in zip(names, shares, strict=True)
    ])  # fmt: skip
    return str(rng.choice(names, p=weights / weights.sum()))
