"""The arithmetic of flash rules: opposing changes per cell, concurrent area, rate, sequences.

`flashing` says which standard sets which limit; here is how they are applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.measure.changes import find_changes
from pipeline.measurements import Float32, Float64, PictureFormat
from pipeline.types import Region

Mask = npt.NDArray[np.bool_]
Ways = npt.NDArray[np.int8]

CONCURRENT = 0.07  # seconds within which changes count as concurrent: a flash rises over two frames
WINDOW = 1.0  # seconds in which changes are counted, in every standard
NEIGHBOURS = 2  # cells to each side that must change in the same direction
DARKEST_RED = 0.01  # linear R+G+B below which a colour cannot be told from black
COHERENT = 0.5  # share of the changes around that must not cancel: a pan over a fence cancels

# BT.709 primaries and D65 to CIE 1931 XYZ, ITU-R BT.709 / IEC 61966-2-1
XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)
WHITE = np.array([0.1978, 0.4683], np.float32)  # u'v' of D65
RED = np.array([0.4507, 0.5229], np.float32)  # u'v' of the red primary

# BT.1702-3 Annex 2, Table 1 (SDR): BT.1886 with a peak of 200 cd/m2; code value 8-bit limited range
_CODES = np.arange(0, 256, 0.25)
SCREEN_LUMINANCE = (200.0 * np.clip((_CODES - 16) / 219, 0, 1) ** 2.4).astype(np.float32)
# IEC 61966-2-1 (sRGB), as WCAG has it, over 1024 steps of the signal
_SIGNAL = np.linspace(0, 1, 1025)
SRGB_LINEAR = np.where(
    _SIGNAL <= 0.04045, _SIGNAL / 12.92, ((_SIGNAL + 0.055) / 1.055) ** 2.4
).astype(np.float32)


def screen_luminance(luma: Float32) -> Float32:
    """cd/m2 on the display of BT.1702-3, of luma as an 8-bit limited-range code value."""
    return np.asarray(SCREEN_LUMINANCE[np.clip(luma * 4 + 0.5, 0, 1023).astype(np.intp)])


def linear_rgb(luma: Float32, cb: Float32, cr: Float32, height: int) -> Float32:
    """Linear RGB 0..1 [..., 3] of limited-range code values; BT.709, below 720 lines BT.601."""
    y, b, r = (luma - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    kr, kb = (0.2126, 0.0722) if height >= 720 else (0.299, 0.114)
    red, blue = y + 2 * (1 - kr) * r, y + 2 * (1 - kb) * b
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    signal = np.clip(np.stack([red, green, blue], axis=-1), 0, 1)
    return np.asarray(SRGB_LINEAR[(signal * 1024 + 0.5).astype(np.intp)])


def relative_luminance(rgb: Float32) -> Float32:
    """WCAG relative luminance 0..1 of linear RGB [..., 3]."""
    return np.asarray(rgb @ XYZ[1])


@dataclass(frozen=True)
class Rule:
    """The limits of a standard. `None` switches a clause off."""

    max_changes: int  # within one second
    max_area: float  # share of the picture, or of the field
    field: float | None  # width and height of the field as a share of the picture's
    spacing: float | None  # seconds between leading edges from which flashes are acceptable
    sequence: float | None  # seconds of two flashes or more in each that are a risk in themselves

    @property
    def least_share(self) -> float:
        """Share of the whole picture below which no clause can be broken."""
        return self.max_area * (self.field**2 if self.field else 1.0)


@dataclass
class Hazard:
    """An interval in which the rule was broken."""

    start: float
    end: float
    peak: float
    rate: float  # flashes per second, highest
    area: float  # share of the picture (of the field), largest
    step: float  # size of the changes at the peak
    region: Region
    sequence: bool  # broken by its length alone


class Cells:
    """The grid on which changes are counted: tiles, pooled in large pictures."""

    def __init__(self, picture_format: PictureFormat, largest: int) -> None:
        rows, columns = picture_format.tiles
        self.factor = -(-max(rows, columns) // largest)
        self.rows, self.columns = -(-rows // self.factor), -(-columns // self.factor)
        self.count = self.rows * self.columns
        tile = picture_format.TILE * self.factor
        height, width = picture_format.height, picture_format.width
        high = np.minimum(tile, height - np.arange(self.rows) * tile) / height
        wide = np.minimum(tile, width - np.arange(self.columns) * tile) / width
        self.weights: Float64 = np.outer(high, wide).ravel()
        self._tile = tile / width, tile / height

    def pool(self, maps: Float32) -> Float32:
        """Tile maps [T, tile rows, tile columns] to cells [T, count]."""
        if self.factor > 1:
            more = (
                (0, 0),
                (0, self.rows * self.factor - maps.shape[1]),
                (0, self.columns * self.factor - maps.shape[2]),
            )
            whole = np.pad(maps, more, mode="edge") if more[1][1] or more[2][1] else maps
            total = np.zeros((len(maps), self.rows, self.columns), np.float32)
            for y in range(self.factor):
                for x in range(self.factor):
                    total += whole[:, y :: self.factor, x :: self.factor]
            maps = total / np.float32(self.factor**2)
        return np.ascontiguousarray(maps, dtype=np.float32).reshape(len(maps), -1)

    def share(self, mask: Mask) -> float:
        """Share of the picture that the cells of a mask cover."""
        return float(self.weights[mask].sum())

    def area(self, mask: Mask, field: float | None) -> float:
        """Share of the picture, or of the field that is covered most."""
        whole = self.share(mask)
        if field is None or whole == 0:
            return whole
        wide = max(1, round(self.columns * field))
        high = max(1, round(self.rows * field))
        ones = self.weights.reshape(self.rows, self.columns)
        covered = _box(np.where(mask, self.weights, 0).reshape(ones.shape), high, wide)
        return float((covered / _box(ones, high, wide)).max())

    def coherent(self, up: Mask, down: Mask) -> Mask:
        """Cells around which changes go in one direction."""
        net = up.astype(np.float64) - down
        either = (up | down).astype(np.float64)
        shape, size = (self.rows, self.columns), 2 * NEIGHBOURS + 1
        pad = ((NEIGHBOURS, NEIGHBOURS), (NEIGHBOURS, NEIGHBOURS))
        around = np.abs(_box(np.pad(net.reshape(shape), pad), size, size))
        possible = _box(np.pad(either.reshape(shape), pad), size, size)
        return np.asarray(around >= COHERENT * possible).ravel()

    def region(self, mask: Mask) -> Region:
        """Bounding box of the cells of a mask."""
        ys, xs = np.nonzero(mask.reshape(self.rows, self.columns))
        wide, high = self._tile
        return Region(
            left=min(float(xs.min()) * wide, 1.0),
            top=min(float(ys.min()) * high, 1.0),
            right=min(float(xs.max() + 1) * wide, 1.0),
            bottom=min(float(ys.max() + 1) * high, 1.0),
        )


def _box(values: Float64, high: int, wide: int) -> Float64:
    """Sums over all windows of high x wide that lie inside."""
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    below = sums[high:] - sums[:-high]
    return np.asarray(below[:, wide:] - below[:, :-wide])


class StepChanges:
    """Changes of a value of at least `step` between its turning points, per cell."""

    def __init__(self, count: int, step: float, darker_below: float) -> None:
        self._step, self._darker_below = step, darker_below
        self._low = np.full(count, np.inf, np.float32)
        self._high = np.full(count, -np.inf, np.float32)
        self._turn = np.zeros(count, np.float32)
        self._way = np.zeros(count, np.int8)
        self._size = np.zeros(count, np.float32)

    def find(self, values: Float32) -> tuple[Ways, Float32]:
        """Take the next frames [T, count]; returns where they rose (1) and fell (-1), and the size
        of the last whole change as of each frame.
        """
        changes, sizes = np.empty(values.shape, np.int8), np.empty(values.shape, np.float32)
        find_changes(
            np.ascontiguousarray(values, np.float32), self._step, self._darker_below,
            self._low, self._high, self._turn, self._way, self._size, changes, sizes,
        )  # fmt: skip
        return changes, sizes


class RedChanges:
    """Transitions to and from a saturated red, with their distance in CIE 1976 u'v', per cell."""

    def __init__(self, count: int, ratio: float, distance: float) -> None:
        self.ratio, self.distance = ratio, distance
        self._red = np.zeros(count, np.bool_)
        self._turn = np.tile(WHITE, (count, 1))  # furthest colour since the last transition
        self._size = np.zeros(count, np.float32)

    def find(self, values: Float32) -> tuple[Ways, Float32]:
        """Take the next frames, linear RGB [T, count, 3]; returns where they turned to red (1) and
        left it (-1), and the size of the last whole change as of each frame.
        """
        total = values.sum(axis=2)
        lit = total > DARKEST_RED
        saturated = lit & (values[..., 0] >= self.ratio * total)
        xyz = values @ XYZ.T
        below = np.maximum(xyz @ np.array([1, 15, 3], np.float32), 1e-6)
        colour = np.stack([4 * xyz[..., 0] / below, 9 * xyz[..., 1] / below], axis=-1)
        colour[~lit] = WHITE  # black has no colour of its own
        redness = _redness(colour)
        changes, sizes = np.zeros(total.shape, np.int8), np.empty(total.shape, np.float32)
        active = saturated.any(axis=0) | self._red
        sizes[:, ~active] = self._size[~active]
        self._keep_least(np.flatnonzero(~active), colour, redness)
        cells = np.flatnonzero(active)
        for n in range(len(values) if len(cells) else 0):
            changes[n, cells] = self._add(
                cells, saturated[n, cells], colour[n, cells], redness[n, cells]
            )
            sizes[n, cells] = self._size[cells]
        return changes, sizes

    def _keep_least(self, cells: npt.NDArray[np.intp], colour: Float32, redness: Float32) -> None:
        """Of cells that are never red here: the least red that a next transition starts from."""
        least = redness[:, cells].argmin(axis=0)
        further = redness[least, cells] < _redness(self._turn[cells])
        self._turn[cells[further]] = colour[least, cells][further]

    def _add(
        self, cells: npt.NDArray[np.intp], saturated: Mask, colour: Float32, redness: Float32
    ) -> Ways:
        red, turn = self._red[cells], self._turn[cells]
        away = np.hypot(colour[:, 0] - turn[:, 0], colour[:, 1] - turn[:, 1])
        turned = (saturated != red) & (away > self.distance)
        # what the next transition starts from: the reddest red, or the least red of the rest
        before = _redness(turn)
        further = np.where(red, redness > before, redness < before) & (saturated == red)
        self._red[cells] = red ^ turned
        self._size[cells[turned]] = away[turned]
        kept = turned | further
        self._turn[cells[kept]] = colour[kept]
        return np.where(turned, np.where(saturated, 1, -1), 0).astype(np.int8)


def _redness(colour: Float32) -> Float32:
    """How near colours u'v' [..., 2] come to the red primary: 0 for it, negative for the rest."""
    return np.asarray(-np.hypot(colour[..., 0] - RED[0], colour[..., 1] - RED[1]))


class FlashCounter:
    """Counts the changes that occur concurrently in enough of the picture, and applies the rule."""

    def __init__(self, rule: Rule, cells: Cells) -> None:
        self.rule, self._cells = rule, cells
        count = cells.count
        self._changed = np.full((2, count), -np.inf)  # time of the last fall, of the last rise
        self._waiting = np.zeros((2, count), np.bool_)  # changed, and not yet counted
        self._times = np.full((rule.max_changes + 1, count), -np.inf)  # of the last changes
        self._over = np.full(count, -np.inf)  # time at which a cell last broke the limit
        self._long = np.full(count, -np.inf)  # likewise for the length of its sequence
        self._lead = np.full(count, -np.inf)  # time of the last leading edge
        self._lead_way = np.full(count, -1, np.int8)
        self._recent = np.full((4, count), -np.inf)  # last changes, whatever their spacing
        self._since = np.full(count, np.inf)  # since when there were two flashes in any second
        self._first = True
        self._open: Hazard | None = None
        self._done: list[Hazard] = []

    def add(self, times: Float64, ends: Float64, changes: Ways, sizes: Float32) -> None:
        """Take the changes [T, count] of frames shown from `times` to `ends`."""
        weights = self._cells.weights
        shares = np.stack([(changes < 0) @ weights, (changes > 0) @ weights])
        some = shares.any(axis=0)
        # largest share that changed one way at or shortly before each frame, within these frames
        before = np.searchsorted(times, times - CONCURRENT, side="right")
        sums = np.pad(shares.cumsum(axis=1), ((0, 0), (1, 0)))
        most = (sums[:, 1:] - sums[:, before]).max(axis=0)
        # at the head of a segment the frames before are not known here: take no short cut
        head = (times - times[0] < CONCURRENT) & (not self._first)
        judged = some & (head | (most > self.rule.least_share))
        # a change matters where a frame is judged soon after it, here or in the next segment
        soon = np.append(times[judged], times[-1])
        noted = some & (soon[np.searchsorted(soon, times)] - times < CONCURRENT)
        for n in np.flatnonzero(noted):
            time, changed = float(times[n]), changes[n]
            for way, sign in enumerate((-1, 1)):
                if shares[way, n]:
                    mask = changed == sign
                    self._changed[way, mask] = time
                    self._changed[1 - way, mask] = -np.inf  # only the latest is concurrent
                    self._waiting[way] |= mask
            if judged[n]:
                self._concur(time, float(ends[n]), sizes[n])
        self._first = False

    def _concur(self, time: float, end: float, size: Float32) -> None:
        counted = False
        recent = self._changed > time - CONCURRENT
        self._waiting &= recent
        for way in (0, 1):
            now = recent[way]
            if self._cells.share(now) <= self.rule.least_share:
                continue
            now = now & self._cells.coherent(recent[1], recent[0])
            if self._cells.area(now, self.rule.field) > self.rule.max_area:
                self._count(time, way, now & self._waiting[way])
                self._waiting[way] &= ~now
                counted = True
        if counted:
            self._judge(time, end, size)

    def expire(self, now: float) -> list[Hazard]:
        """The hazards that ended more than a second before `now`."""
        if self._open is not None and now - self._open.end > WINDOW:
            self._done.append(self._open)
            self._open = None
        done, self._done = self._done, []
        return done

    def _count(self, time: float, way: int, mask: Mask) -> None:
        if self.rule.spacing is not None:
            apart = mask & (time - self._lead >= self.rule.spacing - 1e-3)
            self._times[:, apart] = -np.inf
            self._lead_way[apart] = way
            self._lead[mask & (self._lead_way == way)] = time
        self._times[:-1, mask] = self._times[1:, mask]
        self._times[-1, mask] = time
        self._over[mask & (time - self._times[0] < WINDOW - 1e-6)] = time
        if self.rule.sequence is not None:
            slow = (self._recent[0] > -np.inf) & (time - self._recent[1] >= WINDOW - 1e-6)
            self._since[mask & (slow | (time - self._recent[-1] >= WINDOW / 2))] = time
            self._recent[:-1, mask] = self._recent[1:, mask]
            self._recent[-1, mask] = time
            self._long[mask & (time - self._since > self.rule.sequence)] = time

    def _judge(self, time: float, end: float, size: Float32) -> None:
        for sequence, when in ((False, self._over), (True, self._long)):
            hot = when > time - CONCURRENT
            area = self._cells.area(hot, self.rule.field)
            if area <= self.rule.max_area:
                continue
            started = self._since[hot] if sequence else self._times[0, hot]
            changes = self._recent if sequence else self._times
            span = time - float(np.median(changes[0, hot]))
            self._keep(
                Hazard(
                    start=float(np.median(started)),
                    end=end,
                    peak=time,
                    rate=(len(changes) - 1) / 2 / max(span, 1e-3),
                    area=area,
                    step=float(np.median(size[hot])),
                    region=self._cells.region(hot),
                    sequence=sequence,
                )
            )
            return

    def _keep(self, new: Hazard) -> None:
        old = self._open
        if old is None or new.start > old.end + WINDOW:
            if old is not None:
                self._done.append(old)
            self._open = new
            return
        worse = (new.sequence, -new.rate * new.area) < (old.sequence, -old.rate * old.area)
        best = new if worse else old
        self._open = Hazard(
            start=min(old.start, new.start),
            end=new.end,
            peak=best.peak,
            rate=best.rate,
            area=best.area,
            step=best.step,
            region=best.region,
            sequence=best.sequence,
        )
