"""Running a plan: make each file, ask FFmpeg, inspect it, keep the figures."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import av
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict

from bench.accuracy import peers
from bench.accuracy.joins import at_join
from bench.accuracy.peers import Measured
from bench.accuracy.plan import ENCODINGS, NEEDS_LIPS, Item
from corpus.clips import CleanClip
from faults import FAULTS
from faults.base import FaultError
from faults.damage import damage, place
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike, SoundLookalike
from faults.media import Clean, encode
from faults.truth import Truth, read_masks
from pipeline.detectors import DETECTORS
from pipeline.inspect import inspect
from pipeline.settings import load
from pipeline.types import Kind

ROOT = Path(__file__).resolve().parent.parent.parent
TIME_LIMIT = 240  # seconds for one item


class Found(BaseModel):
    """A defect that Vidette reported, as far as the bench looks at it."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    start: float
    end: float
    severity: float
    confidence: float
    summary: str
    offset_ms: float | None = None


class Result(BaseModel):
    """What became of one item.

    Attributes:
        clip, encoding: the option that worked.
        file: its name in the folder of the item.
        source: whose content the defect is in.
        frames: PTS of the clean frames, where damage is scored by frame.
        damaged: those of them that are damaged.
        skipped: options that did not work, and why.
        judges: the detectors that look at it; empty: all.
        joins: seconds at which the takes of the clean clip are joined.
        at_joins: missing frames reported there. They are missing: a join of two takes is a jump
            cut. So they are no false alarms, and not in `found`.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    what: Literal["fault", "lookalike", "clean"]
    name: str
    severity: str = ""
    seed: int = 0
    clip: str = ""
    encoding: str = ""
    file: str = ""
    source: str = ""
    duration: float = 0.0
    picture: bool = False
    sound: bool = False
    truths: list[Truth] = []
    found: list[Found] = []
    frames: list[float] = []
    damaged: list[float] = []
    peers: Measured = Measured()
    coverage: str = ""
    error: str | None = None
    skipped: list[str] = []
    judges: tuple[str, ...] = ()
    joins: tuple[float, ...] = ()
    at_joins: list[Found] = []
    seconds: dict[str, float] = {}


class ItemTimeoutError(Exception):
    """An item took too long."""


# Long clips are joined of many takes, whose sound and light differ: they are clean for these alone
_JUDGES_OF_TALKS = tuple(
    name for name, detector in DETECTORS.items() if set(NEEDS_LIPS) & set(detector.kinds)
)
# of the pipeline, what making clips and files reads; the rest of it only judges them
_MAKES = (
    "types",
    "measurements",
    "errors",
    "uri",
    "reach",
    "source",
    "decode",
    "samples",
    "clock",
    "facts",
)
_MAKES_TOO = ("ffmpeg_log", "measure/loudness", "detectors/loudness")


def made_by() -> str:
    """A digest of the code that makes the files and asks FFmpeg."""
    files = [*(ROOT / "faults").rglob("*.py"), *(ROOT / "corpus").glob("*.py")]
    files += [ROOT / "pipeline" / f"{name}.py" for name in (*_MAKES, *_MAKES_TOO)]
    files += [ROOT / "bench/accuracy" / f"{name}.py" for name in ("peers", "plan")]
    return _digest(files)


def judged_by() -> str:
    """A digest of the code whose verdicts are kept, so that a change of it judges anew."""
    return _digest([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "models").rglob("*")])


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(file for file in files if file.is_file() and file.suffix != ".pyc"):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def make_file(item: Item, clip: CleanClip, encoding: str, folder: Path) -> tuple[Path, list[Truth]]:
    """Make the file of an item from one clip.

    Raises:
        FaultError: the fault finds no room or reason in it.
    """
    suffix, codecs = ENCODINGS[encoding]
    target = folder / f"file{suffix}"
    clean = Clean(clip.file)
    if item.what == "fault":
        assert item.severity is not None
        order = place(item.name, item.severity, clean, item.seed)
        return target, damage(clean, target, [order], encoding=codecs).truths
    pictures = clean.pictures() if clean.has_picture else None
    sound = clean.sound.copy() if clean.has_sound else None
    if item.what == "lookalike":
        lookalike = LOOKALIKES[item.name](clean, item.seed)
        if isinstance(lookalike, PictureLookalike) and pictures is not None:
            pictures = lookalike.pictures(pictures)
        elif isinstance(lookalike, SoundLookalike) and sound is not None:
            sound = lookalike.sound(sound, clean.sample_rate)
        else:
            raise FaultError(f"{item.name}: the clip has no {lookalike.reads}")
    if target.suffix == ".m3u8":
        target = target.with_suffix(".ts")
    encode(
        target,
        pictures,
        sound,
        rate=clean.rate,
        sample_rate=clean.sample_rate,
        layout=clean.layout,
        encoding=codecs,
    )
    return target, []


def _settings_of(truths: Sequence[Truth]) -> dict[str, dict[str, Any]]:
    """What the truths say must be set for there to be a verdict: `detector.setting=value`."""
    tables: dict[str, dict[str, Any]] = {}
    for truth in truths:
        wanted = str(truth.parameters.get("setting", ""))
        name, _, value = wanted.partition("=")
        detector, _, field = name.partition(".")
        if field:
            tables.setdefault(detector, {})[field] = yaml.safe_load(value)
    return tables


def _peers_for(item: Item) -> list[peers.Peer]:
    if item.what == "clean":
        return list(peers.PEERS)
    if item.what == "fault":
        return peers.of_kind(FAULTS[item.name].kind)
    resembles = LOOKALIKES[item.name].resembles
    return [peer for peer in peers.PEERS if any(kind in resembles for kind in peer.kinds)]


def _too_long(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise ItemTimeoutError(f"it took more than {TIME_LIMIT} s")


def execute(
    item: Item, clips: dict[str, CleanClip], ffmpeg: bool, made: Path, only: tuple[str, ...] = ()
) -> Result:
    """Do one item. Never raises for what is wrong with it: `error` says so.

    The file and what FFmpeg says of it are kept in `made`, so that after a change of a detector
    there is only the inspection to do.
    """
    signal.signal(signal.SIGALRM, _too_long)
    folder = made / _key(item)
    note = folder / "made.json"
    if note.is_file():
        result = Result.model_validate_json(note.read_text())
    else:
        shutil.rmtree(folder, ignore_errors=True)
        result = _make(item, clips, ffmpeg, folder)
        note.write_text(result.model_dump_json() + "\n")
    if result.error is None:
        signal.alarm(TIME_LIMIT)
        try:
            _judge(result, folder / result.file, only)
        except Exception as error:  # a crash of one is recorded, the rest go on
            result.error = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
    return result


def _make(item: Item, clips: dict[str, CleanClip], ffmpeg: bool, folder: Path) -> Result:
    result = Result(
        id=item.id,
        what=item.what,
        name=item.name,
        severity=str(item.severity or ""),
        seed=item.seed,
    )
    for option in item.options:
        folder.mkdir(parents=True)
        signal.alarm(TIME_LIMIT)
        try:
            _fill(result, item, clips[option.clip], option.encoding, folder, ffmpeg)
        except FaultError as error:
            result.skipped.append(f"{option.clip} {option.encoding}: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            continue
        except Exception as error:  # a crash of one is recorded, the rest go on
            result.error = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        return result
    folder.mkdir(parents=True, exist_ok=True)
    result.error = result.error or "no clip has room for it"
    return result


def _fill(
    result: Result, item: Item, clip: CleanClip, encoding: str, folder: Path, ffmpeg: bool
) -> None:
    started = time.perf_counter()
    path, truths = make_file(item, clip, encoding, folder)
    result.seconds["make"] = round(time.perf_counter() - started, 2)
    result.file = path.relative_to(folder).as_posix()
    result.clip, result.encoding, result.truths = clip.id, encoding, truths
    result.joins = clip.joins
    if clip.kind == "talk":
        result.judges = _JUDGES_OF_TALKS
    by_sound = item.what == "fault" and FAULTS[item.name].reads == "sound"
    by_sound |= item.what == "lookalike" and LOOKALIKES[item.name].reads == "sound"
    result.source = clip.sound_source if by_sound else clip.source
    result.duration, result.picture, result.sound = clip.duration, clip.picture, clip.sound
    if item.what == "fault" and FAULTS[item.name].kind == Kind.BLOCK_CORRUPTION:
        result.frames, result.damaged = _frames(clip, path, truths)
    wanted = _peers_for(item)
    if ffmpeg and wanted and not result.judges:
        started = time.perf_counter()
        try:
            result.peers = peers.measure(
                path,
                wanted,
                picture=clip.picture,
                sample_rate=clip.sample_rate,
                stereo=_is_stereo(path),
            )
        except subprocess.SubprocessError as error:
            result.skipped.append(f"ffmpeg: {error}")
        result.seconds["ffmpeg"] = round(time.perf_counter() - started, 2)


def _is_stereo(path: Path) -> bool:
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            return bool(container.streams.audio) and container.streams.audio[0].channels == 2
    except av.FFmpegError:
        return False


def _judge(result: Result, path: Path, only: tuple[str, ...]) -> None:
    started = time.perf_counter()
    judges = only if not result.judges else [n for n in result.judges if not only or n in only]
    if result.judges and not judges:
        return
    settings = load(threads=1, only=judges, detectors=_settings_of(result.truths))
    seen = inspect(str(path), settings)
    result.seconds["vidette"] = round(time.perf_counter() - started, 2)
    result.coverage = seen.coverage.state
    every = [
        Found(
            kind=defect.kind,
            start=round(defect.start, 4),
            end=round(defect.end, 4),
            severity=defect.severity,
            confidence=defect.confidence,
            summary=defect.summary,
            offset_ms=defect.evidence.get("offset_ms"),
        )
        for defect in seen.defects
    ]
    result.at_joins = [f for f in every if at_join(f.kind, f.start, result.joins, result.truths)]
    result.found = [one for one in every if one not in result.at_joins]


def _frames(
    clip: CleanClip, path: Path, truths: Sequence[Truth]
) -> tuple[list[float], list[float]]:
    times = Clean(clip.file).times
    hit = np.zeros(len(times), bool)
    masks_file = path.with_name(path.name + ".mask.npz")
    masks = read_masks(masks_file) if masks_file.is_file() else {}
    half = float(np.median(np.diff(times))) / 2 if len(times) > 1 else 0.02
    for truth in truths:
        if truth.mask in masks:
            masked = masks[truth.mask]
            for moment in masked.times[masked.shows.any(axis=(1, 2))]:
                hit |= np.abs(times - moment) < half
        else:
            hit |= (times >= truth.start - 1e-6) & (times < truth.end - 1e-6)
    return np.round(times, 4).tolist(), np.round(times[hit], 4).tolist()


# ------------------------------------------------------------------------------------- all of it


def run_all(
    items: Sequence[Item],
    clips: Sequence[CleanClip],
    store: Path,
    made: Path,
    *,
    only: Sequence[str] = (),
    workers: int = 2,
    compare: bool = True,
    told: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Do every item that `store` does not hold yet; returns all results in the plan's order.

    Args:
        items: of the plan.
        clips: that they are made of.
        store: results, one JSON object a line; a run that was interrupted goes on where it was.
            An item that kills its process is tried once more alone, and recorded if it does so
            again.
        made: folder that keeps the files.
        only: detectors that judge; empty: all.
        workers: processes.
        compare: ask FFmpeg's filters as well, where its command is there.
        told: is called with every result that was not there.
    """
    by_id = {clip.id: clip for clip in clips}
    ffmpeg = compare and peers.available() is not None
    done = {result.id: result for result in stored(store)}
    keys = {item.id: _key(item) for item in items}
    waiting = [item for item in items if keys[item.id] not in done]
    store.parent.mkdir(parents=True, exist_ok=True)
    cut_off = store.is_file() and not store.read_bytes().endswith(b"\n")
    with store.open("a") as file:
        if cut_off:
            file.write("\n")
        for item, result in _results(
            waiting,
            partial(execute, clips=by_id, ffmpeg=ffmpeg, made=made, only=tuple(only)),
            workers,
        ):
            key = keys[item.id]
            done[key] = result.model_copy(update={"id": key})
            file.write(json.dumps(done[key].model_dump(mode="json")) + "\n")
            file.flush()
            if told is not None:
                told(result)
    return [done[keys[item.id]].model_copy(update={"id": item.id}) for item in items]


