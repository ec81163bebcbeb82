"""What several commands take and give."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.settings import Settings

CLEAN, DEFECTS, NOT_EXAMINED, USAGE = 0, 1, 2, 64  # exit statuses; 64 is EX_USAGE of sysexits.h

# Options that more than one command has, where `inspect` says at length what they are
Named = Annotated[list[str] | None, typer.Option(help="As for inspect.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="As for inspect.")
]
Address = Annotated[
    str | None, typer.Option(help="Join this Ray cluster ('auto': the one here) and start none.")
]


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def split(names: list[str] | None) -> list[str]:
    """Names of options that may be repeated, or hold several with commas between."""
    return [part.strip() for name in names or [] for part in name.split(",") if part.strip()]


def parse(pairs: list[str], option: str = "--set") -> dict[str, Any]:
    """Values by name, of NAME=VALUE.

    Args:
        pairs: as they were given.
        option: what to call them.

    Raises:
        UsageError: there is no `=`, or the value is no YAML.
    """
    import yaml

    from pipeline.errors import UsageError

    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{option} wants NAME=VALUE, not {pair!r}")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"{option} {pair}: the value is no YAML") from error
    return values


def chosen_settings(
    config: str | Path | None, only: Iterable[str], skip: Iterable[str], values: dict[str, Any]
) -> Settings:
    """The settings of a run; see `pipeline.settings.chosen`."""
    from pipeline.settings import chosen

    return chosen(config, only, skip, values)
