"""Faces are found where they are, and mouths are followed and cut out."""

from __future__ import annotations

import numpy as np
import pytest

from faults.media import Clean
from models.faces import Face, FaceFinder
from models.mouths import SIDE, cut_out, follow
from tests import media


@pytest.fixture(scope="module")
def frames():
    return [(p.luma, p.cb, p.cr) for p in Clean(media.speaker()).pictures()][::20]


@pytest.fixture(scope="module")
def finder():
    return FaceFinder("cpu")


def test_the_speaker_is_found_in_every_frame(finder, frames):
    found = finder.find(frames)
    assert [len(faces) for faces in found] == [1] * len(frames)
    for (face,) in found:
        assert face.score > 0.8
        assert 35 < face.width < 70
        assert face.x < face.mouth[0] < face.x + face.width
        # a mouth is in the lower part of a face
        assert 0.55 < (face.mouth[1] - face.y) / face.height < 0.95
    assert finder.find([]) == []


def test_places_are_those_of_the_frame_however_it_is_reduced(finder, frames):
    (alone,) = finder.find(frames[:1])[0]
    large = [
        np.full((720 // n, 1280 // n), level, np.uint8)
        for n, level in ((1, 90), (2, 128), (2, 128))
    ]
    for plane, small in zip(large, frames[0], strict=True):
        scale = plane.shape[0] / 720
        top, left = round(300 * scale), round(640 * scale)
        doubled = small.repeat(2, axis=0).repeat(2, axis=1)
        plane[top : top + doubled.shape[0], left : left + doubled.shape[1]] = doubled
    (face,) = finder.find([tuple(large)])[0]
    assert face.mouth == pytest.approx((640 + 2 * alone.mouth[0], 300 + 2 * alone.mouth[1]), abs=8)
    assert face.size == pytest.approx(2 * alone.size, rel=0.2)


def test_no_face_is_found_where_there_is_none(finder):
    luma = media.texture(270, 480, 3)[:, :, 1]
    grey = np.full((135, 240), 128, np.uint8)
    assert finder.find([(luma, grey, grey)]) == [[]]


def face(x: float, y: float, size: float = 60.0) -> Face:
    return Face(x - size / 2, y - size * 0.7, size, size, 0.9, (x, y))


def test_faces_are_followed_apart_and_to_their_end():
    rng = np.random.default_rng(1)
    looks = {n: [face(100 + n, 100), face(300, 100, 40)] for n in range(0, 50, 5)}
    for n in range(50, 75, 5):  # the smaller one leaves; the finder jitters
        looks[n] = [face(100 + n + rng.uniform(-2, 2), 100)]
    looks[30] = looks[30][::-1]
    large, small = follow(looks)
    assert (large.first, len(large.centres)) == (0, 71)
    assert (small.first, len(small.centres)) == (0, 46)
    np.testing.assert_allclose(large.centres[:40, 0], 100 + np.arange(40), atol=2.5)
    assert np.abs(np.diff(large.centres[:, 0])).max() < 2
    assert large.side > small.side


def test_a_cut_ends_a_path():
    looks = {0: [face(100, 100)], 5: [face(102, 100)], 10: [face(300, 140)], 15: [face(301, 140)]}
    assert sorted(path.first for path in follow(looks)) == [0, 10]
    assert follow({0: [face(100, 100)]}) == []


def test_a_mouth_is_cut_out_at_the_edge_too():
    rows, columns = np.mgrid[:200, :300]
    luma = (columns // 2 + rows // 4).astype(np.uint8)
    inside = cut_out(luma, np.array([150.0, 100.0]), 80.0)
    np.testing.assert_allclose(inside, luma[60:140, 110:190], atol=1)
    edge = cut_out(luma, np.array([295.0, 195.0]), 40.0)
    assert edge.shape == (SIDE, SIDE)
    assert edge[-1, -1] == luma[-1, -1]
