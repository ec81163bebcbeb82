"""Vidette: finds the defects that a viewer would notice in audio and video.

The command line (`vidette --help`) and the public API::

    import vidette

    result = vidette.inspect("programme.mp4")
    for defect in result.defects:
        print(defect.kind, defect.start, defect.end, defect.severity, defect.summary)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import archive, calibrate, damage, detectors, live, schema, service
from commands import inspect as inspecting
from commands.options import CLEAN, NOT_EXAMINED, USAGE, chosen_settings

if TYPE_CHECKING:
    from pipeline.inspect import ProgressCallback
    from pipeline.types import Inspection

__all__ = ["inspect", "main"]


def inspect(
    uri: str | Path,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    report: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Inspection:
    """Inspect one asset from beginning to end.

    Args:
        uri: a local path, anything FFmpeg opens, an fsspec URI, or "-" for standard input.
        only: names of the detectors to run; all where empty.
        skip: names of detectors not to run.
        settings: dotted names to values, as with `--set`: {"freeze.min_duration": 0.5}.
        config: a YAML file with the same fields as `pipeline.settings.Settings`.
        report: where to write the HTML report, if anywhere.
        progress: called about once per second of presentation.

    Returns:
        What was found, and how much could be examined. What is wrong with the asset is in the
        result (`coverage`, `defects`), it is not raised.

    Raises:
        pipeline.errors.UsageError: an unknown detector or setting, or a value out of range.
    """
    chosen = chosen_settings(config, only, skip, dict(settings or {}))
    return inspecting.examine(str(uri), chosen, None if report is None else Path(report), progress)


# Typer carries its own copy of Click and exports none of the base of its usage errors.
_CommandLineError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="vidette",
    help="Finds the defects that a viewer would notice in audio and video: what, when, where and "
    "how badly.",
    epilog="Start with: vidette inspect programme.mp4 --report report.html",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (inspecting, detectors, damage, calibrate, archive, live, service, schema):
    app.add_typer(part.app)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"vidette {version_of('vidette')}")
        raise typer.Exit(CLEAN)


def main(arguments: Sequence[str] | None = None) -> None:
    """The `vidette` command: runs and exits with 0, 1, 2 or 64 (see `vidette inspect --help`)."""
    from pipeline.errors import SourceError, StoreError, UsageError, WorkersError

    try:
        status = app(
            args=None if arguments is None else list(arguments),
            prog_name="vidette",
            standalone_mode=False,
        )
    except _CommandLineError as error:
        error.show()
        sys.exit(USAGE)
    except UsageError as error:
        print(f"vidette: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except (SourceError, StoreError, WorkersError) as error:
        print(f"vidette: {error}", file=sys.stderr)
        sys.exit(NOT_EXAMINED)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(status or CLEAN)


if __name__ == "__main__":
    main()
