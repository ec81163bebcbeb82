"""What tests of the parts share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import media


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Two seconds, black from 0.4 to 1.6 s."""
    path = tmp_path_factory.mktemp("clip") / "dark.mp4"
    frames = media.scene(2.0, 160, 96)
    frames = [np.full_like(f, 16) if 10 <= n < 40 else f for n, f in enumerate(frames)]
    media.write(path, frames, 0.1 * media.programme(2.0))
    return path
