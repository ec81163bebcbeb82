"""FFmpeg's filters for the same defects, as series of values and as intervals.

One run of `ffmpeg` per file gives the values that its filters attach to each frame
(`metadata=print`). A filter that decides by itself does so at its defaults; `operating.py` decides
by a threshold.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from pipeline.types import Kind

WINDOW = 0.1  # seconds of sound in one value
_FLOOR = -120.0  # dB that stands for digital silence
_TARGET, _TOLERANCE, _LIMIT = -23.0, 1.0, -1.0  # EBU R 128: LUFS, LU (live), dBTP
_LARGEST = 600.0  # seconds that one run may take

Row = Mapping[str, str]

# in the order of the chain; signalstats first: it gives every frame a line
_VIDEO = {
    "signalstats": "signalstats=stat=tout+brng",
    "blackframe": "blackframe=amount=0",
    "blackdetect": "blackdetect",
    "freezedetect": "freezedetect",
    "idet": "idet",
    "scdet": "scdet",
    "blockdetect": "blockdetect",
    "blurdetect": "blurdetect",
    "photosensitivity": "photosensitivity=bypass=1",
    "cropdetect": "cropdetect=reset=1",
}
_AUDIO = {
    "silencedetect": "silencedetect",
    "astats": "astats=metadata=1:reset=1",
    "ebur128": "ebur128=metadata=1:peak=true",
    "aphasemeter": "aphasemeter=video=0:phasing=1",
}


class Measured(BaseModel):
    """What FFmpeg said of one file.

    Attributes:
        series: per peer: times in seconds and values; None where a frame has none.
        decided: per peer with a decision of its own: intervals.
    """

    series: dict[str, tuple[list[float], list[float | None]]] = {}
    decided: dict[str, list[tuple[float, float]]] = {}


@dataclass(frozen=True)
class Peer:
    """A filter, or a figure of one, for some kinds of defects.

    Attributes:
        value: of one frame; None where it says nothing.
        above: beyond the threshold is above it, else below.
        decides: the filter's own decision: intervals from (rows, end of the file).
        derive: values to compare with the threshold, from those of all frames.
        every: see one frame of so many (for what is dear and changes slowly).
    """

    name: str
    kinds: tuple[Kind, ...]
    stream: Literal["video", "audio"]
    filters: tuple[str, ...]
    value: Callable[[Row], float | None]
    above: bool = True
    decides: Callable[[Sequence[tuple[float, Row]], float], list[tuple[float, float]]] | None = None
    derive: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]] | None = None
    every: int = 1


def available() -> str | None:
    """FFmpeg's version, None where it is not installed."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]


# ----------------------------------------------------------------------------- values of a frame


def _number(key: str) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        text = row.get(key)
        if text is None:
            return None
        number = float(text)
        return number if math.isfinite(number) else (None if math.isnan(number) else _FLOOR)

    return value


def _channels(row: Row, figure: str) -> list[float]:
    found = []
    for channel in range(1, 9):
        text = row.get(f"lavfi.astats.{channel}.{figure}")
        if text is None:
            break
        found.append(max(float(text), _FLOOR) if not math.isnan(float(text)) else _FLOOR)
    return found


def _apart(row: Row) -> float | None:
    levels = _channels(row, "RMS_level")
    return max(levels) - min(levels) if len(levels) > 1 else None


def _offset(row: Row) -> float | None:
    offsets = [abs(float(row[k])) for k in row if re.fullmatch(r"lavfi\.astats\.\d\.DC_offset", k)]
    return max(offsets, default=None)


def _click(row: Row) -> float | None:
    """Largest step between two samples, relative to the usual one."""
    largest, usual = _channels(row, "Max_difference"), _channels(row, "RMS_difference")
    ratios = [a / b for a, b in zip(largest, usual, strict=True) if b > 0]
    return max(ratios, default=None)


