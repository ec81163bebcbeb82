"""What is to be watched: streams with labels, and how each is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.errors import UsageError
from pipeline.live.connect import is_live
from pipeline.settings import Settings, chosen, explain
from pipeline.uri import shown


class _Judged(BaseModel):
    """What a stream, or all streams of a pool, are judged by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    only: tuple[str, ...] = Field(default=(), description="detectors; all where empty")
    skip: tuple[str, ...] = Field(default=(), description="detectors that are left out")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="dotted names to values, for instance freeze.min_duration"
    )

    def chosen(self, of_all: Settings) -> Settings:
        """The settings that it is judged by.

        Args:
            of_all: that hold where it has none of its own.

        Raises:
            UsageError: it names what there is not.
        """
        if not (self.only or self.skip or self.settings):
            return of_all
        own = chosen(None, self.only or of_all.only, (*of_all.skip, *self.skip), self.settings)
        given = own.model_dump(exclude_unset=True)
        return Settings.model_validate(merged(of_all.model_dump(exclude_unset=True), given))


class Stream(_Judged):
    """A live stream."""

    name: str = Field(min_length=1, max_length=200, description="unlike that of any other")
    uri: str = Field(min_length=1)
    labels: dict[str, str] = Field(
        default_factory=dict, description="for instance channel, cdn, region, rendition, device"
    )
    pool: str = Field(
        default="default", description="the kind of worker that it is watched by, see `pools`"
    )

    owner: str = Field(default="", description="key that asked the service for it, by name")

    @field_validator("uri")
    @classmethod
    def _live(cls, uri: str) -> str:
        if not is_live(uri):
            raise ValueError(f"{uri} is a file, which `vidette inspect` looks at")
        return uri


class Pool(_Judged):
    """A kind of worker, and what its streams are judged by where they do not say so themselves."""

    cpus: float = Field(default=1.0, gt=0, description="of a worker, as Ray counts them")
    gpus: float = Field(default=0.0, ge=0, description="likewise; a fraction shares one")
    most: int = Field(
        default=0, ge=0, description="workers; 0: as many as there is room for in the cluster"
    )


class Watch(BaseModel):
    """A file for `vidette watch --config`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    streams: tuple[Stream, ...] = ()
    settings: dict[str, Any] = Field(
        default_factory=dict, description="of all streams, as in the file of `inspect --config`"
    )
    pools: dict[str, Pool] = Field(default_factory=lambda: {"default": Pool()})
    webhooks: tuple[str, ...] = Field(default=(), description="https addresses that get events")

    @field_validator("streams")
    @classmethod
    def _distinct(cls, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        names = [stream.name for stream in streams]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two streams are called {name!r}")
        return streams


def read_watch(path: Path) -> Watch:
    """What a YAML file asks for.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; the message says what.
    """
    try:
        found = yaml.safe_load(path.read_text())
        watch = Watch.model_validate({} if found is None else found)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {explain(error)}") from error
    for stream in watch.streams:
        if stream.pool not in watch.pools:
            raise UsageError(f"{path}: stream {stream.name}: there is no pool {stream.pool!r}")
    return watch


def of_uris(uris: list[str], labels: dict[str, str]) -> tuple[Stream, ...]:
    """Streams that are named by their addresses.

    Raises:
        UsageError: an address is of nothing live.
    """
    made: list[Stream] = []
    for uri in uris:
        name, number = shown(uri), 2
        while any(one.name == name for one in made):
            name = f"{shown(uri)} ({number})"
            number += 1
        try:
            made.append(Stream(name=name, uri=uri, labels=labels))
        except ValidationError as error:
            raise UsageError(explain(error)) from error
    return tuple(made)


def asked(
    uris: list[str],
    config: Path | None,
    labels: dict[str, str],
    webhooks: list[str],
    settings: Settings,
) -> tuple[Watch, Settings]:
    """What to watch and how to judge it, from a command line.

    Args:
        uris: of streams.
        config: a file with more of them.
        labels: of the streams in `uris`.
        webhooks: besides those of the file.
        settings: of the command line; they come before those of the file.

    Raises:
        UsageError: something in it is wrong.
    """
    watch = Watch() if config is None else read_watch(config)
    named = of_uris(uris, labels)
    watch = watch.model_copy(
        update={
            "streams": (*watch.streams, *named),
            "webhooks": (*watch.webhooks, *webhooks),
        }
    )
    try:
        given = settings.model_dump(exclude_unset=True)
        both = Settings.model_validate(merged(watch.settings, given))
    except ValidationError as error:
        raise UsageError(f"{config}: settings: {explain(error)}") from error
    check(watch, both)
    return watch, both


def check(watch: Watch, settings: Settings) -> None:
    """Tell of a mistake in a stream now, not by its worker.

    Raises:
        UsageError: a stream or a pool names what there is not.
    """
    of_pools = {name: pool.chosen(settings) for name, pool in watch.pools.items()}
    for stream in watch.streams:
        stream.chosen(of_pools.get(stream.pool, settings))


def merged(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Tables within tables, where `upper` comes first."""
    made = dict(lower)
    for name, value in upper.items():
        old = made.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        made[name] = merged(old, value) if both and old is not None else value
    return made
