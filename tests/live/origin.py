"""Origins of live streams on the loopback: HLS that grows with the clock, MPEG-TS over UDP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from tests import media, web


def programme(folder: Path, seconds: float = 30.0, *, black: Sequence[tuple[float, float]] = ()):
    """A transport stream of moving picture and sound, with a key frame every second."""
    once = media.scene(8.0, 320, 180)
    frames = [once[n % len(once)] for n in range(round(seconds * media.RATE))]
    for start, end in black:
        for n in range(round(start * media.RATE), round(end * media.RATE)):
            frames[n] = frames[n] * 0 + 16
    options = {"preset": "ultrafast", "crf": "18", "g": "25", "sc_threshold": "0"}
    sound = np.tile(media.programme(8.0), round(seconds / 8 + 0.5))[:, : round(seconds * 48_000)]
    return media.write(folder / "programme.ts", frames, sound, video_options=options)


def segmented(
    source: Path, folder: Path, length: float = 1.0, *, suffix: str = "ts", **more: str
) -> list[float]:
    """Cut into HLS segments 0.ts, 1.ts, ...; returns their lengths in seconds.

    `more` are options of FFmpeg's muxer.
    """
    options = {"hls_time": str(length), "hls_list_size": "0", **more}
    options["hls_segment_filename"] = str(folder / f"%d.{suffix}")
    with (
        av.open(str(source)) as old,
        av.open(str(folder / "all.m3u8"), "w", format="hls", options=options) as new,
    ):
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return lengths(folder)


def lengths(folder: Path) -> list[float]:
    """Seconds of each segment that `segmented` made there."""
    lines = (folder / "all.m3u8").read_text().splitlines()
    return [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")]


def repeated(source: Path, target: Path, times: int) -> Path:
    """A transport stream again and again, with time stamps that go on."""
    with av.open(str(source)) as old:
        length = float(old.duration / av.time_base)
    with av.open(str(target), "w", format="mpegts") as new:
        streams: dict[int, av.stream.Stream] = {}
        for n in range(times):
            with av.open(str(source)) as old:
                for stream in old.streams:
                    if n == 0:
                        streams[stream.index] = new.add_stream_from_template(stream)
                start = {
                    stream.index: float(stream.start_time * stream.time_base)
                    for stream in old.streams
                }
                zero = min(start.values())
                for packet in old.demux():
                    if packet.dts is None:
                        continue
                    shift = round((n * length - zero) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    new.mux(packet)
    return target


class LiveHls:
    """Serves segments as if they were being made now, from the first time that somebody asks.

    By then as many are made as there are in the playlist, but four at most.

    Attributes:
        url: of the playlist.
        stands_still: the playlist does not change while this is true.
        down: the server answers with 503 while this is true.
        joined: the first segment that somebody asked for.
        tags: lines of the playlist before a segment, by its number.

    Args:
        window: segments in the playlist.
        keeps: segments that are served although they have left it.
    """

    def __init__(
        self, server: web.Server, lengths: list[float], window: int = 4, keeps: int | None = None
    ) -> None:
        self._lengths, self._window = lengths, window
        self._keeps = len(lengths) if keeps is None else keeps
        self._begun: float | None = None
        self._frozen = ""
        self.stands_still = self.down = False
        self.joined: int | None = None
        self.tags: dict[int, list[str]] = {}
        self.url = f"{server.url}/live.m3u8"
        server.routes["/live.m3u8"] = self._answer
        for n in range(len(lengths)):
            server.routes[f"/{n}.ts"] = self._segment(server, n)

    @property
    def position(self) -> float:
        """Seconds that have been made."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def _ready(self) -> int:
        ready, done = 0, 0.0
        while ready < len(self._lengths) and done + self._lengths[ready] <= self.position:
            done += self._lengths[ready]
            ready += 1
        return ready

    def _list(self) -> str:
        ready = self._ready()
        first = max(ready - self._window, 0)
        target = max(map(round, self._lengths))  # as RFC 8216 4.3.3.1 has it
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{target}"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
        for n in range(first, ready):
            lines += self.tags.get(n, [])
            lines += [f"#EXTINF:{self._lengths[n]:.6f},", f"{n}.ts"]
        if ready == len(self._lengths):
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"

    def _answer(self, request) -> None:
        if self.down:
            request.send_error(503)
            return
        if self._begun is None:
            self._begun = time.monotonic() - sum(self._lengths[: min(self._window, 4)])
        if not self.stands_still or not self._frozen:
            self._frozen = self._list()
        _send(request, self._frozen.encode())

    def _segment(self, server: web.Server, n: int):
        def answer(request) -> None:
            if self.joined is None:
                self.joined = n
            if self.down:
                request.send_error(503)
            elif n < self._ready() - self._window - self._keeps:
                request.send_error(404)
            else:
                _send(request, (server.folder / f"{n}.ts").read_bytes())

        return answer


def _send(request, body: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def live_hls(
    folder: Path, lengths: list[float], window: int = 4, keeps: int | None = None
) -> Iterator[LiveHls]:
    """An origin for the length of a test; see LiveHls."""
    with web.serving(folder) as server:
        yield LiveHls(server, lengths, window, keeps)


def free_udp_port() -> int:
    """A port that nobody receives UDP at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Sender:
    """Sends a transport stream over UDP at its own pace."""

    def __init__(self, source: Path, port: int) -> None:
        self._source, self._port = source, port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        url = f"udp://127.0.0.1:{self._port}?pkt_size=1316"
        with av.open(str(self._source)) as old, av.open(url, "w", format="mpegts") as new:
            streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
            begun: float | None = None
            for packet in old.demux():
                if packet.dts is None:
                    continue
                seconds = float(packet.dts * packet.time_base)
                if begun is None:
                    begun = time.monotonic() - seconds
                if self._stop.wait(max(begun + seconds - time.monotonic(), 0)):
                    return
                packet.stream = streams[packet.stream.index]
                new.mux(packet)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
