"""Words and units for people: what a defect is called, and how numbers are written."""

from __future__ import annotations

import math
from typing import NamedTuple

from pipeline.types import Kind

SEVERITIES = ("very noticeable", "noticeable", "subtle", "very subtle")


class Term(NamedTuple):
    """How a kind of defect is presented."""

    name: str
    notice: str  # what a viewer or listener notices
    senses: str  # "v" picture, "a" sound, "va" both: which evidence helps, which charts it shades


KINDS: dict[Kind, Term] = {
    Kind.BLACK: Term("Black picture", "The picture goes black where there should be one.", "v"),
    Kind.FREEZE: Term("Frozen picture", "The picture stands still while it should move.", "v"),
    Kind.PARTIAL_FREEZE: Term(
        "Partly frozen picture",
        "The picture stands still while only a ticker, clock or logo goes on moving.",
        "v",
    ),
    Kind.SOLID_COLOR: Term("Solid colour", "One flat colour is shown instead of a picture.", "v"),
    Kind.COLOR_BARS: Term("Colour bars", "A test pattern is on air instead of a programme.", "v"),
    Kind.SLATE: Term("Slate", "A still card or slate is on air where a programme belongs.", "v"),
    Kind.REPEATED_FRAMES: Term(
        "Repeated frames", "Motion stutters: pictures are shown more than once.", "v"
    ),
    Kind.DROPPED_FRAMES: Term("Dropped frames", "Motion jumps: pictures are missing.", "v"),
    Kind.GLITCH: Term(
        "Picture glitch", "A flash of damage or a foreign picture, for a few frames.", "v"
    ),
    Kind.BLOCK_CORRUPTION: Term(
        "Corrupted blocks", "Square pieces of the picture are wrong, as after lost data.", "v"
    ),
    Kind.DECODER_SMEAR: Term(
        "Decoder smear",
        "Grey, green or smeared areas drag along until a fresh picture comes.",
        "v",
    ),
    Kind.BLOCKINESS: Term(
        "Compression blocks", "A visible grid of squares: too strong a compression.", "v"
    ),
    Kind.BLUR: Term("Blur", "The picture is soft or out of focus.", "v"),
    Kind.BANDING: Term("Banding", "Smooth areas such as skies break into visible steps.", "v"),
    Kind.NOISE: Term("Picture noise", "Grain or snow lies over the picture.", "v"),
    Kind.COMBING: Term(
        "Combing", "Moving edges look like the teeth of a comb: fields shown as a frame.", "v"
    ),
    Kind.TEARING: Term(
        "Tearing", "Upper and lower parts of the picture come from different moments.", "v"
    ),
    Kind.BRIGHTNESS_PUMPING: Term(
        "Brightness pumping", "The brightness of the picture goes up and down by itself.", "v"
    ),
    Kind.FLASHING: Term(
        "Harmful flashing", "Flashes that may trigger photosensitive epilepsy.", "v"
    ),
    Kind.LETTERBOX_CHANGE: Term(
        "Black borders change", "The black bars around the picture appear, vanish or move.", "v"
    ),
    Kind.ILLEGAL_LEVELS: Term(
        "Illegal levels", "Brightness or colour outside the legal range; it will be cut off.", "v"
    ),
    Kind.SILENCE: Term("Silence", "The sound is gone for longer than the programme pauses.", "a"),
    Kind.DROPOUT: Term("Sound dropout", "The sound is interrupted for a moment.", "a"),
    Kind.DEAD_CHANNEL: Term("Dead channel", "One channel carries no sound.", "a"),
    Kind.CLIPPING: Term("Clipping", "Loud sound is cut off at full scale: it crackles.", "a"),
    Kind.CLICK: Term("Clicks", "Clicks or pops in the sound.", "a"),
    Kind.HUM: Term("Hum", "A low steady mains tone lies under the sound.", "a"),
    Kind.HISS: Term("Hiss", "A steady rush of noise lies under the sound.", "a"),
    Kind.DISTORTION: Term("Distortion", "The sound is harsh or broken.", "a"),
    Kind.DC_OFFSET: Term(
        "DC offset", "The waveform is off centre: headroom is lost and edits click.", "a"
    ),
    Kind.PHASE_INVERSION: Term(
        "Inverted phase", "Left and right cancel each other: hollow, and gone in mono.", "a"
    ),
    Kind.FALSE_STEREO: Term("False stereo", "Both channels of a stereo track are the same.", "a"),
    Kind.LEVEL_JUMP: Term("Level jump", "The sound suddenly gets much louder or quieter.", "a"),
    Kind.TEST_TONE: Term("Test tone", "A line-up tone is on air instead of a programme.", "a"),
    Kind.BANDWIDTH_LOSS: Term(
        "Muffled sound", "The treble is missing: it sounds like a telephone or a bad copy.", "a"
    ),
    Kind.LOUDNESS: Term(
        "Loudness off target", "The programme is louder or quieter than the target allows.", "a"
    ),
    Kind.TRUE_PEAK: Term(
        "True peak too high", "Peaks between samples exceed the limit and may distort.", "a"
    ),
    Kind.AV_OFFSET: Term("Sound not in sync", "Lips and sound do not match.", "va"),
    Kind.AV_DRIFT: Term(
        "Sound drifts out of sync", "Picture and sound slowly move away from each other.", "va"
    ),
    Kind.AV_STEP: Term(
        "Sync jumps", "From one moment to the next picture and sound no longer match.", "va"
    ),
    Kind.AV_LENGTH_MISMATCH: Term(
        "Picture and sound differ in length", "One of them starts later or ends earlier.", "va"
    ),
    Kind.TIMESTAMP_GAP: Term(
        "Gap in time stamps", "Nothing is there for a moment: players freeze or skip.", "va"
    ),
    Kind.TIMESTAMP_JUMP: Term(
        "Time stamps jump", "The clock of the stream jumps: players may stall or lose sync.", "va"
    ),
    Kind.DECODE_ERROR: Term(
        "Damaged data", "The decoder found damaged data; picture or sound may break up.", "va"
    ),
    Kind.TRUNCATED: Term("Cut off", "The asset ends before its declared end.", "va"),
    Kind.FORMAT_CHANGE: Term(
        "Format changes", "Size, rate or channels change in the middle; players may fail.", "va"
    ),
    Kind.MISSING_STREAM: Term(
        "Missing stream", "A picture or sound stream that is announced has no content.", ""
    ),
    Kind.OUTAGE: Term("Outage", "The stream was not there.", "va"),
    Kind.STALE_PLAYLIST: Term(
        "Stale playlist", "The playlist is not renewed: players run dry and stop.", ""
    ),
    Kind.SEGMENT_MISSING: Term(
        "Missing segment", "A piece of the stream cannot be fetched: players skip or stop.", "va"
    ),
}

