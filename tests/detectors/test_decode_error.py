"""Decode errors."""

from __future__ import annotations

import pytest

from tests import media
from tests.damage import flip, lose
from tests.findings import examine, of_kind

NAME = "decode_error"


@pytest.fixture(scope="module")
def small():
    return media.scene(6.0, 320, 180, cuts=2), media.programme(6.0, 1)


CODECS = {
    "libx264": {"preset": "veryfast", "g": "25", "bf": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=25:bframes=0"},
    "mpeg2video": {"g": "12", "b": "3M", "minrate": "3M", "maxrate": "3M", "bufsize": "2M"},
}


def write(tmp_path, small, codec):
    return media.write(tmp_path / "clip.ts", *small, video_codec=codec, video_options=CODECS[codec])


@pytest.mark.parametrize("codec", CODECS)
def test_flipped_bytes(tmp_path, small, codec):
    """Damage in the middle fifth of the file; sizes of frames vary, so times are approximate."""
    path = flip(write(tmp_path, small, codec), 0.4, 0.6, 0.002)
    found = of_kind(examine(path, NAME), "decode_error")
    assert found, codec
    assert 1.2 < found[0].start < 3.9, found
    assert found[-1].end < 4.9, found
    assert sum(found[0].evidence.values()) >= 1


@pytest.mark.parametrize("codec", CODECS)
def test_lost_transport_packets(tmp_path, small, codec):
    path = lose(write(tmp_path, small, codec), 0.4, 0.6, 0.05)
    found = of_kind(examine(path, NAME), "decode_error")
    assert found
    assert 1.2 < found[0].start < 3.9
    assert max(defect.confidence for defect in found) >= 0.9  # the transport counts its packets


def test_start_is_exact_where_frames_are_flagged(tmp_path, small):
    """Slices of one known frame of H.264 are damaged; the flag says which frame it was."""
    path = media.write(
        tmp_path / "clip.mkv", small[0], video_options=CODECS["libx264"] | {"g": "250"}
    )
    import av

    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.size]
        packet = next(p for p in packets if p.pts * p.time_base >= 3)
        body, time = bytes(packet), float(packet.pts * packet.time_base)
    data = bytearray(path.read_bytes())
    at = bytes(data).index(body)
    for n in range(at + len(body) // 3, at + len(body)):
        data[n] ^= 0x55
    path.write_bytes(data)
    found = of_kind(examine(path, NAME), "decode_error")
    assert found
    assert found[0].start == pytest.approx(time, abs=0.1)


def test_damaged_sound(tmp_path, small):
    path = media.write(tmp_path / "clip.ts", sound=small[1])
    flip(path, 0.4, 0.6, 0.01)
    found = of_kind(examine(path, NAME), "decode_error")
    assert found
    assert 2.0 < found[0].start < 4.0


def test_more_damage_is_worse(tmp_path, small):
    def worst(share):
        path = flip(write(tmp_path, small, "libx264"), 0.3, 0.7, share)
        found = of_kind(examine(path, NAME), "decode_error")
        return max((defect.severity for defect in found), default=0.0)

    assert worst(0.0001) <= worst(0.001) <= worst(0.01)
    assert worst(0.01) > 0.5


def test_no_key_frame_at_the_start(tmp_path, small):
    """A recording that was cut in the middle of a GOP."""
    path = write(tmp_path, small, "libx264")
    data = path.read_bytes()
    packets = len(data) // 188
    tables = data[: 188 * 3]
    path.write_bytes(tables + data[188 * (packets // 12) :])
    result = examine(path, NAME)
    assert result.coverage.examined
    assert result.asset.video[0].frames > 100
    found = of_kind(result, "decode_error")
    assert all(defect.start < 1.0 for defect in found)


@pytest.mark.parametrize("codec", CODECS)
def test_clean(tmp_path, small, codec):
    assert examine(write(tmp_path, small, codec), NAME).defects == []


def test_bunny():
    assert examine(media.bunny(), NAME).defects == []
