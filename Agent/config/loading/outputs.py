"""Who gets the events of each category, and in what form, where that is not what comes by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MirrorForm", "Outputs", "made_by"]


@dataclass(frozen=True, slots=True)
class MirrorForm:
    """What a category file has beyond its sizes."""

    filename: str | None = None
    """Its place, relative to the trace root unless absolute; None for the usual one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """`formatter`, `level` and `filters`, as `dictConfig` takes them."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Who gets the events of each category, where that is not what comes by default."""

    routes: Mapping[str, tuple[str, ...]]
    """Category to the names of its handlers, in order."""
    forms: Mapping[str, MirrorForm]
    """Category to what is particular about its file."""
    handlers: Mapping[str, Mapping[str, Any]]
    """Additional handlers that some logger names."""
    logger_filters: Mapping[str, tuple[str, ...]]
    """Category to the names of its logger's filters."""
    formatters: Mapping[str, Mapping[str, Any]]
    filters: Mapping[str, Mapping[str, Any]]

    def described(self) -> dict[str, Any]:
        """For `session.json` and `config show`: names and classes, and no argument of a handler."""
        return {
            "routes": {category: list(names) for category, names in self.routes.items()},
            "handlers": {name: str(made_by(entry)) for name, entry in self.handlers.items()},
            "files": {
                category: {
                    "filename": form.filename,
                    **{key: str(value) for key, value in form.settings.items()},
                }
                for category, form in self.forms.items()
            },
        }


def made_by(entry: Mapping[str, Any]) -> Any:
    """The class or factory of a handler, formatter or filter, None where it names none."""
    return entry.get("()", entry.get("class"))