SERIES: dict[str, tuple[str, str, str]] = {
    # name -> (chart, unit, label in the chart)
    "luma": ("Brightness (luma)", "code value", "luma"),
    "motion": ("Motion", "code values", "motion"),
    "detail": ("Detail", "code values", "detail"),
    "level": ("Sound level", "dBFS", "RMS level"),
    "peak": ("Sound level", "dBFS", "sample peak"),
    "loudness_momentary": ("Loudness", "LUFS", "momentary"),
    "loudness_short_term": ("Loudness", "LUFS", "short-term"),
}
SOUND_CHARTS = frozenset({"Sound level", "Loudness"})

_REASONS = {
    "not_found": "The asset was not found",
    "unreadable": "The asset could not be read",
    "not_media": "It is not audio or video that Vidette knows",
    "empty": "The asset is empty",
    "is_directory": "A folder is not an asset",
    "not_a_file": "It is not a file",
    "not_permitted": "Access was denied",
    "connection_refused": "The connection was refused",
    "connection_failed": "The connection broke",
    "http_error": "The server reported an error",
    "unknown_scheme": "This kind of address is not known",
    "missing_extra": "A package for this kind of address is not installed",
    "refused_format": "The format is not opened",
    "refused_reference": "It leads to files or hosts that it may not read",
    "input_too_large": "The input is larger than allowed",
    "spool_failed": "The input could not be copied",
    "encrypted": "The content is encrypted",
    "frame_too_large": "The picture is larger than allowed",
    "no_decoder": "There is no decoder for a stream",
    "no_media": "There is neither picture nor sound in it",
    "not_examined": "A stream was not examined",
    "nothing_decoded": "A stream could not be decoded",
    "read_error": "Reading stopped early",
    "late_streams": "Streams began while it was read",
    "unusual_rate": "The sample rate is beyond all that sound has",
    "read_timeout": "The source stopped answering",
    "open_timeout": "The source did not answer",
    "interrupted": "The inspection was interrupted",
}

