"""Speed of an inspection, as ratios to decoding alone and to FFmpeg's filters, in one run.

    python -m bench.speed [--clip FILE]... [--rounds 3] [--output bench/results]

Without --clip it makes two 1080p30 H.264 clips with AAC sound of a minute (12 s of pans, cuts and
grain, five times over): one at 7 Mb/s, as services deliver 1080p, and one at 2.5 Mb/s, where
decoding costs least and every ratio looks worst. CPU seconds are user + system of all threads,
start-up after the imports included. Each round runs every contestant once, in turn, in a process of
its own; a ratio is taken inside a round, and the table has the median of the rounds. FFmpeg's whole
set of filters sees the first 6 s alone (it takes minutes), as a ratio to FFmpeg's decoding of the
same. Needs nothing but the project; FFmpeg's rows need `ffmpeg` (the Debian package) and are left
out without it.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.machine import cpu_name
from tests import media

ROOT = Path(__file__).resolve().parent.parent
VIDEO_FILTERS = (
    "blackdetect,freezedetect,idet,scdet,blockdetect,blurdetect,photosensitivity=bypass=1,"
    "signalstats=stat=tout+vrep+brng"
)
PART = 6.0  # seconds that the dear filters of FFmpeg see
CHEAP_FILTERS = "blackdetect,freezedetect,idet,scdet"
AUDIO_FILTERS = "silencedetect,ebur128=peak=true,aphasemeter=video=0:phasing=1,astats"

# Runs in a process of its own and prints what it cost: {cpu, wall, rss_mib, ...}.
MEASURED = """
import json, sys, time
from pathlib import Path
t0 = time.perf_counter()
{body}
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
out = dict(cpu=time.process_time() - cpu0, wall=time.perf_counter() - wall0,
           rss_mib=int(status["VmHWM"].split()[0]) / 1024, **extra)
print(json.dumps(out))
"""
DECODE = """
import av
path, threads = sys.argv[1], int(sys.argv[2])
extra = {}
wall0, cpu0 = time.perf_counter(), time.process_time()
with av.open(path) as container:
    for stream in container.streams.video:
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
    for packet in container.demux([*container.streams.video, *container.streams.audio]):
        packet.decode()
"""
INSPECT = """
from pipeline.inspect import inspect
from pipeline.settings import load
path, threads = sys.argv[1], int(sys.argv[2])
settings = load(threads=threads, only=tuple(sys.argv[3:]))
first = []
wall0, cpu0 = time.perf_counter(), time.process_time()
result = inspect(path, settings, lambda now: first or first.append(time.perf_counter() - t0))
frames = sum(track.frames for track in result.asset.video)
extra = dict(first_segment_s=first[0], frames=frames, seconds=result.asset.duration,
             defects=len(result.defects), state=result.coverage.state)
