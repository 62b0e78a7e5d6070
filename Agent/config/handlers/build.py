"""Formatters, filters and handlers, built by the standard library's own `dictConfig` machinery, one by one.

Not by `dictConfig` itself, which would close the handlers that the program has. `handlers.py` feeds them.
"""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable, Mapping
from typing import Any

from Agent.config.loading.handler_config import Outputs
from Agent.errors import ConfigurationError

_DEFERRED = "target not configured yet"


def build_outputs(
    outputs: Outputs, handlers: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, logging.Handler], dict[str, logging.Filterer]]:
    """The handlers by name, and by category what judges for its logger.

    Raises:
        ConfigurationError: the standard library refused an entry; its reason is in the message.
    """
    parts = {"formatters": outputs.formatters, "filters": outputs.filters, "handlers": handlers}
    # It replaces entries by what it builds of them.
    anew = {section: {key: _entry(entry) for key, entry in each.items()} for section, each in parts.items()}
    configurator = logging.config.DictConfigurator({"version": 1, **anew})
    config: Any = configurator.config
    for section, build in (
        ("formatters", configurator.configure_formatter),
        ("filters", configurator.configure_filter),
    ):
        for name in config[section]:
            config[section][name] = _build(section, name, build, config[section][name])
    _build_handlers(configurator, config["handlers"])
    judges = {}
    for category, names in outputs.logger_filters.items():
        judges[category] = logging.Filterer()
        _build(
            "filters",
            ", ".join(map(str, names)),
            lambda each: configurator.add_filters(*each),
            (judges[category], names),
        )
    return dict(config["handlers"]), judges


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of its own, in which a class that is no name stands as the factory that it is."""
    if isinstance(entry.get("class"), type):
        return {"()": entry["class"], **{key: value for key, value in entry.items() if key != "class"}}
    return dict(entry)


def _build_handlers(configurator: Any, entries: Any) -> None:
    """Each handler in place of its entry; one whose target is another handler comes after it."""
    waiting = []
    for name in sorted(entries):
        try:
            entries[name] = configurator.configure_handler(entries[name])
        except ValueError as error:
            if _DEFERRED not in str(error.__cause__):
                raise _refused("handlers", name, error) from error
            waiting.append(name)
        except Exception as error:
            raise _refused("handlers", name, error) from error
    for name in waiting:
        entries[name] = _build("handlers", name, configurator.configure_handler, entries[name])


def _build(section: str, name: str, build: Callable[[Any], Any], entry: Any) -> Any:
    try:
        return build(entry)
    except Exception as error:
        raise _refused(section, name, error) from error


def _refused(section: str, name: str, error: BaseException) -> ConfigurationError:
    cause = error.__cause__ or error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return ConfigurationError(
        f"{section.removesuffix('s')} {name!r} cannot be built: {reason}",
        remedy="use the form of logging.config.dictConfig",
    )
