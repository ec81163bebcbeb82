"""The runtime gives what the net gives, in batches of any frames, and notices when it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.frames import Frame, frame_score
from models.nets.corruption import CorruptionNet, load, padded, save
from models.runtime import (
    SELF_TEST,
    TOLERANCE,
    CorruptionRuntime,
    RuntimeMismatchError,
    reference_frame,
    store_self_test,
)

gpu = pytest.mark.gpu
SIZES = ((144, 208), (90, 160), (97, 131), (16, 16))


def frame(height: int, width: int, seed: int) -> Frame:
    """Noise, moving."""
    rng = np.random.default_rng(seed)
    luma, before = rng.integers(16, 236, (2, height, width), dtype=np.uint8)
    cb, cr = rng.integers(16, 241, (2, -(-height // 2), -(-width // 2)), dtype=np.uint8)
    return Frame(luma, before, cb, cr)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A net that nothing has fitted, whose normalisation has seen some frames."""
    torch.manual_seed(5)
    net = CorruptionNet()
    for seed in range(20):
        one = frame(64, 64, seed)
        chroma = torch.from_numpy(np.stack([one.cb, one.cr]))[None]
        net(
            torch.from_numpy(one.luma)[None, None], torch.from_numpy(one.before)[None, None], chroma
        )
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save(net.eval(), path)
    store_self_test(path)
    return path


@pytest.fixture(scope="module")
def runtime(weights) -> CorruptionRuntime:
    return CorruptionRuntime("cpu", weights=weights)


def test_the_net_is_small(weights):
    assert sum(p.numel() for p in load(weights).parameters()) < 1_000_000
    assert weights.stat().st_size < 20e6


@pytest.mark.parametrize("temporal", [True, False])
def test_a_net_is_read_as_it_was_written(tmp_path, temporal):
    torch.manual_seed(1)
    net = CorruptionNet(temporal).eval()
    save(net, tmp_path / "net.safetensors")
    read = load(tmp_path / "net.safetensors")
    assert read.temporal == temporal
    one = frame(64, 96, 3)
    inputs = [torch.from_numpy(p)[None, None] for p in (one.luma, one.before)]
    inputs.append(torch.from_numpy(np.stack([one.cb, one.cr]))[None])
    with torch.inference_mode():
        np.testing.assert_array_equal(read(*inputs).numpy(), net(*inputs).numpy())
        still = [inputs[0], inputs[0], inputs[2]]
        sees_change = not torch.equal(net(*still), net(*inputs))
    assert sees_change == temporal


def test_runtime_gives_what_the_net_gives(runtime, weights):
    one = frame(144, 208, 1)
    luma, before = (padded(torch.from_numpy(p)[None, None], 64) for p in (one.luma, one.before))
    chroma = padded(torch.from_numpy(np.stack([one.cb, one.cr]))[None], 32)
    with torch.inference_mode():
        wanted = load(weights)(luma, before, chroma).sigmoid()[0].numpy()
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


def test_a_batch_that_does_not_fit_is_run_in_halves(runtime, monkeypatch):
    frames = [frame(64, 64, seed) for seed in range(5)]
    wanted = runtime.run(frames)
    whole, sizes = runtime._of_one_shape, []

    def small(some, part):
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError
        return whole(some, part)

    monkeypatch.setattr(runtime, "_batch", 16)
    monkeypatch.setattr(runtime, "_of_one_shape", small)
    for one, other in zip(runtime.run(frames), wanted, strict=True):
        np.testing.assert_allclose(one.corruption, other.corruption, atol=1e-5)
    assert sizes == [5, 2, 3, 1, 2]

    def never(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(runtime, "_of_one_shape", never)
    with pytest.raises(torch.OutOfMemoryError):
        runtime.run(frames)


def test_the_worst_tiles_decide_on_a_frame():
    tiles = np.zeros((9, 13), np.float32)
    tiles[2, 3:7] = 0.8
    assert frame_score(tiles) == pytest.approx(0.8)
    assert frame_score(tiles[:1, :2]) == 0.0


def test_other_weights_are_noticed(weights, tmp_path):
    state = load_file(weights)
    state["head.bias"] = state["head.bias"] + 1.0
    other = tmp_path / "other.safetensors"
    save_file(state, other)
    other.with_suffix(SELF_TEST).write_bytes(weights.with_suffix(SELF_TEST).read_bytes())
    with pytest.raises(RuntimeMismatchError, match="differs by"):
        CorruptionRuntime("cpu", weights=other)


@gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_what_the_cpu_gives(runtime, weights, precision):
    on_gpu = CorruptionRuntime("cuda", precision, weights=weights)
    frames = [frame(*size, seed) for seed, size in enumerate(SIZES)] + [reference_frame()]
    limit = TOLERANCE[on_gpu.dtype]
    for one, other in zip(on_gpu.run(frames), runtime.run(frames), strict=True):
        np.testing.assert_allclose(one.corruption, other.corruption, atol=limit)
        np.testing.assert_allclose(one.blockiness, other.blockiness, atol=limit)
