"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.clips import CleanClip
from tests import media


@pytest.fixture(scope="module")
def clean_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CleanClip]:
    """Writes a clean clip of a drawn scene; arguments as of tests.media.scene."""

    def write(seconds: float, **scene: float) -> CleanClip:
        path: Path = media.write(
            tmp_path_factory.mktemp("clip") / "scene.mkv",
            media.scene(seconds, **scene),
            video_options={"crf": "12", "preset": "veryfast"},
        )
        return CleanClip(
            id="scene", file=str(path), kind="video", source="scene", sound_source="",
            split="dev", duration=seconds, picture=True, frame_rate=25.0, sample_rate=0,
            files=("scene.mkv",),
        )  # fmt: skip

    return write
