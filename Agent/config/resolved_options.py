"""What holds in the end, for people to look at: every option with its source, tables by category."""

from __future__ import annotations

from typing import Any, NamedTuple

from Agent.config.loading.checks import level_number
from Agent.config.loading.load import found_settings
from Agent.config.loading.options import SETTABLE
from Agent.config.loading.settings import DEFAULT, TABLES, Setting, Settings
from Agent.config.logging_config import LOGGING_CONFIG, options_in
from Agent.event.kinds import Category

__all__ = ["EffectiveSettings", "effective_settings"]


class EffectiveSettings(NamedTuple):
    """The settings that a program would record with if it began here."""

    settings: Settings
    """By option, by `option.category` for the tables; all of them."""
    preset: Setting | None
    outputs: dict[str, Any] | None
    """Formatters and handlers of `LOGGING_CONFIG`, where they are not as they come."""


def effective_settings() -> EffectiveSettings:
    """Every option as it holds here; a category's level is never below the overall one.

    Raises:
        ConfigurationError: a file or variable says something that cannot be.
    """
    from Agent.tree.write.mirror import DEFAULT_ROTATION

    base = options_in(LOGGING_CONFIG)
    found, preset = found_settings({}, base=base)
    settings = {name: found[name] for name in SETTABLE if name not in TABLES}
    root = settings["trace_root"]
    settings["trace_root"] = root._replace(value=type(base.trace_root)(root.value).absolute())
    overall = settings["level"]
    for category in sorted(Category):
        own = found.get(f"levels.{category}", overall)
        decides = own if level_number(own.value) > level_number(overall.value) else overall
        settings[f"levels.{category}"] = decides._replace(value=str(decides.value).upper())
    for category in sorted(Category):
        usual = Setting(list(DEFAULT_ROTATION[category.value]), DEFAULT)
        own = found.get(f"rotation.{category}", usual)
        settings[f"rotation.{category}"] = own._replace(value=list(own.value))
    for category in sorted(Category):
        settings[f"captures.{category}"] = found.get(f"captures.{category}", settings["capture"])
    settings.update({name: each for name, each in found.items() if name.startswith("captures.")})
    return EffectiveSettings(settings, preset, base.outputs.described() if base.outputs is not None else None)
