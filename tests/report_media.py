"""A damaged real clip and an Inspection that knows the truth about it, for the tests of the report.

python -m tests.report_media FOLDER          writes damaged.mp4 and report.html into FOLDER
python -m tests.report_media --shot REPORT.html PICTURE.png
                                             takes a screenshot of a report
"""

from __future__ import annotations

import io
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np

from pipeline.events import defects
from pipeline.inspect import inspect
from pipeline.measurements import Observation
from pipeline.report import write_report
from pipeline.settings import load
from pipeline.types import Inspection, Kind, Region
from tests import media

NOISY = Region(left=0.25, top=0.2, right=0.6, bottom=0.7)


def damaged(path: Path, width: int = 480, height: int = 270) -> Path:
    """Big Buck Bunny twice over (10 s), with defects in picture and sound, as H.264 and AAC."""
    frames, parts = [], []
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=media.SAMPLE_RATE)
    with av.open(str(media.bunny())) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                frames.append(frame.reformat(width, height, "rgb24").to_ndarray())
            else:
                parts += [out.to_ndarray() for out in resampler.resample(frame)]
    sound = np.concatenate(parts, axis=1)[:, : 5 * media.SAMPLE_RATE]
    frames = [picture.copy() for picture in frames[:125] * 2]
    sound = np.tile(sound, 2).copy()
    rng = np.random.default_rng(1)
    frames[40:75] = [frames[39]] * 35  # frozen 1.6 to 3.0 s
    frames[100:115] = [np.full_like(frames[0], 16)] * 15  # black 4.0 to 4.6 s
    frames[150:152] = [frames[20][::-1], frames[20][::-1]]  # foreign frames 6.0 to 6.08 s
    top, bottom = round(NOISY.top * height), round(NOISY.bottom * height)
    left, right = round(NOISY.left * width), round(NOISY.right * width)
    for n in range(180, 230):  # noise in a part of the picture, 7.2 to 9.2 s
        part = frames[n][top:bottom, left:right]
        noisy = part + rng.normal(0, 40, part.shape)
        frames[n][top:bottom, left:right] = np.clip(noisy, 0, 255).astype(np.uint8)
    rate = media.SAMPLE_RATE
    t = np.arange(3 * rate) / rate
    for harmonic, level in ((1, 0.05), (2, 0.03), (3, 0.02), (5, 0.01)):  # hum 0.5 to 3.5 s
        sound[:, rate // 2 : rate // 2 + 3 * rate] += level * np.sin(2 * np.pi * 50 * harmonic * t)
    sound[:, round(5.2 * rate) : round(5.28 * rate)] = 0  # dropout 5.2 to 5.28 s
    part = sound[:, round(6.5 * rate) : 8 * rate]
    sound[:, round(6.5 * rate) : 8 * rate] = np.clip(part * 12, -0.95, 0.95)
    sound[1, round(8.5 * rate) :] = 0  # right channel dead from 8.5 s
    return media.write(path, frames, sound.astype(np.float32))


def truth(path: Path) -> Inspection:
    """What a perfect inspection of `damaged` would say; facts, timelines and coverage are real."""
    result = inspect(str(path), load(only=["black"]))
    see, hear = 0, 1

    def saw(kind: Kind, start: float, end: float, severity: float, summary: str, **more):
        confidence = more.pop("confidence", 0.95)
        peak, region = more.pop("peak", None), more.pop("region", None)
        stream = more.pop("stream", see)
        seen = Observation(kind, start, end, severity, confidence, summary, more, peak, region)
        return f"{kind}/1", stream, seen

    result.defects = defects(
        [
            saw(Kind.FREEZE, 1.6, 3.0, 0.8, "no picture change for 1.40 s while there was motion "
                "before and after", duration_s=1.4, motion_code_values=0.03),
            saw(Kind.BLACK, 4.0, 4.6, 0.7, "99.8 % of the picture is black for 0.60 s",
                share_of_picture=0.998, luma_code_values=16.2),
            saw(Kind.GLITCH, 6.0, 6.08, 0.9, "2 frames do not belong to the pictures around them",
                frames=2.0, difference_code_values=61.3),
            saw(Kind.NOISE, 7.2, 9.2, 0.55, "noise of 22 code values in 17.5 % of the picture",
                region=NOISY, confidence=0.72, peak=8.0, sigma_code_values=22.1,
                share_of_picture=0.175),
            saw(Kind.HUM, 0.5, 3.5, 0.6, "a 50 Hz tone with harmonics at -26 dBFS, 31 dB above its "
                "surroundings", stream=hear, frequency_hz=50.0, level_dbfs=-26.0),
            saw(Kind.DROPOUT, 5.2, 5.28, 0.85, "no sound for 80 ms in all channels", stream=hear,
                duration_ms=80.0),
            saw(Kind.CLIPPING, 6.5, 8.0, 1.0, "4211 samples at -0.4 dBFS in runs of 3 or more",
                stream=hear, peak=7.1, samples=4211.0, level_dbfs=-0.4),
            saw(Kind.DEAD_CHANNEL, 8.5, 10.0, 0.4, "no sound in channel FR while FL plays",
                stream=hear, channel=2.0, confidence=0.6),
        ]
    )  # fmt: skip
    result.measurements.setdefault("loudness_integrated_lufs", -19.4)
    return result


def chromium() -> str | None:
    """The Chromium that is installed, if any."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def screenshot(report: Path, picture: Path, kind: str = "freeze", scale: float = 0.75) -> None:
    """A picture of a report: its head, its charts, and the card of the first defect of a kind."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=CHROMIUM_OPTIONS)
        page = browser.new_page(
            viewport={"width": 1280, "height": 900}, device_scale_factor=scale, color_scheme="light"
        )
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        page.evaluate(
            "kind => { const all = JSON.parse(document.getElementById('inspection').textContent);"
            " const one = all.defects.find((d) => d.kind === kind);"
            " const cards = document.getElementById('cards');"
            " if (one) cards.prepend(cards.querySelector(`[data-id='${one.id}']`)) }",
            kind,
        )
        card = page.locator(".card").first.bounding_box()
        clip = {"x": 0, "y": 0, "width": 1280, "height": card["y"] + card["height"] + 16}
        taken = page.screenshot(full_page=True, clip=clip)
        browser.close()
    picture.write_bytes(_with_palette(taken))


def _with_palette(png: bytes) -> bytes:
    """The same PNG in 256 colours: a third of the size."""
    with av.open(io.BytesIO(png)) as container:
        frame = next(container.decode(video=0)).reformat(format="rgb24")
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format="rgb24", time_base=Fraction(1, 25)
    )
    split, sink = graph.add("split"), graph.add("buffersink")
    palette = graph.add("palettegen", "stats_mode=single")
    use = graph.add("paletteuse", "dither=bayer:bayer_scale=3")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    graph.push(None)
    small = graph.pull()
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height = small.width, small.height
    encoder.pix_fmt, encoder.time_base = "pal8", Fraction(1, 25)
    encoder.options = {"pred": "none", "compression_level": "9"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])


def main(arguments: list[str]) -> None:
    """See the head of this file."""
    if arguments[:1] == ["--shot"]:
        screenshot(Path(arguments[1]), Path(arguments[2]))
        return
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    asset = damaged(folder / "damaged.mp4", 1280, 720)
    write_report(truth(asset), folder / "report.html", str(asset))


if __name__ == "__main__":
    main(sys.argv[1:])