def _key(item: Item) -> str:
    """An item with all that it was drawn from: another seed is another item."""
    digest = hashlib.sha256(item.model_dump_json().encode()).hexdigest()[:10]
    return f"{item.id}@{digest}"


def stored(store: Path) -> list[Result]:
    """The results in a store; a last line that was cut off is left out."""
    results = []
    for line in store.read_text().splitlines() if store.is_file() else []:
        try:
            results.append(Result.model_validate_json(line))
        except ValueError:
            continue
    return results


Job = Callable[[Item], Result]


def _results(items: Sequence[Item], job: Job, workers: int) -> Iterator[tuple[Item, Result]]:
    queue = list(items)
    while queue:
        suspects: list[Item] = []
        with _pool(workers) as pool:
            running: dict[Future[Result], Item] = {}
            broken = False
            while (queue or running) and not broken:
                while queue and len(running) < 2 * workers:
                    item = queue.pop(0)
                    running[pool.submit(job, item)] = item
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    item = running.pop(future)
                    try:
                        yield item, future.result()
                    except BrokenProcessPool:
                        suspects.append(item)
                        broken = True
            suspects += running.values()
        for item in suspects:
            yield item, _alone(item, job)


def _alone(item: Item, job: Job) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(job, item).result()
        except BrokenProcessPool:
            return Result(
                id=item.id,
                what=item.what,
                name=item.name,
                severity=str(item.severity or ""),
                error="it killed its process",
            )


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
