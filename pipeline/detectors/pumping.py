"""Brightness pumping: the whole picture breathes, from an auto-iris or from beating GOPs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.events import ladder
from pipeline.measurements import (
    Float32,
    Float64,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind

CELLS = (6, 8)  # rows and columns of cells in which the picture must move together
WINDOWS = ((2.0, 2.0), (4.0, 1.0), (8.0, 0.5))  # seconds, and the lowest frequency (Hz) it can tell
HOP = 0.5  # seconds between windows
FULL = 0.8  # of the depth so far: an earlier beginning in a weaker beat is not believed
SHORTEST = 1.8  # seconds; a few camera flashes beat for less
MIN_FRAMES = 24  # in a window; fewer cannot tell a frequency
FLASH_RATE = 2.5  # Hz from which strong modulation is flashing, which has its own detector
FLASH_DEPTH = 0.3  # deeper modulation at such rates is left to the flashing rule
MAX_DEPTH = 0.4  # deeper is a light that goes on and off, or a series of fades
DARK = 8.0  # code values above black below which a cell cannot show a gain
SLOWER = 0.6  # of a beat's frequency: slower changes are content, and do not make it impure
CUT = 0.08  # mean |log ratio| of cells to the common one, of two frames with a cut between them
CUT_RATIO = 4.0  # the same in units of what motion does in this window
EXTENT = 0.5  # seconds over which a beat is averaged where it begins and ends, or one period
SAWTOOTH = np.pi / np.sqrt(6)  # amplitude of a sine of its power, relative to its fundamental
FEW = 4  # harmonics of a beat of any form
TOOTH = 0.6, 1.6  # of a harmonic of a sawtooth, relative to what the fundamental lets expect
STEP = 0.42  # largest logarithm of the change of gain between two frames; MAX_DEPTH's is 0.41
LEAPS = 2  # larger ones in a window that are more than a cut by chance
IN_STEP = (0.4, 2.5)  # a cell's modulation relative to the common one, in phase


class PumpingSettings(DetectorSettings):
    """Settings of the pumping detector."""

    min_depth: float = setting(
        0.02,
        "",
        "peak-to-peak modulation, as a share of the mean level above black",
        "proposed in the field report: more than 2 %",
        gt=0,
        lt=1,
    )
    min_frequency: float = setting(
        0.5, "Hz", "slowest pumping", "auto-iris hunting 0.5 to 2 Hz, GOP beat 1 to 4 Hz", gt=0
    )
    max_frequency: float = setting(
        10.0, "Hz", "fastest pumping", "proposed in the field report: 1 to 10 Hz", gt=0
    )
    min_coherence: float = setting(
        0.65,
        "",
        "share of the picture that rises and falls in step, by about as much",
        "proposed; no alarm on 119 real clips, 0.94 and more on those pumped clips that are found",
        gt=0,
        le=1,
    )
    min_purity: float = setting(
        0.75,
        "",
        "share of the common fluctuation at this frequency and its harmonics",
        "proposed; no alarm on 119 real clips, though busy pumped clips reach only 0.6",
        gt=0,
        le=1,
    )


@dataclass
class _Beat:
    """What a window shows."""

    start: float
    end: float
    frequency: float
    depth: float
    coherence: float
    purity: float


class PumpingDetector(PictureDetector):
    """Looks for one frequency at which all cells of the picture rise and fall in step.

    Motion, cuts, camera flashes and a television set in the scene move some cells, or have no
    single frequency. Start and end are known to about one period.
    """

    name = "pumping"
    version = "3"
    kinds = (Kind.BRIGHTNESS_PUMPING,)
    summary = "The brightness of the whole picture rises and falls periodically"
    Settings = PumpingSettings

    def __init__(self, settings: PumpingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        rows, columns = picture_format.tiles
        self._down = _pool(rows, min(CELLS[0], rows))
        self._across = _pool(columns, min(CELLS[1], columns)).T
        self._times: Float64 = np.zeros(0)
        self._cells: Float32 = np.zeros((0, self._down.shape[0] * self._across.shape[1]), "f4")
        self._due = 0.0
        self._open: _Beat | None = None

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        pooled = self._down @ picture.luma @ self._across
        self._times = np.concatenate([self._times, picture.frames["time"]])
        self._cells = np.concatenate([self._cells, pooled.reshape(len(pooled), -1)])
        now = float(self._times[-1])
        keep = self._times > now - WINDOWS[-1][0]
        self._times, self._cells = self._times[keep], self._cells[keep]
        if now < self._due:
            return []
        self._due = now + HOP
        beat = self._look()
        known = self._open
        if beat is None:
            if known is not None and now - known.end > WINDOWS[0][0] / 2:
                self._open = None
                return self._observe(known)
            return []
        if known is None:
            self._open = beat
            return []
        if beat.start <= known.end + HOP and abs(beat.frequency / known.frequency - 1) < 0.25:
            if beat.depth >= FULL * known.depth:
                known.start = min(known.start, beat.start)
            known.end = max(known.end, beat.end)
            if beat.depth > known.depth:
                known.depth, known.coherence = beat.depth, beat.coherence
                known.purity, known.frequency = beat.purity, beat.frequency
            return []
        self._open = beat
        return self._observe(known)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        known, self._open = self._open, None
        return [] if known is None else self._observe(known)

    def _look(self) -> _Beat | None:
        """The strongest beat of the windows that end now, if it is one."""
        best: _Beat | None = None
        for seconds, lowest in WINDOWS:
            chosen = self._times > self._times[-1] - seconds
            times = self._times[chosen]
            if len(times) < MIN_FRAMES or times[-1] - times[0] < 0.9 * seconds:
                continue
            beat = self._analyse(times, self._cells[chosen], max(lowest, 4 / seconds))
            if beat is not None and (best is None or beat.depth > best.depth):
                best = beat
        return best

    def _analyse(self, times: Float64, cells: Float32, lowest: float) -> _Beat | None:
        settings = self.settings
        count = len(times)
        step = float(times[-1] - times[0]) / (count - 1)
        if step <= 0 or np.ptp(np.diff(times)) > 0.5 * step:  # variable rate: on an even grid
            even = np.linspace(times[0], times[-1], count)
            if not np.all(np.diff(times) > 0):
                return None
            cells = np.stack([np.interp(even, times, one) for one in cells.T], axis=1)
            times = even
        above = cells.astype(np.float64) - 16
        lit = np.median(above, axis=0) >= DARK
        if np.count_nonzero(lit) < 0.5 * len(lit):
            return None
        flat = _gains(above[:, lit])
        if flat is None:
            return None
        ramp = np.linspace(-1, 1, count)
        basis = np.stack([np.ones(count), ramp, ramp**2], axis=1)
        flat -= basis @ np.linalg.lstsq(basis, flat, rcond=None)[0]
        common = np.median(flat, axis=1)  # what moves in some cells only does not reach it
        window = np.hanning(count)
        spectrum = np.fft.rfft(common * window)
        frequencies = np.fft.rfftfreq(count, step)
        # content drifts, the more the slower: weighted so that a beat stands out of that
        power = np.abs(spectrum) ** 2 * frequencies
        band = (frequencies >= max(lowest, settings.min_frequency) - 1e-9) & (
            frequencies <= min(settings.max_frequency, 0.45 / step)
        )
        if not band.any() or power[1:].sum() <= 0:
            return None
        top = int(np.argmax(np.where(band, power, 0)))
        faster = frequencies >= SLOWER * frequencies[top]
        if top > 1 and power[1:top].max() > power[top]:  # a slower change, not this one
            return None
        near = np.zeros(len(power), dtype=bool)
        for harmonic in range(1, 1 + (len(power) // top if _falls(spectrum, top) else FEW)):
            at = harmonic * top % count  # those above half the frame rate are folded back
            at = min(at, count - at)
            near[max(1, at - 2) : at + 3] = True
        purity = float(power[near & faster].sum() / power[faster].sum())
        # of a sine with the power of all harmonics, of which a sawtooth has most
        sine = 4 * float(np.abs(spectrum[top])) / float(window.sum())
        beating = float((np.abs(spectrum[near]) ** 2).sum())
        depth = min(4 * float(np.sqrt(beating / (count * (window**2).sum()))), SAWTOOTH * sine)
        turn = np.exp(-2j * np.pi * frequencies[top] * (times - times[0])) * window
        own = (turn @ flat) / (turn @ common)  # each cell's share of the common beat
        coherence = float(np.mean((own.real > IN_STEP[0]) & (own.real < IN_STEP[1])))
        if (
            depth < settings.min_depth
            or depth > MAX_DEPTH
            or coherence < settings.min_coherence
            or purity < settings.min_purity
            or (frequencies[top] >= FLASH_RATE and depth > FLASH_DEPTH)
        ):
            return None
        frequency = float(frequencies[top])
        start, end = _extent(times, common, frequency, step)
        return _Beat(start, end, frequency, depth, coherence, purity)

    def _observe(self, beat: _Beat) -> list[Observation]:
        settings = self.settings
        length = beat.end - beat.start
        if length * beat.frequency < 3 or length < SHORTEST:
            return []
        confidence = float(np.interp(beat.depth / settings.min_depth, [1, 3], [0.6, 1]))
        confidence *= float(np.interp(beat.purity, [settings.min_purity, 0.95], [0.7, 1]))
        confidence *= float(np.interp(beat.coherence, [settings.min_coherence, 0.95], [0.8, 1]))
        return [
            Observation(
                Kind.BRIGHTNESS_PUMPING,
                beat.start,
                beat.end,
                ladder(beat.depth, 0.02, 0.04, 0.08, 0.16),
                confidence,
                f"the picture's brightness beats at {beat.frequency:.2f} Hz by "
                f"{100 * beat.depth:.1f} %, in step over {100 * beat.coherence:.0f} % of it",
                {
                    "frequency_hz": beat.frequency,
                    "depth": beat.depth,
                    "coherence": beat.coherence,
                    "purity": beat.purity,
                },
                peak=(beat.start + beat.end) / 2,
            )
        ]


def _gains(above: Float64) -> Float64 | None:
    """Logarithm of the level of each cell over time, without its steps at cuts, [T, cells].

    At a cut the cells change each by its own factor; pumping changes all of them by one, and not
    by so much: None where several do, as camera flashes, of which a slow fall would be left.
    """
    steps = np.diff(np.log(np.maximum(above, 1.0)), axis=0)
    common = np.median(steps, axis=1, keepdims=True)
    apart = np.abs(steps - common).mean(axis=1)
    usual = float(np.median(apart))  # of motion
    leaps = np.abs(common[:, 0]) > STEP
    if np.count_nonzero(leaps) >= LEAPS:
        return None
    steps[leaps | (apart > max(CUT, CUT_RATIO * usual))] = 0.0
    gains: Float64 = np.concatenate([np.zeros((1, above.shape[1])), np.cumsum(steps, axis=0)])
    return gains


def _falls(spectrum: npt.NDArray[np.complex128], top: int) -> bool:
    """Whether the first harmonics of a beat are those of a sawtooth, which has many more."""
    power = np.abs(spectrum) ** 2
    if FEW * top + 2 > len(power):
        return False
    size = [np.sqrt(power[n * top - 1 : n * top + 2].sum()) for n in range(1, FEW + 1)]
    fit = [n * one / size[0] for n, one in enumerate(size, 1)]
    return bool(TOOTH[0] < min(fit) and max(fit) < TOOTH[1])


def _extent(times: Float64, mean: Float64, frequency: float, step: float) -> tuple[float, float]:
    """The stretch around its strongest in which the beat keeps half its strength."""
    carrier = mean * np.exp(-2j * np.pi * frequency * times)
    # a whole number of periods: a fast one has few samples, and whole only by the half second
    length = max(1, round(max(1, round(EXTENT * frequency)) / (frequency * step)))
    inner = np.abs(np.convolve(carrier, np.ones(length) / length, mode="valid"))
    envelope = np.pad(inner, (length // 2, length - 1 - length // 2), mode="edge")
    weak = envelope < 0.5 * np.quantile(envelope, 0.9)
    top = int(np.argmax(envelope))
    before, after = np.flatnonzero(weak[:top]), np.flatnonzero(weak[top:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = top + int(after[0]) - 1 if len(after) else len(times) - 1
    return float(times[first]), float(times[last] + step)


def _pool(tiles: int, cells: int) -> Float32:
    """The matrix that averages `tiles` to `cells`, [cells, tiles]."""
    matrix = np.zeros((cells, tiles), np.float32)
    matrix[np.arange(tiles) * cells // tiles, np.arange(tiles)] = 1
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix
