"""Decoding and measuring by a GPU: the same result as on the CPU, and never a silent fallback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import av
import numpy as np
import pytest

import pipeline.segment
from pipeline.decode import Decoder, PictureStream
from pipeline.errors import UsageError
from pipeline.hardware import accelerator
from pipeline.inspect import inspect
from pipeline.segment import Segmenter
from pipeline.settings import chosen, load
from pipeline.source import Limits, open_source
from tests import damage, media

ON_GPU = chosen(None, [], [], {"device": "cuda"})


@cache
def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def gpu():
    """A GPU that decodes; skips where there is none."""
    if not _has_gpu():
        pytest.skip("there is no GPU")
    hwaccel, obstacle = accelerator("cuda")
    assert hwaccel is not None, obstacle


@pytest.fixture(scope="module")
def defective(tmp_path_factory, clean_scene):
    """A freeze, black, and blocks, where each is easily told."""
    frames = list(clean_scene)
    frames[30:60] = [frames[30]] * 30
    frames[100:130] = [frames[0] * 0] * 30
    place = tmp_path_factory.mktemp("hardware") / "defective.mp4"
    return media.write(place, frames)


def found(result):
    return [(d.kind, round(d.start, 2), round(d.end, 2)) for d in result.defects]


def test_asking_for_a_gpu_where_there_is_none_is_answered_by_the_cpu_and_said(defective):
    if _has_gpu():
        pytest.skip("there is a GPU")
    result = inspect(str(defective), ON_GPU)
    assert found(result) == found(inspect(str(defective)))
    (track,) = result.asset.video
    assert track.decoder == "software"
    assert "no NVIDIA GPU" in track.no_hardware
    assert result.coverage.state == "complete"  # nothing was missed
    assert inspect(str(defective)).asset.video[0].no_hardware is None


def test_the_device_is_a_setting_like_any_other(monkeypatch):
    assert ON_GPU.device == "cuda"
    monkeypatch.setenv("VIDETTE_DEVICE", "cuda")
    assert load().device == "cuda"
    with pytest.raises(UsageError, match="device"):
        chosen(None, [], [], {"device": "toaster"})
    with pytest.raises(UsageError, match=r"DETECTOR\.SETTING, limits\.SETTING, device"):
        chosen(None, [], [], {"colour": "red"})


def test_frames_measured_as_tensors_give_the_same_defects(monkeypatch, defective):
    """The whole way of a GPU's frames but for NVDEC itself, on the CPU."""
    from pipeline.measure.device import DeviceMeter

    whole = inspect(str(defective))
    original, meters = PictureStream._frame, []

    def as_nvdec_gives_them(self, frame):
        for item in original(self, frame):
            if hasattr(item, "frame"):
                object.__setattr__(item, "frame", item.frame.reformat(format="nv12"))
            yield item

    def on_device(_, picture_format, coarseness, _steps):
        meters.append(DeviceMeter(picture_format, "cpu", coarseness))
        return meters[-1]

    monkeypatch.setattr(PictureStream, "_frame", as_nvdec_gives_them)
    monkeypatch.setattr(pipeline.segment, "_meter_for", on_device)
    result = inspect(str(defective))
    assert len(meters) == 1
    assert {"freeze", "black"} <= {defect.kind for defect in result.defects}
    assert found(result) == found(whole)
    for name, line in whole.timelines.series.items():
        np.testing.assert_allclose(
            np.array(result.timelines.series[name], float), np.array(line, float), atol=0.02
        )


# ---------------------------------------------------------------------------------- with a GPU


def _statistics(path, hwaccel):
    with open_source(str(path), Limits(), hwaccel) as container:
        decoder = Decoder(container)
        segments = [s.picture for s in Segmenter().run(decoder) if s.picture is not None]
        return decoder.asset().video[0], segments


CODECS = {
    "h264": ("mp4", "libx264", "yuv420p"),
    "hevc": ("mp4", "libx265", "yuv420p"),
    "hevc10": ("mp4", "libx265", "yuv420p10le"),
    "mpeg2": ("ts", "mpeg2video", "yuv420p"),
    "vp9": ("webm", "libvpx-vp9", "yuv420p"),
}


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("codec", CODECS)
def test_nvdec_gives_the_statistics_of_the_software_decoder(tmp_path, clean_scene, codec):
    suffix, encoder, pixels = CODECS[codec]
    path = tmp_path / f"clip.{suffix}"
    _encode(path, clean_scene[:60], encoder, pixels)
    (soft, here), (hard, there) = (
        _statistics(path, accelerator(device)[0]) for device in ("cpu", "cuda")
    )
    assert (soft.decoder, hard.decoder) == ("software", "nvdec")
    assert hard.bit_depth == soft.bit_depth
    within = 1e-4 if pixels == "yuv420p" else 1.0  # deep samples are rounded, not dithered
    assert len(here) == len(there)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.frames["time"], other.frames["time"])
        for name in ("luma", "motion", "detail", "comb", "order", "cb", "cr", "rows"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), atol=within, err_msg=name
            )


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_an_inspection_on_a_gpu_finds_what_one_on_the_cpu_finds(defective):
    result = inspect(str(defective), ON_GPU)
    assert found(result) == found(inspect(str(defective)))
    assert result.asset.video[0].decoder == "nvdec"
    assert result.asset.video[0].no_hardware is None


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_what_nvdec_does_not_take_is_decoded_in_software_and_said(tmp_path, clean_scene):
    path = tmp_path / "clip.mkv"
    _encode(path, clean_scene[:30], "ffv1", "yuv420p")
    result = inspect(str(path), ON_GPU)
    (track,) = result.asset.video
    assert (track.decoder, track.frames) == ("software", 30)
    assert "ffv1" in track.no_hardware


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_a_damaged_stream_ends_and_says_what_was_lost(tmp_path, clean_scene):
    path = media.write(tmp_path / "clip.ts", clean_scene)
    damage.lose(path, 2.0, 4.0, 0.05)
    result = inspect(str(path), ON_GPU)
    assert result.asset.video[0].decoder == "nvdec"
    assert result.asset.duration == pytest.approx(8, abs=0.5)
    assert {"decode_error", "block_corruption"} & {defect.kind for defect in result.defects}


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_many_streams_at_once_do_not_disturb_each_other(defective):
    """More sessions than engines, in threads that share one context."""
    expected = found(inspect(str(defective)))
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda _: inspect(str(defective), ON_GPU), range(24)))
    assert all(found(result) == expected for result in results)
    assert {result.asset.video[0].decoder for result in results} == {"nvdec"}


def _encode(path, frames, encoder, pixels):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=media.RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