def _combed(row: Row) -> float | None:
    frame = row.get("lavfi.idet.multiple.current_frame")
    return None if frame is None else float(frame in ("tff", "bff"))


def _cropped(row: Row) -> float | None:
    try:
        return float(row["lavfi.cropdetect.w"]) * float(row["lavfi.cropdetect.h"])
    except KeyError:
        return None


def _kept(row: Row) -> float | None:
    return float(row.get("dropped", "0"))


def _true_peak(row: Row) -> float | None:
    text = row.get("lavfi.r128.true_peak")
    return None if text is None else 20 * math.log10(max(float(text), 1e-6))


def _unlike_most(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Relative distance from the median, for boxes."""
    middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 1.0
    return np.asarray(np.abs(values - middle) / max(middle, 1.0))


def _from_median(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from the median level in LU, where there is sound."""
    heard = values > -70
    middle = float(np.median(values[heard])) if heard.any() else 0.0
    return np.asarray(np.where(heard, np.abs(values - middle), 0.0))


def _last_off(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The integrated loudness is that of the last frame: its distance from the target, for all."""
    return np.full(len(values), abs(float(values[-1]) - _TARGET) if len(values) else 0.0)


def _new_peaks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The running maximum where it rises."""
    before = np.concatenate(([-np.inf], values[:-1])) if len(values) else values
    return np.asarray(np.where(values > before, values, _FLOOR))


# -------------------------------------------------------------------------------- own decisions


def _spans(
    start: str, end: str
) -> Callable[[Sequence[tuple[float, Row]], float], list[tuple[float, float]]]:
    """Intervals from a pair of metadata keys; one that stays open lasts to the end."""

    def decides(rows: Sequence[tuple[float, Row]], last: float) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        begun: float | None = None
        for _, row in rows:
            if end in row and begun is not None:
                found.append((begun, float(row[end])))
                begun = None
            if start in row:
                begun = float(row[start])
        if begun is not None:
            found.append((begun, last))
        return found

    return decides


def _where(
    holds: Callable[[Row], bool], max_gap: float = 0.0
) -> Callable[[Sequence[tuple[float, Row]], float], list[tuple[float, float]]]:
    def decides(rows: Sequence[tuple[float, Row]], last: float) -> list[tuple[float, float]]:
        times = np.array([time for time, _ in rows])
        yes = np.array([holds(row) for _, row in rows], bool)
        return runs(times, yes, last, 0.0, max_gap)

    return decides


def _loud(rows: Sequence[tuple[float, Row]], last: float) -> list[tuple[float, float]]:
    levels = [float(row["lavfi.r128.I"]) for _, row in rows if "lavfi.r128.I" in row]
    off = bool(levels) and abs(levels[-1] - _TARGET) > _TOLERANCE
    return [(0.0, last)] if off else []


def _over(row: Row) -> bool:
    return (_true_peak(row) or _FLOOR) > _LIMIT


PEERS: tuple[Peer, ...] = (
    Peer("blackdetect", (Kind.BLACK,), "video", ("blackdetect", "blackframe"),
         _number("lavfi.blackframe.pblack"),
         decides=_spans("lavfi.black_start", "lavfi.black_end")),
    Peer("freezedetect", (Kind.FREEZE,), "video", ("freezedetect",),
         _number("lavfi.signalstats.YDIF"), above=False,
         decides=_spans("lavfi.freezedetect.freeze_start", "lavfi.freezedetect.freeze_end")),
    Peer("mpdecimate", (Kind.REPEATED_FRAMES,), "video", ("mpdecimate",), _kept,
         decides=_where(lambda row: row.get("dropped") == "1", 0.5)),
    Peer("scdet", (Kind.GLITCH,), "video", ("scdet",), _number("lavfi.scd.score")),
    Peer("signalstats TOUT", (Kind.NOISE, Kind.GLITCH), "video", (),
         _number("lavfi.signalstats.TOUT")),
    Peer("signalstats BRNG", (Kind.ILLEGAL_LEVELS,), "video", (),
         _number("lavfi.signalstats.BRNG")),
    Peer("blockdetect", (Kind.BLOCKINESS, Kind.BLOCK_CORRUPTION), "video", ("blockdetect",),
         _number("lavfi.block")),
    Peer("blurdetect", (Kind.BLUR,), "video", ("blurdetect",), _number("lavfi.blur"), every=4),
    Peer("idet", (Kind.COMBING,), "video", ("idet",), _combed,
         decides=_where(lambda row: _combed(row) == 1.0)),
    Peer("photosensitivity", (Kind.FLASHING,), "video", ("photosensitivity",),
         _number("lavfi.photosensitivity.badness"),
         decides=_where(lambda row: float(row.get("lavfi.photosensitivity.factor", 1)) < 1, 0.5)),
    Peer("cropdetect", (Kind.LETTERBOX_CHANGE,), "video", ("cropdetect",), _cropped,
         derive=_unlike_most),
    Peer("silencedetect", (Kind.SILENCE, Kind.DROPOUT), "audio", ("silencedetect", "astats"),
         _number("lavfi.astats.Overall.RMS_level"), above=False,
         decides=_spans("lavfi.silence_start", "lavfi.silence_end")),
    Peer("astats levels", (Kind.DEAD_CHANNEL,), "audio", ("astats",), _apart),
    Peer("astats Flat_factor", (Kind.CLIPPING,), "audio", ("astats",),
         _number("lavfi.astats.Overall.Flat_factor")),
    Peer("astats DC_offset", (Kind.DC_OFFSET,), "audio", ("astats",), _offset),
    Peer("astats Noise_floor", (Kind.HISS,), "audio", ("astats",),
         _number("lavfi.astats.Overall.Noise_floor")),
    Peer("astats Max_difference", (Kind.CLICK,), "audio", ("astats",), _click),
    Peer("aphasemeter out of phase", (Kind.PHASE_INVERSION,), "audio", ("aphasemeter",),
         _number("lavfi.aphasemeter.phase"), above=False,
         decides=_spans("lavfi.aphasemeter.out_phase_start", "lavfi.aphasemeter.out_phase_end")),
    Peer("aphasemeter mono", (Kind.FALSE_STEREO,), "audio", ("aphasemeter",),
         _number("lavfi.aphasemeter.phase"),
         decides=_spans("lavfi.aphasemeter.mono_start", "lavfi.aphasemeter.mono_end")),
    Peer("ebur128 I", (Kind.LOUDNESS,), "audio", ("ebur128",), _number("lavfi.r128.I"),
         derive=_last_off, decides=_loud),
    Peer("ebur128 true peak", (Kind.TRUE_PEAK,), "audio", ("ebur128",), _true_peak,
         derive=_new_peaks, decides=_where(_over)),
    Peer("ebur128 M", (Kind.LEVEL_JUMP,), "audio", ("ebur128",), _number("lavfi.r128.M"),
         derive=_from_median),
)  # fmt: skip
BY_NAME = {peer.name: peer for peer in PEERS}


def of_kind(kind: str) -> list[Peer]:
    """The peers for one kind."""
    return [peer for peer in PEERS if kind in peer.kinds]


# ------------------------------------------------------------------------------------ measuring


def measure(
    path: Path, peers: Iterable[Peer], *, picture: bool, sample_rate: int, stereo: bool = True
) -> Measured:
    """Run the filters of some peers over a file.

    Args:
        path: the file.
        peers: which.
        picture: whether the file has one.
        sample_rate: of its sound, Hz; 0: there is none.
        stereo: whether it has two channels; FFmpeg would make two of one for its phase meter.

    Raises:
        subprocess.SubprocessError: FFmpeg fails or takes too long.
    """
    wanted = [
        peer
        for peer in peers
        if (picture if peer.stream == "video" else sample_rate > 0)
        and (stereo or "aphasemeter" not in peer.filters)
    ]
    result = Measured()
    for stream, every in sorted({(peer.stream, peer.every) for peer in wanted}):
        of_stream = [peer for peer in wanted if (peer.stream, peer.every) == (stream, every)]
        names = {name for peer in of_stream for name in peer.filters}
        rows = _rows(path, stream, names, sample_rate, every)
        end = rows[-1][0] + _step(rows) if rows else 0.0
        for peer in of_stream:
            told = [(time, peer.value(row)) for time, row in rows]
            seen = [
                (round(time, 4), None if value is None else float(f"{value:.5g}"))
                for time, value in told
                if value is not None
            ]
            result.series[peer.name] = ([t for t, _ in seen], [v for _, v in seen])
            if peer.decides is not None:
                result.decided[peer.name] = [
                    (round(a, 4), round(b, 4)) for a, b in peer.decides(rows, end)
                ]
    return result


def _rows(
    path: Path, stream: str, names: set[str], sample_rate: int, every: int
) -> list[tuple[float, Row]]:
    with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
        command = ["ffmpeg", "-hide_banner", "-nostats", "-v", "error", "-threads", "1"]
        command += ["-filter_threads", "1", "-i", str(path)]
        if stream == "video":
            chain = [f"framestep={every}"] if every > 1 else []
            chain += [_VIDEO[name] for name in _VIDEO if name in names or name == "signalstats"]
            chain.append("metadata=print:file=all.txt")
            if "mpdecimate" in names:
                chain += ["mpdecimate", "metadata=print:file=kept.txt"]
            command += ["-map", "0:v:0", "-vf", ",".join(chain), "-fps_mode", "passthrough"]
        else:
            chain = [f"asetnsamples=n={round(WINDOW * sample_rate)}:p=0"]
            chain += [_AUDIO[name] for name in _AUDIO if name in names]
            chain.append("ametadata=print:file=all.txt")
            command += ["-map", "0:a:0", "-af", ",".join(chain)]
        subprocess.run(
            [*command, "-f", "null", "-"],
            cwd=folder,
            capture_output=True,
            check=False,  # it says so of damaged files, and has measured what it could
            timeout=_LARGEST,
        )
        written = Path(folder) / "all.txt"
        rows = parse(written.read_text()) if written.is_file() else []
        if "mpdecimate" in names:
            left = Path(folder) / "kept.txt"
            kept = {time for time, _ in parse(left.read_text())} if left.is_file() else set()
            rows = [(t, {**row, "dropped": "0" if t in kept else "1"}) for t, row in rows]
        return rows


def parse(text: str) -> list[tuple[float, Row]]:
    """The lines of `metadata=print`: (seconds, keys and values) of each frame."""
    rows: list[tuple[float, Row]] = []
    current: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("frame:"):
            current = {}
            stamp = line.rpartition("pts_time:")[2].strip()
            if stamp != "NOPTS":
                rows.append((float(stamp), current))
        elif "=" in line:
            key, _, value = line.partition("=")
            current[key] = value
    return rows


def _step(rows: Sequence[tuple[float, Row]]) -> float:
    times = np.array([time for time, _ in rows])
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04


# ------------------------------------------------------------------------------------- deciding


def runs(
    times: npt.NDArray[np.float64],
    holds: npt.NDArray[np.bool_],
    end: float,
    min_duration: float,
    max_gap: float,
) -> list[tuple[float, float]]:
    """Intervals in which a condition held; a row lasts until the next one."""
    if not len(times):
        return []
    ends = np.append(times[1:], max(end, float(times[-1])))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], holds, [False])).astype(np.int8)))
    joined: list[tuple[float, float]] = []
    for first, stop in edges.reshape(-1, 2):
        start, last = float(times[first]), float(ends[stop - 1])
        if joined and start - joined[-1][1] <= max_gap + 1e-6:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((start, last))
    return [(a, b) for a, b in joined if b - a >= min_duration - 1e-6]
