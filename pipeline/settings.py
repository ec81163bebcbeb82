"""All settings in one model: defaults, then a YAML file, then VIDETTE_* variables, then options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from pipeline.detectors import DETECTORS
from pipeline.detectors.base import DetectorSettings
from pipeline.errors import UsageError
from pipeline.hardware import Device
from pipeline.source import Limits
from pipeline.types import Kind

_PLAIN = ("device", "threads")  # settings that belong to no detector, as people name them


class Settings(BaseModel):
    """What to look for, and within which limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    only: tuple[str, ...] = Field(default=(), description="run these detectors alone")
    skip: tuple[str, ...] = Field(default=(), description="run all detectors but these")
    threads: int = Field(
        default=0, ge=0, le=64, description="decoder threads; 0: one a core, at most 4"
    )
    device: Device = Field(
        default="cpu",
        description="cpu, or cuda: decode by NVDEC and measure on the GPU, where that is possible",
    )
    limits: Limits = Field(default_factory=Limits)
    detectors: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per detector: its settings"
    )
    min_confidence: dict[Kind, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="per kind of defect: what is less confident is not reported",
    )

    @field_validator("only", "skip")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _check_name(name)
        return names

    @field_validator("detectors")
    @classmethod
    def _valid(cls, tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, table in tables.items():
            _check_name(name)
            try:
                DETECTORS[name].Settings.model_validate(table)
            except ValidationError as error:
                raise ValueError(f"{name}.{explain(error)}") from error
        return tables

    def enabled(self) -> list[str]:
        """Names of the detectors to run, in the order of the registry."""
        chosen = self.only or tuple(DETECTORS)
        return [name for name in DETECTORS if name in chosen and name not in self.skip]

    def of(self, name: str) -> DetectorSettings:
        """The settings of one detector."""
        return DETECTORS[name].Settings.model_validate(self.detectors.get(name, {}))


class _Layered(Settings, BaseSettings):
    """Reads the same fields from options, the environment and a YAML file, in this order."""

    model_config = SettingsConfigDict(
        env_prefix="VIDETTE_", env_nested_delimiter="__", extra="forbid"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options first, then the environment, then the YAML file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def of_the_operator(names: Iterable[str]) -> list[str]:
    """Those of dotted names that say what an asset may cost or reach, not what is looked for."""
    return [name for name in names if "." not in name or name.startswith("limits.")]


def load(config: str | Path | None = None, **options: Any) -> Settings:
    """Settings from an optional YAML file, the environment and options.

    Raises:
        UsageError: the file cannot be read, or a field is unknown or out of range; the message
            names it.
    """
    if config is not None and not Path(config).is_file():
        raise UsageError(f"there is no configuration file {config}")

    class Layered(_Layered):
        model_config = SettingsConfigDict(yaml_file=config)

    try:
        return Settings.model_validate(Layered(**options).model_dump(exclude_unset=True))
    except ValidationError as error:
        raise UsageError(explain(error)) from error
    except (SettingsError, yaml.YAMLError, TypeError) as error:
        raise UsageError(f"the settings cannot be read: {error}") from error


def chosen(
    config: str | Path | None,
    only: Iterable[str],
    skip: Iterable[str],
    values: Mapping[str, Any],
) -> Settings:
    """Settings as people give them.

    Args:
        config: a YAML file.
        only: names of the detectors to run; all where empty.
        skip: names of detectors not to run.
        values: by name, those of detectors and limits dotted: {"freeze.min_duration": 0.5,
            "limits.read_timeout": 30, "device": "cuda"}.

    Raises:
        UsageError: as `load`.
    """
    options: dict[str, Any] = {}
    if wanted := tuple(only):
        options["only"] = wanted
    if left_out := tuple(skip):
        options["skip"] = left_out
    for dotted, value in values.items():
        owner, _, name = dotted.partition(".")
        if not name and dotted not in _PLAIN:
            plain = ", ".join(_PLAIN)
            raise UsageError(f"{dotted!r} is not DETECTOR.SETTING, limits.SETTING, {plain}")
        if not name:
            options[dotted] = value
        elif owner == "limits":
            options.setdefault("limits", {})[name] = value
        else:
            options.setdefault("detectors", {}).setdefault(owner, {})[name] = value
    return load(config, **options)


def _check_name(name: str) -> None:
    if name not in DETECTORS:
        raise ValueError(f"there is no detector {name!r}; `vidette detectors` lists them")


def explain(error: ValidationError) -> str:
    """What is wrong with settings, in words."""
    lines = []
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"])
        lines.append(f"{where}: {one['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)
