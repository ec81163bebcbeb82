"""The net that judges how coarsely a picture was quantised, on real encodes of a drawn scene."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
import torch

from models.coarseness import ACROSS, CROP, DOWN, Coarseness, places, shared
from models.nets import coarseness as on_device
from tests.media import scene, write


def lumas(path):
    with av.open(str(path)) as container:
        return [
            frame.reformat(format="gray").to_ndarray()[: frame.height, : frame.width].copy()
            for frame in container.decode(video=0)
        ]


def quantiser(luma):
    value, worth = shared().of_plane(luma).T
    return float(np.average(value, weights=np.exp(worth)))


@pytest.fixture(scope="module")
def clean():
    return scene(1.0, 480, 270, cuts=0, speed=1.0)


@pytest.mark.parametrize("deblock", [True, False])
@pytest.mark.parametrize("again", [False, True])
def test_coarser_is_told_in_order(tmp_path, clean, deblock, again):
    said = []
    for qp in (20, 28, 42, 50):  # as far apart as two encodes in a row leave of it
        options = {"preset": "veryfast", "qp": str(qp)}
        if not deblock:
            options["x264-params"] = "no-deblock=1"
        path = write(tmp_path / f"{qp}.mp4", clean, video_options=options)
        if again:  # what is delivered was encoded once more
            with av.open(str(path)) as container:
                frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
            path = write(tmp_path / f"{qp}-again.mp4", frames, video_options={"crf": "18"})
        said.append(np.median([quantiser(luma) for luma in lumas(path)[5:20:5]]))
    assert said == sorted(said)
    assert said[-1] - said[0] > 5


def test_frames_on_a_device_and_one_by_one_give_the_same(clean):
    planes = np.stack([frame.mean(axis=2).astype(np.uint8) for frame in clean[:3]])
    together = on_device.shared("cpu").of(torch.from_numpy(planes)).numpy()
    assert together.shape == (3, ACROSS * DOWN, 2)
    for plane, expected in zip(planes, together, strict=True):
        np.testing.assert_allclose(shared().of_plane(plane), expected, atol=1e-3)


def test_threads_share_batches_and_each_gets_its_own_answer(clean):
    planes = [frame.mean(axis=2).astype(np.uint8) for frame in clean[:12]]
    net, held = Coarseness(), threading.Event()
    alone = [net.of_plane(plane) for plane in planes]
    sizes, graph = [], net._net

    def counted(crops):
        sizes.append(len(crops) // (ACROSS * DOWN))
        held.wait(10)  # so long that the others ask meanwhile
        return graph(crops)

    net._net = counted
    with ThreadPoolExecutor(len(planes)) as pool:
        asked = [pool.submit(net.of_plane, plane) for plane in planes]
        while len(net._looks._waiting) < len(planes) - 1:
            time.sleep(0.01)
        held.set()
        together = [one.result(10) for one in asked]
    assert sizes == [1, 4, 4, 2, 1]
    for one, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, expected)  # ranges of an asset rely on it


@pytest.mark.parametrize("size", [(64, 64), (65, 200), (270, 480), (1080, 1920)])
def test_places_lie_within_the_frame(size):
    at = places(*size)
    assert len(at) == ACROSS * DOWN
    assert all(0 <= y <= size[0] - CROP and 0 <= x <= size[1] - CROP for y, x in at)
    (top, left), (bottom, right) = at[0], at[-1]
    assert top <= size[0] - CROP - bottom + 1  # as far from one side as from the other
    assert left <= size[1] - CROP - right + 1


def test_a_frame_smaller_than_a_crop_has_none():
    assert places(63, 500) == ()
    assert shared().of_plane(np.zeros((63, 500), np.uint8)).shape == (0, 2)
    assert on_device.shared("cpu").of(torch.zeros(2, 500, 63, dtype=torch.uint8)).shape == (2, 0, 2)


def test_a_flat_picture_says_that_it_tells_little(clean):
    flat = shared().of_plane(np.full((270, 480), 90, np.uint8))
    textured = shared().of_plane(clean[0].mean(axis=2).astype(np.uint8))
    assert flat[:, 1].max() < np.median(textured[:, 1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_says_the_same(clean):
    planes = torch.from_numpy(np.stack([f.mean(axis=2).astype(np.uint8) for f in clean[:3]]))
    here, there = (
        on_device.shared("cpu").of(planes),
        on_device.shared("cuda").of(planes.cuda()).cpu(),
    )
    np.testing.assert_allclose(there, here, atol=2e-2)
