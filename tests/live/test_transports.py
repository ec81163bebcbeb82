"""Transports that other programs bring in: SRT, DASH, RTP and RTMP by FFmpeg, RTSP by GStreamer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.warm import warm
from tests import web
from tests.live import origin
from tests.live.test_watcher import Watched
from tests.waiting import until

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not here"),
]


@pytest.fixture(scope="module")
def programme(tmp_path_factory):
    """A minute with black from 8 s to 12 s."""
    warm()
    folder = tmp_path_factory.mktemp("programme")
    return origin.programme(folder, 60.0, black=[(8.0, 12.0)])


@pytest.fixture
def port():
    return origin.free_udp_port()


@pytest.fixture
def ffmpeg(programme):
    """Sends the programme at its own pace."""
    begun = []

    def send(*arguments):
        command = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", programme, "-c", "copy"]
        begun.append(subprocess.Popen([*command, *arguments]))
        return begun[-1]

    yield send
    for process in begun:
        process.kill()
        process.wait()


def black_is_found(uri):
    with Watched(uri) as watched:
        watched.until(lambda: watched.told("black", "closed"), 45)
    (event,) = watched.told("black", "closed")
    seconds = (event.end - event.start).total_seconds()
    assert seconds == pytest.approx(4.0, abs=0.2), (watched.events, watched.covered)
    assert not watched.told("decode_error") + watched.told("outage"), watched.events


@pytest.mark.slow
def test_srt(ffmpeg, port):
    ffmpeg("-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener")
    time.sleep(1.0)
    # SRT drops what comes later than its latency (0.12 s), as it does on a machine that is busy
    black_is_found(f"srt://127.0.0.1:{port}?latency=2000000")


@pytest.mark.slow
def test_rtp(ffmpeg, port):
    ffmpeg("-f", "rtp_mpegts", f"rtp://127.0.0.1:{port}")
    black_is_found(f"rtp://127.0.0.1:{port}")


@pytest.mark.slow
def test_rtmp(ffmpeg, port):
    ffmpeg("-listen", "1", "-f", "flv", f"rtmp://127.0.0.1:{port}/live/one")
    time.sleep(1.0)
    black_is_found(f"rtmp://127.0.0.1:{port}/live/one")


@pytest.mark.slow
def test_multicast(ffmpeg, port):
    group = f"udp://239.255.42.7:{port}"
    ffmpeg("-f", "mpegts", f"{group}?localaddr=127.0.0.1&ttl=0&pkt_size=1316")
    black_is_found(f"{group}?localaddr=127.0.0.1")


@pytest.mark.slow
@pytest.mark.parametrize("length", ["1", "6"])
def test_dash(ffmpeg, tmp_path, length):
    """Segments come in bursts, between which nothing is silent."""
    tags = ("-tag:v", "avc1", "-tag:a", "mp4a")
    ffmpeg(*tags, "-f", "dash", "-seg_duration", length, "-window_size", "8", tmp_path / "live.mpd")
    until((tmp_path / "live.mpd").is_file, 20)
    with web.serving(tmp_path) as server:
        black_is_found(f"{server.url}/live.mpd")


def children(process):
    said = subprocess.run(
        ["pgrep", "-P", str(process)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in said.stdout.split()]


def test_a_child_ends_with_the_process_that_reads_it_even_if_that_is_killed(port):
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here: it ties a child to its parent")
    uri = f"srt://127.0.0.1:{port}?mode=listener"  # nobody ever comes
    said = f"""
from pipeline.live.connect import connected
from pipeline.live.playlists import Playlists
from pipeline.source import Limits
with connected({uri!r}, Limits(open_timeout=60), Playlists(), newest=False):
    pass
"""
    reader = subprocess.Popen([sys.executable, "-c", said])
    try:
        until(lambda: children(reader.pid), 30)
        (child,) = children(reader.pid)
        assert Path(f"/proc/{child}").exists()
    finally:
        reader.kill()
        reader.wait()
    until(lambda: not Path(f"/proc/{child}").exists(), 5)


@pytest.mark.slow
def test_the_child_of_a_dash_server_that_is_gone_ends_too(ffmpeg, tmp_path):
    tags = ("-tag:v", "avc1", "-tag:a", "mp4a")
    ffmpeg(*tags, "-f", "dash", "-seg_duration", "1", tmp_path / "live.mpd")
    until((tmp_path / "live.mpd").is_file, 20)
    others = set(children(os.getpid()))
    with web.serving(tmp_path) as server, Watched(f"{server.url}/live.mpd") as watched:
        watched.until_state("watching")
        (child,) = set(children(os.getpid())) - others
    # watching has stopped, and the server is gone: FFmpeg would ask it for ever
    until(lambda: child not in children(os.getpid()), 45)


# ---------------------------------------------------------------------------------------- RTSP

SYSTEM_PYTHON = "/usr/bin/python3"
_BINDINGS = "import gi; gi.require_version('GstRtspServer', '1.0')"


def has_gstreamer():
    command = [SYSTEM_PYTHON, "-c", _BINDINGS]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def rtsp(programme):
    """Starts a server, the next one at the port of the first; returns its URI and its process."""
    if not has_gstreamer():
        pytest.skip("no RTSP server: install the packages that tests/live/rtsp_server.py names")
    begun = []
    port = "0"

    def serve():
        nonlocal port
        script = Path(__file__).with_name("rtsp_server.py")
        command = [SYSTEM_PYTHON, script, programme, port]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        port = begun[-1].stdout.readline().strip()
        assert port.isdigit(), "it does not listen"
        return f"rtsp://127.0.0.1:{port}/live", begun[-1]

    yield serve
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_rtsp(rtsp):
    uri, _ = rtsp()
    black_is_found(uri)


@pytest.mark.slow
def test_an_rtsp_server_that_dies_is_an_outage_until_it_is_back(rtsp):
    uri, server = rtsp()
    with Watched(uri) as watched:
        watched.until_state("watching")
        server.kill()
        server.wait()
        watched.until(lambda: watched.told("outage", "opened"), 20)
        rtsp()
        watched.until(lambda: watched.told("outage", "closed"), 40)
        watched.until(lambda: watched.told("black", "closed"), 40)
