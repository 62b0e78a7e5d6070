"""The routes of an app as its OpenAPI document names them, each with what it must be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: tuple[str, ...]
    """Parameters that it cannot do without."""
    may_take: tuple[str, ...]
    """The others that stand in its query."""

    def url(self, values: Mapping[str, str], *, narrowed_by: tuple[str, ...] = ()) -> str:
        """Its URL about the things that are named; a parameter without a value is a mistake of the test."""
        path = self.path
        for name in self.in_path:
            path = path.replace(f"{{{name}}}", quote(values[name], safe=""))
        taken = [*self.in_query, *(name for name in narrowed_by if name in self.may_take)]
        return f"{path}?{urlencode({name: values[name] for name in taken})}" if taken else path


def operations_of(openapi: Mapping[str, Any]) -> list[Operation]:
    """Everything that an OpenAPI document lets one ask."""
    found = []
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])

            def names(where: str, required: bool, parameters: Any = parameters) -> tuple[str, ...]:
                return tuple(
                    each["name"]
                    for each in parameters
                    if each["in"] == where and bool(each.get("required")) is required
                )

            found.append(
                Operation(
                    method.upper(), path, names("path", True), names("query", True), names("query", False)
                )
            )
    return found
