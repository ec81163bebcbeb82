"""Sound that the tests of the level detectors share: lossless and AAC files, and hard negatives."""

from __future__ import annotations

import numpy as np

from tests import media

RATE = media.SAMPLE_RATE
AAC = {"suffix": ".m4a", "audio_codec": "aac"}
PCM = {"suffix": ".wav", "audio_codec": "pcm_s16le", "audio_format": "s16"}


def save(folder, sound, how=PCM):
    """Write `sound` [C, N] with a real encoder; returns the path."""
    how = dict(how)
    path = folder / f"sound{how.pop('suffix')}"
    if how["audio_codec"] == "aac":
        return media.write(path, sound=np.asarray(sound, np.float32), **how)
    import wave

    samples = np.clip(np.round(np.asarray(sound).T * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def tone(level_dbfs, seconds, frequency=997.0, channels=2, phase=0.0):
    """A steady sine of that peak level."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency * t + phase)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


def noise(level_dbfs, seconds, channels=2, seed=0):
    """White noise of that RMS level."""
    shape = (channels, round(seconds * RATE))
    return np.random.default_rng(seed).normal(0, 10 ** (level_dbfs / 20), shape).astype(np.float32)


def drums(seconds=8.0, seed=0):
    """Kick, snare, claps and castanets, hard attacks, digital silence between."""
    rng = np.random.default_rng(seed)
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    for n, start in enumerate(np.arange(0.1, seconds - 0.4, 0.25)):
        t = np.arange(round(0.3 * RATE)) / RATE
        kinds = (
            0.8 * np.sin(2 * np.pi * (50 + 100 * np.exp(-t / 0.02)) * t) * np.exp(-t / 0.08),
            0.5 * rng.normal(0, 0.4, len(t)) * np.exp(-t / 0.05),
            0.5 * rng.normal(0, 0.4, len(t)) * np.exp(-t / 0.012),
            0.6 * np.sin(2 * np.pi * 2300 * t) * np.exp(-t / 0.004),
        )
        at = round(start * RATE)
        out[:, at : at + len(t)] += kinds[n % 4] * np.array([[1.0], [0.8]])
    return np.clip(out, -0.95, 0.95)


def chiptune(seconds=8.0):
    """Square waves that are gated hard, with digital silence between the notes."""
    t = np.arange(round(seconds * RATE)) / RATE
    note = (t / 0.15).astype(int)
    pitch = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4])[note % 6] / 12)
    square = 0.5 * np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE))
    return np.repeat((square * (t % 0.15 < 0.1))[None].astype(np.float32), 2, axis=0)