"""


def measure(body: str, *arguments: str) -> dict[str, Any]:
    """Run a body in a fresh process; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(body=body), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def ffmpeg(
    path: Path, video: str, audio: str, threads: int, seconds: float | None = None
) -> float | None:
    """CPU seconds of FFmpeg's command line with these filters, None where it is not installed."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    command = [program, "-hide_banner", "-nostats", "-benchmark", "-threads", str(threads)]
    command += ["-t", str(seconds)] if seconds else []
    command += ["-i", str(path)]
    command += ["-vf", video] if video else []
    command += ["-af", audio] if audio else []
    done = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True)
    line = next(line for line in done.stderr.splitlines() if "utime=" in line)
    times = dict(part.split("=") for part in line.split() if "=" in part)
    return float(times["utime"].rstrip("s")) + float(times["stime"].rstrip("s"))


def make_clip(path: Path, grain: float, quality: dict[str, str]) -> None:
    """A 1080p30 H.264 clip: pans over textures with cuts, moving grain, programme sound in AAC."""
    seconds, rate = 12.0, 30
    rng = np.random.default_rng(1)
    grains = [rng.normal(0, grain, (1200, 2100)).astype(np.float32) for _ in range(3)]
    sound = media.programme(seconds)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "medium", **quality})
        video.width, video.height, video.pix_fmt = 1920, 1080, "yuv420p"
        audio = container.add_stream("aac", rate=media.SAMPLE_RATE, layout="stereo")
        shot = 4 * rate
        for n in range(round(seconds * rate)):
            still = media.texture(1160, 2400, 50 + n // shot)
            x, y = (n % shot) * 3, round(40 + 38 * np.sin(n / 20))
            picture = still[y : y + 1080, x : x + 1920].astype(np.float32)
            dy, dx = rng.integers(0, 120, 2)
            picture += grains[n % 3][dy : dy + 1080, dx : dx + 1920, None]
            frame = av.VideoFrame.from_ndarray(
                np.clip(picture, 0, 255).astype(np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = n, Fraction(1, rate)
            container.mux(video.encode(frame))
        for start in range(0, sound.shape[1], 1024):
            heard = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound[:, start : start + 1024]), format="fltp", layout="stereo"
            )
            heard.sample_rate, heard.pts = media.SAMPLE_RATE, start
            heard.time_base = Fraction(1, media.SAMPLE_RATE)
            container.mux(audio.encode(heard))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def bench(path: Path, rounds: int, threads: int) -> dict[str, Any]:
    """All contestants on one clip: medians over the rounds, ratios taken inside a round."""
    measure(INSPECT, str(path), str(threads))  # compiles the kernels once, as a first use does
    ratios: dict[str, list[float]] = {}
    rows: list[dict[str, Any]] = []
    for n in range(rounds):
        decode = measure(DECODE, str(path), str(threads))
        ours = measure(INSPECT, str(path), str(threads))
        peers = {"ffmpeg_decode": ffmpeg(path, "", "", threads)}
        peers["ffmpeg_cheap"] = ffmpeg(path, CHEAP_FILTERS, "silencedetect", threads)
        if n == 0:
            every = ffmpeg(path, VIDEO_FILTERS, AUDIO_FILTERS, threads, PART)
            alone, whole = ffmpeg(path, "", "", threads, PART), peers["ffmpeg_decode"]
            if every and alone and whole:
                peers["ffmpeg_all"] = every / alone * whole
        rows.append({"decode": decode, "vidette": ours, **peers})
        ratios.setdefault("vidette", []).append(ours["cpu"] / decode["cpu"])
        for name, cpu in peers.items():
            if cpu is not None:
                ratios.setdefault(name, []).append(cpu / decode["cpu"])
        said = ", ".join(f"{name} {ratio[-1]:.2f}" for name, ratio in ratios.items())
        print(f"  round {n + 1}: {said}", flush=True)
    ours = rows[-1]["vidette"]
    frames, seconds = ours["frames"], ours["seconds"]
    decode_cpu = statistics.median(row["decode"]["cpu"] for row in rows)
    vidette_cpu = statistics.median(row["vidette"]["cpu"] for row in rows)
    return {
        "bit_rate_mbps": round(path.stat().st_size * 8 / seconds / 1e6, 2),
        "frames": frames,
        "decode_ms_per_frame": round(1e3 * decode_cpu / frames, 3),
        "vidette_ms_per_frame": round(1e3 * vidette_cpu / frames, 3),
        "ratios_to_decoding": {k: round(statistics.median(v), 3) for k, v in ratios.items()},
        "ratio_range": [round(min(ratios["vidette"]), 3), round(max(ratios["vidette"]), 3)],
        "vidette_times_real_time": round(
            statistics.median(seconds / row["vidette"]["wall"] for row in rows), 2
        ),
        "rss_mib": round(max(row["vidette"]["rss_mib"] for row in rows)),
        "decode_rss_mib": round(max(row["decode"]["rss_mib"] for row in rows)),
        "start_to_first_second_s": round(
            statistics.median(row["vidette"]["first_segment_s"] for row in rows), 2
        ),
        "defects": ours["defects"],
    }


def loop(path: Path, target: Path, times: int) -> None:
    """The clip `times` over by copying packets, to see memory on a long asset."""
    with av.open(str(path)) as first, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in first.streams}
        offset = 0.0
        for _ in range(times):
            with av.open(str(path)) as container:
                length = (container.duration or 0) / av.time_base
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(offset / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
            offset += length + 0.5  # no packet of a copy comes before the last of the one before


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    names = {
        "ffmpeg_decode": "ffmpeg, decoding alone",
        "vidette": "Vidette, every detector",
        "ffmpeg_cheap": "ffmpeg, its 4 cheap video filters + silencedetect",
        "ffmpeg_all": "ffmpeg, 8 video + 4 audio filters for the same defects",
    }
    machine = results["machine"]
    lines = [
        "# Speed",
        "",
        f"`make bench`, {machine['cpu']}, {machine['threads']} decoder threads, Python "
        f"{machine['python']}, PyAV {machine['av']}, {results['rounds']} rounds. CPU time "
        "(user + system, all threads) as a ratio to decoding the same file with PyAV.",
        "",
        "| clip | contestant | CPU ratio to decoding |",
        "| --- | --- | --- |",
    ]
    for clip, one in results["clips"].items():
        for key, name in names.items():
            if key in one["ratios_to_decoding"]:
                ratio = f"{one['ratios_to_decoding'][key]:.2f}"
                if key == "vidette":
                    low, high = one["ratio_range"]
                    ratio = f"**{ratio}** ({low:.2f} to {high:.2f})"
                lines.append(f"| {clip} | {name} | {ratio} |")
    lines += [
        "",
        "| clip | decode ms/frame | Vidette ms/frame | x real time | RSS MiB | start to first "
        "second examined, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for clip, one in results["clips"].items():
        cells = (
            clip,
            one["decode_ms_per_frame"],
            one["vidette_ms_per_frame"],
            one["vidette_times_real_time"],
            one["rss_mib"],
            one["start_to_first_second_s"],
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    if "long" in results:
        long = results["long"]
        lines += ["", f"Memory on {long['seconds']:.0f} s of the same: {long['rss_mib']} MiB."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--clip", action="append", type=Path, default=[], help="files to use")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="decoder threads of everyone")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results")
    chosen = parser.parse_args()
    results: dict[str, Any] = {
        "machine": {
            "cpu": cpu_name(),
            "threads": chosen.threads,
            "python": platform.python_version(),
            "av": av.__version__,
        },
        "rounds": chosen.rounds,
        "clips": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        clips: dict[str, Path] = {clip.name: clip for clip in chosen.clip}
        if not clips:
            for name, grain, quality in (
                ("1080p30, 7 Mb/s", 4.0, {"b": "7M"}),
                ("1080p30, 2.5 Mb/s", 1.0, {"b": "2.5M"}),
            ):
                clips[name] = Path(folder) / f"{len(clips)}.mkv"
                print(f"making {name}", flush=True)
                short = Path(folder) / "short.mp4"
                make_clip(short, grain, quality)
                loop(short, clips[name], 5)
        for name, path in clips.items():
            print(name, flush=True)
            results["clips"][name] = bench(path, chosen.rounds, chosen.threads)
        first = next(iter(clips.values()))
        long = Path(folder) / "long.mkv"
        loop(first, long, 5)
        measured = measure(INSPECT, str(long), str(chosen.threads))
        results["long"] = {
            "seconds": measured["seconds"],
            "rss_mib": round(measured["rss_mib"]),
        }
    text = table(results)
    print(text)
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "speed.md").write_text(text)
    (chosen.output / "speed.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
