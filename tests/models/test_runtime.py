"""The runtime gives what the net gives, in batches of any frames, and notices when it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.corruption import WEIGHTS, load, padded
from models.frames import Frame, frame_score
from models.runtime import TOLERANCE, CorruptionRuntime, RuntimeMismatchError, test_frame

gpu = pytest.mark.gpu
SIZES = ((144, 208), (90, 160), (97, 131), (16, 16))


def frame(height: int, width: int, seed: int) -> Frame:
    """Noise, moving."""
    rng = np.random.default_rng(seed)
    luma, before = rng.integers(16, 236, (2, height, width), dtype=np.uint8)
    cb, cr = rng.integers(16, 241, (2, -(-height // 2), -(-width // 2)), dtype=np.uint8)
    return Frame(luma, before, cb, cr)


@pytest.fixture(scope="module")
def runtime() -> CorruptionRuntime:
    return CorruptionRuntime("cpu")


def test_weights_are_small():
    net = load()
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
    assert WEIGHTS.stat().st_size < 20e6


def test_runtime_gives_what_the_net_gives(runtime):
    one = frame(144, 208, 1)
    luma, before = (padded(torch.from_numpy(p)[None, None], 64) for p in (one.luma, one.before))
    chroma = padded(torch.from_numpy(np.stack([one.cb, one.cr]))[None], 32)
    with torch.inference_mode():
        wanted = load()(luma, before, chroma).sigmoid()[0].numpy()
    maps = runtime.run([one])[0]
    np.testing.assert_allclose(maps.corruption, wanted[0, :9, :13], atol=1e-4)
    np.testing.assert_allclose(maps.blockiness, wanted[1, :9, :13], atol=1e-4)


def test_frames_of_mixed_streams_come_back_in_order(runtime):
    frames = [frame(*size, seed) for seed, size in enumerate(SIZES * 2)]
    together = runtime.run(frames)
    for one, maps in zip(frames, together, strict=True):
        alone = runtime.run([one])[0]
        assert maps.corruption.shape == tuple(-(-side // 16) for side in one.luma.shape)
        np.testing.assert_allclose(maps.corruption, alone.corruption, atol=1e-5)


def test_corrupt_blocks_score_above_an_intact_picture(runtime):
    damaged = test_frame()
    intact = Frame(damaged.before, damaged.before, damaged.cb, damaged.cr)
    scores = [frame_score(maps.corruption) for maps in runtime.run([damaged, intact])]
    assert scores[0] > scores[1]


def test_other_weights_are_noticed(tmp_path):
    state = load_file(WEIGHTS)
    state["head.bias"] = state["head.bias"] + 1.0
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(RuntimeMismatchError, match="differs by"):
        CorruptionRuntime("cpu", weights=tmp_path / "other.safetensors")


@gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_what_the_cpu_gives(runtime, precision):
    on_gpu = CorruptionRuntime("cuda", precision)
    frames = [frame(*size, seed) for seed, size in enumerate(SIZES)] + [test_frame()]
    limit = TOLERANCE[on_gpu.dtype]
    for one, other in zip(on_gpu.run(frames), runtime.run(frames), strict=True):
        np.testing.assert_allclose(one.corruption, other.corruption, atol=limit)
        np.testing.assert_allclose(one.blockiness, other.blockiness, atol=limit)
