"""All settings in one model: defaults, then a YAML file, then VIDETTE_* variables, then options."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from pipeline.detectors import DETECTORS
from pipeline.detectors.base import DetectorSettings
from pipeline.errors import UsageError
from pipeline.source import Limits


class Settings(BaseSettings):
    """What to look for, and within which limits."""

    model_config = SettingsConfigDict(
        env_prefix="VIDETTE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    only: tuple[str, ...] = Field(default=(), description="run these detectors alone")
    skip: tuple[str, ...] = Field(default=(), description="run all detectors but these")
    threads: int = Field(default=0, ge=0, le=64, description="decoder threads; 0: up to 4")
    limits: Limits = Field(default_factory=Limits)
    detectors: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per detector: its settings"
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
            DETECTORS[name].Settings.model_validate(table)
        return tables

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options first, then the environment, then the YAML file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    def enabled(self) -> list[str]:
        """Names of the detectors to run, in the order of the registry."""
        chosen = self.only or tuple(DETECTORS)
        return [name for name in DETECTORS if name in chosen and name not in self.skip]

    def of(self, name: str) -> DetectorSettings:
        """The settings of one detector."""
        return DETECTORS[name].Settings.model_validate(self.detectors.get(name, {}))


def _check_name(name: str) -> None:
    if name not in DETECTORS:
        raise ValueError(f"there is no detector {name!r}; `vidette detectors` lists them")


def load(config: str | None = None, **options: Any) -> Settings:  # noqa: ANN401 - fields of Settings
    """Settings from an optional YAML file, the environment and options.

    Raises:
        UsageError: a field is unknown or out of range; the message names it.
    """

    class Configured(Settings):
        model_config = SettingsConfigDict(yaml_file=config)

    try:
        made = Configured(**options)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise UsageError("; ".join(lines)) from error
    return Settings.model_construct(**{k: getattr(made, k) for k in Settings.model_fields})
