"""What a GPU does: decoding, statistics, nets, inspections, beside the CPU of the same machine.

    python -m bench.gpu [--price 2.5] [--quick] [--device cpu]

Makes 1080p30 clips (H.264, HEVC, HEVC of 10 bits), and measures: how many frames a second NVDEC
alone decodes, by the number of sessions; what the statistics take, against the bandwidth of a
copy on the same card; what each net takes, and which share that is of the rate of a matrix product
in the same precision, as measured; whole inspections with every detector, in several processes of
several streams each, against what the decoder alone did in the same run; and the same inspections
on the CPU. Writes bench/results/gpu-<card>.md. --device cpu runs everything but NVDEC on the CPU
and writes nothing: that tries the bench itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import av
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.speed import make_clip
from models.frames import BUCKET, padded_shape
from models.nets.corruption import WEIGHTS, load
from models.nets.sync import SEEN
from models.nets.sync import load as load_sync
from models.runtime import CorruptionRuntime
from pipeline.hardware import Device, accelerator
from pipeline.inspect import inspect
from pipeline.measure.frame import MAPS
from pipeline.measure.tensors import look_pass, luma_pass
from pipeline.settings import chosen as settings_of
from pipeline.source import Limits, open_source

RESULTS = Path(__file__).parent / "results"
HEIGHT, WIDTH, RATE = 1080, 1920, 30
_CODECS = {
    "H.264": None,
    "HEVC": ("libx265", "yuv420p"),
    "HEVC, 10 bits": ("libx265", "yuv420p10le"),
}
_SESSIONS = (1, 2, 4, 8, 16, 32)
_PROCESSES, _STREAMS = (1, 4, 8, 16), 4  # streams a process
_DECODE_SECONDS, _PASS_SECONDS = 4.0, 1.0  # for each figure


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--price", type=float, default=2.5, help="of an hour of the GPU, in USD")
    parser.add_argument("--quick", action="store_true", help="shorter, nothing is written")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    asked = parser.parse_args()
    device: Device = asked.device
    if device == "cuda":
        _, obstacle = accelerator("cuda")
        if obstacle:
            raise SystemExit(f"there is nothing to measure: {obstacle}")
    card = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    with tempfile.TemporaryDirectory(prefix="vidette-gpu-") as folder:
        clips = _clips(Path(folder), quick=asked.quick)
        parts = [
            f"# GPU path: {card}\n",
            f"torch {torch.__version__}, PyAV {av.__version__}, {os.cpu_count()} CPU cores; "
            f"1920x1080, {RATE} frames a second. Measured by `python -m bench.gpu`.\n",
        ]
        ceiling = _decoding(clips, device, asked.quick, parts)
        _statistics(device, parts)
        _nets(device, parts)
        _inspections(clips["H.264"], device, ceiling, asked.price, asked.quick, parts)
    text = "\n".join(parts)
    print(text)
    if device == "cuda" and not asked.quick:
        name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
        (RESULTS / f"gpu-{name}.md").write_text(text)


def _clips(folder: Path, *, quick: bool) -> dict[str, Path]:
    """One clip for each codec, of the same pictures."""
    first = folder / "h264.mp4"
    make_clip(first, 2.0, {"crf": "23"} if quick else {"b": "7M"})
    clips = {"H.264": first}
    for name, how in _CODECS.items():
        if how is None or quick:
            continue
        clips[name] = folder / f"{re.sub('[^a-z0-9]+', '', name.lower())}.mp4"
        encoder, pixels = how
        options = {"preset": "veryfast", "crf": "26", "x265-params": "log-level=error"}
        with av.open(str(first), "r") as source, av.open(str(clips[name]), "w") as target:
            stream = cast(av.VideoStream, target.add_stream(encoder, rate=RATE, options=options))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
            for n, frame in enumerate(source.decode(video=0)):
                frame.pts, frame.time_base = n, Fraction(1, RATE)
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
    return clips


# ------------------------------------------------------------------------------------ decoding


def _decoding(clips: dict[str, Path], device: Device, quick: bool, parts: list[str]) -> float:
    """Frames a second of the decoder alone; returns the best of H.264."""
    sessions = _SESSIONS[:2] if quick else _SESSIONS
    best = 0.0
    lines = [
        "## Decoding alone\n",
        "| codec | " + " | ".join(f"{n} sessions" for n in sessions) + " | engines busy |",
        "| --- |" + " --- |" * (len(sessions) + 1),
    ]
    for name, clip in clips.items():
        rates = []
        with _decoder_use() as use:
            rates = [_decode_rate(clip, device, n, quick) for n in sessions]
        best = max(best, *rates) if name == "H.264" else best
        busy = f"{max(use):.0f} %" if use else "not known"
        lines.append(f"| {name} | " + " | ".join(f"{rate:.0f}" for rate in rates) + f" | {busy} |")
    parts += [*lines, ""]
    return best


def _decode_rate(clip: Path, device: Device, sessions: int, quick: bool) -> float:
    """Frames a second of so many sessions at once, each decoding the clip over and over."""
    until = time.monotonic() + (0.5 if quick else _DECODE_SECONDS)

    def one(_: int) -> int:
        count = 0
        while time.monotonic() < until:
            with open_source(str(clip), Limits(), accelerator(device)[0]) as container:
                for _frame in container.decode(video=0):
                    count += 1
                    if time.monotonic() >= until:
                        break
        return count

    began = time.monotonic()
    with ThreadPoolExecutor(sessions) as pool:
        count = sum(pool.map(one, range(sessions)))
    return count / (time.monotonic() - began)


@contextmanager
def _decoder_use() -> Iterator[list[float]]:
    """Percent of NVDEC in use meanwhile, twice a second, where nvidia-smi tells."""
    seen: list[float] = []
    program = shutil.which("nvidia-smi")
    done = threading.Event()

    def watch() -> None:
        command = [str(program), "--query-gpu=utilization.decoder", "--format=csv,noheader,nounits"]
        while not done.wait(0.5):
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            seen.extend(float(word) for word in said.split()[:1] if word.isdigit())

    thread = threading.Thread(target=watch, daemon=True)
    if program is not None:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        if program is not None:
            thread.join()


# ------------------------------------------------------------------------ statistics and nets


def _seconds(work: Callable[[], object], device: Device) -> float:
    """Seconds of one call, over about a second of calls."""
    work()
    calls, began = 0, time.perf_counter()
    if device == "cuda":
        torch.cuda.synchronize()
        began = time.perf_counter()
    while time.perf_counter() - began < _PASS_SECONDS:
        work()
        calls += 1
        if device == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls


def _statistics(device: Device, parts: list[str]) -> None:
    """The passes over frames, against a copy."""
    frames = 16 if device == "cuda" else 2
    generator = torch.Generator(device).manual_seed(1)
    planes = torch.randint(
        256, (frames + 1, HEIGHT, WIDTH), dtype=torch.uint8, device=device, generator=generator
    )
    tiles = (-(-HEIGHT // 16), -(-WIDTH // 16))
    maps = torch.empty(frames, MAPS, *tiles, device=device)
    profiles = torch.empty(frames, HEIGHT, device=device)
    block = torch.empty(
        (1 << 30) if device == "cuda" else (1 << 26), dtype=torch.uint8, device=device
    )
    other = torch.empty_like(block)
    copy = 2 * block.numel() / _seconds(lambda: other.copy_(block), device) / 1e9
    lines = [
        "## Statistics\n",
        f"A copy within the device moves {copy:.0f} GB/s (read and written).\n",
        "| pass | µs a frame | frames a second | GB/s of luma read | share of the copy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, work in (
        (
            "every frame (luma, motion, detail, comb, rows)",
            lambda: luma_pass(planes, maps, profiles),
        ),
        ("closer look (five a second)", lambda: look_pass(planes[1:])),
    ):
        took = _seconds(work, device) / frames
        read = HEIGHT * WIDTH / took / 1e9
        lines.append(
            f"| {name} | {took * 1e6:.0f} | {1 / took:.0f} | {read:.1f} | {read / copy:.1%} |"
        )
    parts += [*lines, ""]


def _nets(device: Device, parts: list[str]) -> None:
    """Each net alone, against a matrix product of the same precision."""
    lines = [
        "## Nets\n",
        "| net | precision | batch | a second | GFLOP each | share of a matrix product's rate |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    runtime = CorruptionRuntime(device)
    high, wide = padded_shape(HEIGHT, WIDTH)
    net = load(WEIGHTS)
    tile = torch.zeros(1, 1, BUCKET, BUCKET)
    # fully convolutional: what a small frame takes is multiplied
    flops = _flops(lambda: net(tile, tile, torch.zeros(1, 2, BUCKET // 2, BUCKET // 2)))
    flops *= high * wide / BUCKET**2
    rate = _matrix_rate(runtime.dtype, device)
    for batch in (1, 4, 16) if device == "cuda" else (1,):
        luma = torch.randint(256, (batch, 1, high, wide), dtype=torch.uint8, device=device)
        chroma = torch.randint(
            256, (batch, 2, high // 2, wide // 2), dtype=torch.uint8, device=device
        )
        score = partial(runtime.score, luma, luma, chroma)
        took = _seconds(score, device) / batch
        lines.append(
            f"| corruption, 1080p frames | {_name(runtime.dtype)} | {batch} | {1 / took:.0f} | "
            f"{flops / 1e9:.1f} | {flops / took / rate:.1%} |"
        )
    windows = 64 if device == "cuda" else 2
    listener = load_sync().to(device).eval()
    mouths = torch.rand(windows, 125, SEEN, SEEN, device=device) * 255
    sound = torch.rand(windows, 80_000, device=device) - 0.5

    def sync() -> None:
        with torch.inference_mode():
            listener.see(mouths)
            listener.hear(listener.spectrum(sound))

    took, flops = _seconds(sync, device) / windows, _flops(sync) / windows
    lines.append(
        f"| sync, windows of 5 s | float32 | {windows} | {1 / took:.0f} | {flops / 1e9:.1f} | "
        f"{flops / took / _matrix_rate(torch.float32, device):.1%} |"
    )
    parts += [*lines, ""]


def _flops(work: Callable[[], object]) -> float:
    """Floating-point operations of one call, twice the multiplications."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _matrix_rate(dtype: torch.dtype, device: Device) -> float:
    """Floating-point operations a second of a large matrix product."""
    side = 8192 if device == "cuda" else 1024
    one = torch.randn(side, side, device=device).to(dtype)
    return 2.0 * side**3 / _seconds(lambda: one @ one, device)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# --------------------------------------------------------------------------- whole inspections


