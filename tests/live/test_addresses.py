"""A live stream is read from the address that was looked at, whatever name servers answer later."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.addresses import is_public
from pipeline.errors import SourceError
from pipeline.live.connect import _application, connected
from pipeline.live.gateway import Proxy, Tunnel
from pipeline.live.playlists import Playlists
from pipeline.source import Limits
from tests import web
from tests.live import origin

PUBLIC = Limits(public_addresses_only=True, open_timeout=5.0)
NAME = "stream.test"  # known to nobody but these tests: FFmpeg alone cannot find it
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no program ffmpeg")


@pytest.fixture(scope="module")
def programme(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programme")
    return folder, origin.programme(folder, 5.0)


class Names:
    """A name server whose answers for NAME change: the last one stays."""

    def __init__(self, monkeypatch, *answers: str) -> None:
        self.asked = 0
        self._answers, self._real = answers, socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host, port, *arguments, **named):
        if host == NAME:
            host = self._answers[min(self.asked, len(self._answers) - 1)]
            self.asked += 1
        return self._real(host, port, *arguments, **named)


@pytest.fixture
def first_is_public(monkeypatch):
    """127.0.0.1 passes for an address of the internet; the rest of the loopback does not."""

    def passes(address: str) -> bool:
        return address == "127.0.0.1" or is_public(address)

    monkeypatch.setattr("pipeline.addresses.is_public", passes)


class Canary:
    """Counts who connects to a port of an address."""

    def __init__(self, address: str, port: int = 0) -> None:
        self.seen = 0
        self._listener = socket.create_server((address, port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.seen += 1
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def answering(answer) -> Iterator[int]:
    """A server on 127.0.0.1 that does one thing with each connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    threading.Thread(target=run, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def packets(uri: str, limits: Limits = PUBLIC, count: int = 30) -> int:
    with connected(uri, limits, Playlists(), newest=False) as container:
        return sum(1 for packet, _ in zip(container.demux(), range(count), strict=False) if packet)


def refusal(uri: str, limits: Limits = PUBLIC) -> str:
    with pytest.raises(SourceError) as told:
        packets(uri, limits)
    return told.value.reason


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtsps", "rtmp", "rtmps", "tcp", "udp", "rtp"])
def test_a_name_that_leads_inside_by_now_is_refused_and_not_connected_to(scheme, monkeypatch):
    canary = Canary("127.0.0.1")
    names = Names(monkeypatch, "127.0.0.1")
    try:
        reason = refusal(f"{scheme}://{NAME}:{canary.port}/live/one.m3u8")
        assert reason == "refused_address"
        assert refusal(f"{scheme}://127.0.0.1:{canary.port}/live/one.ts") == "refused_address"
    finally:
        canary.close()
    assert names.asked == 1
    assert canary.seen == 0


@needs_ffmpeg
@pytest.mark.parametrize(("scheme", "path"), [("srt", ""), ("http", "/one.mpd")])
def test_what_another_program_reads_is_refused_in_the_same_way(scheme, path, monkeypatch):
    canary = Canary("127.0.0.1")
    Names(monkeypatch, "127.0.0.1")
    try:
        assert refusal(f"{scheme}://{NAME}:{canary.port}{path}") == "refused_address"
    finally:
        canary.close()
    assert canary.seen == 0


@pytest.mark.usefixtures("first_is_public")
def test_hls_is_read_from_the_address_that_was_looked_at(programme, monkeypatch):
    """Each connection is looked at by itself; one that leads elsewhere is not made."""
    folder, source = programme
    lengths = origin.segmented(source, folder)
    with origin.live_hls(folder, lengths) as live:
        uri = live.url.replace("127.0.0.1", NAME)
        port = int(uri.rpartition(":")[2].partition("/")[0])
        canary = Canary("127.0.0.2", port)
        try:
            names = Names(monkeypatch, "127.0.0.1")
            assert packets(uri) == 30
            assert names.asked > 2  # once for each connection: playlists, segments
            # the playlist from outside, what it names from inside
            Names(monkeypatch, "127.0.0.1", "127.0.0.1", "127.0.0.2")
            assert refusal(uri) == "refused_address"
        finally:
            canary.close()
        assert canary.seen == 0


@pytest.mark.usefixtures("first_is_public")
def test_a_redirect_inside_is_not_followed(tmp_path, monkeypatch):
    Names(monkeypatch, "127.0.0.1", "127.0.0.2")
    with web.serving(tmp_path) as server:
        canary = Canary("127.0.0.2", server.port)

        def elsewhere(request) -> None:
            request.send_response(302)
            request.send_header("Location", f"http://{NAME}:{server.port}/two.ts")
            request.end_headers()

        server.routes["/one.ts"] = elsewhere
        try:
            assert refusal(f"http://{NAME}:{server.port}/one.ts") == "refused_address"
        finally:
            canary.close()
        assert canary.seen == 0
        assert server.seen == ["/one.ts"]


@pytest.mark.usefixtures("first_is_public")
def test_tcp_goes_through_the_tunnel_to_the_address_that_was_looked_at(programme, monkeypatch):
    content = programme[1].read_bytes()

    def send(connection) -> None:
        connection.sendall(content)

    Names(monkeypatch, "127.0.0.1")
    with answering(send) as port:
        assert packets(f"tcp://{NAME}:{port}") == 30


@pytest.mark.usefixtures("first_is_public")
def test_udp_is_bound_to_the_address_that_was_looked_at(programme, monkeypatch):
    Names(monkeypatch, "127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sender = origin.Sender(programme[1], port)
    try:
        assert packets(f"udp://{NAME}:{port}") == 30
    finally:
        sender.close()


def _says(*lines: str):
    def answer(connection) -> None:
        connection.recv(4096)
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.recv(4096)

    return answer


@pytest.mark.usefixtures("first_is_public")
def test_an_rtsp_server_leads_nowhere(monkeypatch):
    """FFmpeg follows its redirects by itself; the tunnel does not let them pass."""
    canary = Canary("127.0.0.2")
    Names(monkeypatch, "127.0.0.1")
    location = f"Location: rtsp://127.0.0.2:{canary.port}/secret"
    try:
        with answering(_says("RTSP/1.0 302 Found", "CSeq: 1", location)) as port:
            assert refusal(f"rtsp://{NAME}:{port}/live") == "refused_reference"
            assert canary.seen == 0
            # without the tunnel it does go there: the danger is real
            refusal(f"rtsp://127.0.0.1:{port}/live", Limits(open_timeout=5.0))
            assert canary.seen > 0
        with answering(_says("RTSP/1.0 404 Not Found", "CSeq: 1")) as port:
            assert refusal(f"rtsp://{NAME}:{port}/live") != "refused_reference"
    finally:
        canary.close()


@pytest.mark.parametrize(
    "said",
    [
        [b"RTSP/1.0 302 Moved\r\n\r\n"],
        [b"RTSP/1.0 200 OK\n\n", b"RTSP/1.0 302 Moved\n\n"],
        [b"RTSP/1.0 200 OK\r\nContent-Length: 900\r\n\r\nRTSP/1.0 301 x"],
        [b"$\0\0\4abcdRTSP/1.0 307 x"],
        [b"RT", b"SP/", b"1.0", b" ", b"3", b"0", b"2"],
        [b"RT\rSP/1.0 \r 3\r05"],
        [b"RTSP/1.0\t+0303"],
    ],
)
def test_redirects_are_found_however_they_come(said):
    tunnel = Tunnel("x", 1, 1.0, lambda *_: None, tls=False, rtsp=True)
    try:
        for data in said[:-1]:
            tunnel._look(data)
        with pytest.raises(SourceError, match="another place"):
            tunnel._look(said[-1])
    finally:
        tunnel.close()


def test_what_is_no_redirect_passes():
    tunnel = Tunnel("x", 1, 1.0, lambda *_: None, tls=False, rtsp=True)
    try:
        tunnel._look(b"RTSP/1.0 200 OK\r\nCSeq: 302\r\n\r\nRTSP/1.0 401 Unauthorized\r\n\r\n")
        for _ in range(100):
            tunnel._look(b"$\0\0\3300" * 1000)
        assert len(tunnel._said) <= 8192
    finally:
        tunnel.close()


@pytest.mark.usefixtures("first_is_public")
def test_the_proxy_of_a_manifest_reaches_public_places_alone():
    noted: list[str] = []
    proxy = Proxy(5.0, lambda reason, _: noted.append(reason))
    canary = Canary("127.0.0.2")

    def answer(connection) -> None:
        head = connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)

    def asked(request: str) -> str:
        with socket.create_connection(("127.0.0.1", proxy.port), 5.0) as connection:
            connection.sendall(f"{request} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n".encode())
            if request.startswith("CONNECT") and connection.recv(12)[9:] == b"200":
                connection.sendall(b"hello")
            parts = []
            while part := connection.recv(4096):
                parts.append(part)
        return b"".join(parts).decode()

    try:
        with answering(answer) as port:
            said = asked(f"GET http://127.0.0.1:{port}/a/b?c=d")
            assert said.startswith("HTTP/1.1 200")
            assert "GET /a/b?c=d HTTP/1.1\r\n" in said
            assert "Range: bytes=0-" in said
            assert asked(f"CONNECT 127.0.0.1:{port}").endswith("hello")
        for refused in (
            f"GET http://127.0.0.2:{canary.port}/",
            "GET http://169.254.169.254/latest/meta-data",
            f"CONNECT 127.0.0.2:{canary.port}",
            "GET file:///etc/passwd",
            "GET ftp://127.0.0.1/x",
            "POST http://127.0.0.1/x",
            "GET http://[::1/",
        ):
            assert not asked(refused).startswith(("HTTP/1.1 200", " Connected")), refused
    finally:
        proxy.close()
        canary.close()
    assert canary.seen == 0
    assert noted == ["refused_address"] * 3


@pytest.mark.parametrize(
    ("path", "application"),
    [
        ("/live/one", "/live"),
        ("/live/one/two", "/live/one"),
        ("/live/mp4:one/two", "/live"),
        ("/live", "/live"),
    ],
)
def test_an_rtmp_server_is_told_the_name_that_it_is_known_by(path, application):
    assert _application(f"rtmp://me:secret@host:1935{path}") == f"rtmp://host:1935{application}"


@pytest.mark.usefixtures("first_is_public")
@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["srt", "rtmp", "http"])
def test_other_transports_work_by_a_name_that_ffmpeg_cannot_find(
    scheme, programme, monkeypatch, tmp_path
):
    _, source = programme
    Names(monkeypatch, "127.0.0.1")
    send = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "5", "-i", source]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    send += ["-c", "copy"]
    with web.serving(tmp_path) as server:
        ways = {
            "srt": (["-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener"], f"{NAME}:{port}"),
            "rtmp": (
                ["-listen", "1", "-f", "flv", f"rtmp://127.0.0.1:{port}/live/one"],
                f"{NAME}:{port}/live/one",
            ),
            "http": (
                ["-tag:v", "avc1", "-tag:a", "mp4a", "-f", "dash", "-seg_duration", "1",
                 "-window_size", "8", tmp_path / "live.mpd"],
                f"{NAME}:{server.port}/live.mpd",
            ),
        }  # fmt: skip
        arguments, place = ways[scheme]
        process = subprocess.Popen([*send, *arguments])
        try:
            time.sleep(6.0 if scheme == "http" else 1.5)
            assert (
                packets(f"{scheme}://{place}", PUBLIC.model_copy(update={"open_timeout": 20})) == 30
            )
        finally:
            process.kill()
            process.wait()
