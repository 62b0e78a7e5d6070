"""The classes that a configuration file names to be traced by `agent-trace run`: `[[instrument]]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.config.options import level_number, near_miss
from Agent.errors import ConfigurationError


class InstrumentEntry(NamedTuple):
    """One class to trace, with the file and line that names it."""

    module: str
    name: str
    """The class, or a class within one: `Market.Trader`."""
    methods: tuple[str, ...]
    agent_id: str | None = None
    """The attribute that names the agent; default: `agent_id`, then `unique_id`."""
    agent_role: str | None = None
    ignore: tuple[str, ...] = ()
    level: str = "INFO"
    path: str = ""
    line: int | None = None


_KEYS = ("target", "methods", "agent_id", "agent_role", "ignore", "level")


def read_entries(value: Any, path: str, line: int | None) -> tuple[InstrumentEntry, ...]:
    """Read the tables `[[instrument]]` of a file; ConfigurationError for the first invalid one."""

    def wrong(what: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"instrument: {what}", path=path, line=line, remedy=remedy)

    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise wrong("it is not a list of tables", "write [[instrument]] before each")
    entries = []
    for each in value:
        for key in each:
            if key not in _KEYS:
                raise wrong(f"unknown key {key!r}{near_miss(key, _KEYS)}", f"keys are {', '.join(_KEYS)}")
        module, colon, name = str(each.get("target", "")).partition(":")
        if not (colon and module and name) or not all(
            part.isidentifier() for text in (module, name) for part in text.split(".")
        ):
            raise wrong(f"target is {each.get('target')!r}", 'name a class as "module:Class"')
        lists = {key: each.get(key, []) for key in ("methods", "ignore")}
        for key, names in lists.items():
            if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
                raise wrong(f"{key} is {names!r}", 'use a list of names, ["step"]')
        if not lists["methods"]:
            raise wrong(f"{module}:{name} has no methods", 'name them, methods = ["step"]')
        texts = {key: each.get(key) for key in ("agent_id", "agent_role")}
        for key, text in texts.items():
            if text is not None and not (isinstance(text, str) and text):
                raise wrong(f"{key} is {text!r}", "use a text")
        level = each.get("level", "INFO")
        try:
            level_number(level)
        except ConfigurationError as error:
            raise wrong(error.message, error.remedy or "") from None
        entries.append(
            InstrumentEntry(
                module,
                name,
                tuple(lists["methods"]),
                texts["agent_id"],
                texts["agent_role"],
                tuple(lists["ignore"]),
                level,
                path,
                line,
            )
        )
    return tuple(entries)
