"""Judges members of an object by others: a value by its name, a row by its columns, words by their program."""

from __future__ import annotations

import re
from typing import Any

from Agent.record.secrets.names import LIKELY, NONE, SURE, name_says

_PRIVATE_MEMBERS = frozenset("d k p q dp dq qi oth".split())
"""The members of a JSON Web Key that are private (RFC 7518, section 6)."""

# Members of an object that name the value of another member, as in headers, variables and forms.
_NAMING = frozenset(
    "name k key header field param parameter variable option attribute setting property".split()
)
_LABELING = frozenset("id label selector placeholder title element target locator control arg".split())
ATTRIBUTES = _NAMING | _LABELING | {"type"}
_FIELD_OF_FORM = re.compile(r"(?i)(?:[ _-](?:text|input|field|box|textbox|entry|label|prompt|placeholder))+$")
_TYPES_OF_FIELDS = frozenset({"password", "Password", "passwd"})
_TYPED = frozenset({"value", "v", "val"})
"""Members that hold what was entered into a field of the type `password`; others hold its labels."""
_HELD = frozenset("value v val text content contents data input default string".split())
_ELEMENTS = frozenset("element target locator field control node".split())
"""Members that describe the element of a page in which a text is typed."""
_SELECTOR = re.compile(r"[#.\[=>]")
_COLUMNS = frozenset("columns column_names fields field_names header names keys".split())
ROWS = frozenset("row rows data values records".split())
_PROGRAM = frozenset("command cmd program executable binary".split())
WORDS = frozenset("args argv arguments *args".split())
"""Members with the words of a command after those of `_PROGRAM`."""


def columns_of(value: dict[str, Any]) -> list[str]:
    """Return the column names, as in `{"columns": ["user", "password"], "rows": [...]}`; empty if none."""
    if _COLUMNS.isdisjoint(value) or ROWS.isdisjoint(value):
        return []
    found = next(value[key] for key in value if key in _COLUMNS)
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else []


def named_members(value: dict[str, Any]) -> dict[str, int]:
    """Return members that another member names as secrets: `{"name": "Authorization", "value": ...}`."""
    if len(value) < 2:
        return {}
    if "kty" in value:
        return dict.fromkeys(_PRIVATE_MEMBERS, SURE)
    says = NONE
    owned: dict[str, int] = {}
    for key, name in value.items():
        lower = key.lower()
        if isinstance(name, str) and lower in _NAMING | _LABELING:
            says = max(says, name_says(name) if lower in _NAMING else _label_says(name))
        elif lower == "loc" and isinstance(name, list) and name and isinstance(name[-1], str):
            says = max(says, name_says(name[-1]))  # an error of pydantic
        elif lower in _ELEMENTS and isinstance(name, dict):
            labels = (each for part, each in name.items() if part.lower() in _NAMING | _LABELING | {"type"})
            says = max([says, *(_label_says(each) for each in labels if isinstance(each, str))])
        elif lower == "type" and isinstance(name, str) and name in _TYPES_OF_FIELDS:
            owned |= dict.fromkeys(_TYPED, SURE)
        elif isinstance(name, str) and lower.endswith(("key", "name")):
            # `ParameterKey` next to `ParameterValue`
            owned[lower.removesuffix("key").removesuffix("name") + "value"] = name_says(name)
    if says == NONE and not any(owned.values()):
        return {}
    named = {
        key: _held_says(says, item, value)
        for key, item in value.items()
        if key.lower().endswith("value") or key.lower() in _HELD
    }
    return {key: max(owned.get(key.lower(), NONE), named.get(key, NONE)) for key in value}


def _label_says(label: str) -> int:
    """Return how certain the label of a field, or a selector of it, names a secret."""
    if _SELECTOR.search(label) and len(label) <= _LONGEST_SELECTOR:
        return max(map(name_says, re.findall(r"[A-Za-z][\w\-]*", label)), default=NONE)
    return name_says(_FIELD_OF_FORM.sub("", label))


_LONGEST_SELECTOR = 200


def _held_says(says: int, item: Any, holder: dict[str, Any]) -> int:
    """Return how certain a value next to a name is a secret; a text next to a label may be for people."""
    is_named = any(key.lower() in _NAMING for key in holder)
    return LIKELY if not is_named and isinstance(item, str) and " " in item.strip() else says


def program_of(value: dict[str, Any]) -> list[str]:
    """Return the words before those of another member: `mysql`, of `{"command": "mysql", "args": [...]}`."""
    if _PROGRAM.isdisjoint(value) or WORDS.isdisjoint(value):
        return []
    begun = next(value[key] for key in value if key in _PROGRAM)
    return [word for word in (begun if isinstance(begun, list) else [begun]) if isinstance(word, str)]