@dataclass(frozen=True)
class _Row:
    """Inspections in so many processes."""

    processes: int
    streams: int
    frames_per_s: float
    cpu_per_frame: float
    decoding: float  # share of the time that a stream waits for frames and their statistics


def _inspections(
    clip: Path, device: Device, ceiling: float, price: float, quick: bool, parts: list[str]
) -> None:
    cores = os.cpu_count() or 1
    counts = [n for n in _PROCESSES if n <= cores] if not quick else [1]
    rows = [_inspected(clip, device, n, 1 if quick else _STREAMS) for n in counts]
    lines = [
        "## Whole inspections\n",
        f"Every detector, H.264; decoding alone did {ceiling:.0f} frames a second in this run. The "
        "corruption net is no part of an inspection yet.\n",
        "| on | processes | streams each | frames a second | 1080p30 streams | share of decoding "
        "alone | CPU ms a frame | time in decoding and measuring |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line("GPU" if device == "cuda" else "CPU", row, ceiling) for row in rows]
    best = max(row.frames_per_s for row in rows) / RATE
    if device == "cuda":
        beside = _inspected(clip, "cpu", cores, 1)
        lines.append(_line("CPU", beside, ceiling))
    lines += [
        "",
        f"At {price:.2f} USD for an hour of the GPU, a stream-hour of 1080p30 costs "
        f"{price / best:.4f} USD with the best of these rows ({best:.1f} streams in real time).",
    ]
    parts += [*lines, ""]


def _line(on: str, row: _Row, ceiling: float) -> str:
    return (
        f"| {on} | {row.processes} | {row.streams} | {row.frames_per_s:.0f} | "
        f"{row.frames_per_s / RATE:.1f} | {row.frames_per_s / ceiling:.0%} | "
        f"{row.cpu_per_frame * 1e3:.1f} | {row.decoding:.0%} |"
    )


def _inspected(clip: Path, device: Device, processes: int, streams: int) -> _Row:
    """Inspect the clip in every stream of every process at once."""
    spawn = multiprocessing.get_context("spawn")  # a context of CUDA does not survive a fork
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        for done in [pool.submit(_streams, str(clip), device, 1) for _ in range(processes)]:
            done.result()  # imports, kernels, contexts
        began = time.monotonic()
        jobs = [pool.submit(_streams, str(clip), device, streams) for _ in range(processes)]
        made = [job.result() for job in jobs]
        took = time.monotonic() - began
    frames = sum(row[0] for row in made)
    decoding, detecting = sum(row[2] for row in made), sum(row[3] for row in made)
    return _Row(
        processes,
        streams,
        frames / took,
        sum(row[1] for row in made) / frames,
        decoding / (decoding + detecting),
    )


def _streams(clip: str, device: Device, streams: int) -> tuple[int, float, float, float]:
    """Frames, CPU seconds, seconds of decoding and measuring, seconds of detecting."""
    settings = settings_of(None, [], [], {"device": device, "threads": 1})
    cpu = time.process_time()
    with ThreadPoolExecutor(streams) as pool:
        results = list(pool.map(lambda _: inspect(clip, settings), range(streams)))
    for result in results:
        track = result.asset.video[0]
        if device == "cuda" and track.decoder != "nvdec":
            raise RuntimeError(f"decoded in software: {track.no_hardware}")
    return (
        sum(result.asset.video[0].frames for result in results),
        time.process_time() - cpu,
        sum(result.timings["decode"] for result in results),
        sum(result.timings["detect"] for result in results),
    )


if __name__ == "__main__":
    main()
