"""The presets that come with the package: `config/` of a checkout, `Agent/config/presets` when installed."""

from __future__ import annotations

from pathlib import Path

from Agent.config.loading.checks import near_miss
from Agent.config.loading.settings import Setting, misplaced
from Agent.config.loading.toml_files import ConfigurationFile, read_file
from Agent.errors import ConfigurationError

__all__ = ["preset_names", "preset_path", "read_preset"]


def _directory() -> Path:
    """Where the presets are; the build copies them into `Agent/config/presets`."""
    here = Path(__file__).parents[1]
    for place in (here / "presets", here.parent.parent / "config"):
        if place.is_dir():
            return place
    raise ConfigurationError("the preset files are missing", path=here, remedy="reinstall agent-trace")


def preset_names() -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def preset_path(name: str) -> Path:
    """The file of a preset; ConfigurationError if there is none of that name."""
    names = preset_names()
    if name not in names:
        raise ConfigurationError(
            f"unknown preset {name!r}{near_miss(name, names)}", remedy=f"use one of {', '.join(names)}"
        )
    return _directory() / f"{name}.toml"


def read_preset(chosen: Setting) -> ConfigurationFile:
    """What the chosen preset says; ConfigurationError, with the place of the choice, where it is none."""
    try:
        path = preset_path(chosen.value)
    except ConfigurationError as error:
        raise misplaced(error.message, chosen, error.remedy) from None
    found = read_file(str(path))
    assert found is not None  # noqa: S101 - the whole file was asked for
    return found