_UNITS = (
    # suffix of a name -> unit; the first that fits
    ("_lufs", "LUFS"),
    ("_dbfs", "dBFS"),
    ("_dbtp", "dBTP"),
    ("_code_values", "code values"),
    ("_code_value", "code values"),
    ("_per_s", "per second"),
    ("_px", "px"),
    ("_hz", "Hz"),
    ("_khz", "kHz"),
    ("_lu", "LU"),
    ("_db", "dB"),
    ("_ms", "ms"),
    ("_percent", "%"),
    ("_degrees", "°"),
    ("_s", "s"),
)


def term(kind: str) -> Term:
    """Name and explanation of a kind, also of one that this version does not know."""
    try:
        return KINDS[Kind(kind)]
    except (ValueError, KeyError):
        return Term(kind.replace("_", " ").capitalize(), "", "va")


def severity_word(severity: float) -> str:
    """The step of the ladder (0.25, 0.5, 0.75, 1) that is nearest to a severity."""
    step = min(max(math.floor(severity * 4 + 0.5), 1), 4)
    return SEVERITIES[4 - step]


def timecode(seconds: float) -> str:
    """`h:mm:ss.mmm`."""
    sign = "−" if round(seconds * 1000) < 0 else ""
    ms = abs(round(seconds * 1000))
    return f"{sign}{ms // 3_600_000}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def seconds_words(seconds: float) -> str:
    """A length of time as a person says it: `80 ms`, `2.48 s`, `12 min 5 s`, `1 h 20 min`."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds >= 10 else f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"


def certainty(confidence: float) -> str:
    """A confidence in words; nothing is ever 100 % sure."""
    percent = round(confidence * 100)
    return f"{percent} % sure" if percent < 100 else "over 99 % sure"


def reason(identifier: str) -> str:
    """A `Problem.reason` as a sentence."""
    return _REASONS.get(identifier, identifier.replace("_", " ").capitalize())


def number(value: float | bool | str | None) -> str:
    """A number with as many digits as a person can use."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ").replace("-", "−")  # narrow no-break space
    text = f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}".replace(",", " ")
    return text.replace("-", "−")


def measured(name: str, value: float) -> tuple[str, str]:
    """Label and value with unit of a figure whose name ends in its unit.

    Returns:
        ("Share of picture", "34.0 %") for ("share_of_picture", 0.34).
    """
    if name.startswith("share_") or name.endswith("_share"):
        return _label(name), f"{value * 100:.1f} %"
    for suffix, unit in _UNITS:
        if name.endswith(suffix):
            return _label(name.removesuffix(suffix)), f"{number(value)} {unit}"
    return _label(name), number(value)


def size(count: int) -> str:
    """Bytes as kB, MB, GB."""
    amount, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.{0 if unit == 'bytes' or amount >= 100 else 1}f} {unit}"


def _label(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
