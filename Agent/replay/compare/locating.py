"""Where a difference is, in the words of the program: tick, and `result[0].price` in place of a JSON Pointer.

A difference names the recorded event; that has the tags which tell an attribute from a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from Agent.archive.sealed.reader import open_reader
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.replay.compare.emitted_events import describe
from Agent.replay.compare.outcome import Divergence
from Agent.replay.compare.python_text import python_path
from Agent.tree.read.reader import TreeReader

__all__ = ["locate", "place_in"]

_STATE = "state."


def locate(divergences: Iterable[Divergence], session: Path) -> list[Divergence]:
    """The differences with `tick` and `where`, from the events of the session that they name."""
    found = list(divergences)
    wanted = {each.event_id for each in found}
    events: dict[str, Event] = {}
    reader = open_reader(session)
    for agent_id in {each.agent_id for each in found}:
        for event in reader.events(agent_id) if wanted - events.keys() else ():
            if event.id in wanted:
                events[event.id] = event
    return [_located(each, events.get(each.event_id), reader) for each in found]


def _located(found: Divergence, event: Event | None, reader: TreeReader) -> Divergence:
    tick = event.tick if event is not None and found.tick is None else found.tick
    inner = _inner_event(found, event, reader) if event is not None and found.inner_field else None
    return replace(found, tick=tick, where=_where(found, event, inner))


def _inner_event(found: Divergence, action: Event, reader: TreeReader) -> Event | None:
    """The last event up to the end of the action with the description of the effect: it has the tags."""
    last = None
    for event in reader.events(found.inner_agent_id or found.agent_id):
        if event.timestamp_us <= action.timestamp_us and f"({describe(event)})" in found.place:
            last = event
    return last


def _where(found: Divergence, event: Event | None, inner: Event | None) -> str:
    if found.inner_field:
        key, _, rest = found.inner_field.partition("/")
        who = found.inner_agent_id or found.agent_id
        return f"{_named(key, f'/{rest}' if rest else '', inner)} of {who}, in {found.place}"
    place = f" of {found.place}" if found.place else ""
    if found.field.startswith(_STATE):
        at = f", in {found.place}" if found.place else ""
        return _named(found.field, found.path, event) + at
    if found.field == "result":
        return _named("result", found.path, event) + place
    if found.field == "args":
        return f"argument {_from_name(found.path)}{place}" if found.path else f"arguments{place}"
    if found.field == "error":
        return {"/error_type": "type of the error", "/error_message": "text of the error"}.get(
            found.path, f"error{found.path}"
        )
    if found.field == "effects" and found.path:
        return f"{found.place}: {_from_name(found.path)}"
    return {"effects": "what it left", "calls": "calls", "reads": "what it read"}.get(
        found.field, found.field
    ) + (f": {found.place}" if found.place else "")


def place_in(field: str, path: str, event: Event | None) -> str:
    """A field of an event and the JSON Pointer inside it, in the words of the program."""
    if field == "result" or field.startswith(_STATE):
        return _named(field, path, event)
    if field == "args":
        return f"argument {_from_name(path, event)}" if path else "arguments"
    return _from_name(f"/{field}{path}")


def _named(key: str, pointer: str, event: Event | None = None) -> str:
    """A field or a result with the path inside it."""
    if not key.startswith(_STATE):
        value = event.extra.get(key) if event is not None else None
        return python_path(pointer, value, _types(event), f"/extra/{key}", key)
    name = key.removeprefix(_STATE)
    value, at = _recorded_field(event, name)
    return "field " + python_path(pointer, value, _types(event), at, name)


def _recorded_field(event: Event | None, name: str) -> tuple[Any, str]:
    """What an event holds of a field, and where."""
    if event is None:
        return None, "?"
    if event.kind == "state":
        fields, at = event.extra.get("fields"), "/extra/fields"
    else:
        fields, at = (event.state or {}).get("set"), "/state/set"
    return fields.get(name) if isinstance(fields, dict) else None, f"{at}/{escape(name)}"


def _types(event: Event | None) -> dict[str, str]:
    return {} if event is None else dict(event.types or {})


def _from_name(pointer: str, event: Event | None = None) -> str:
    """A path that begins with the name of an argument, of the event that has it, or of a key of an event."""
    first, slash, rest = pointer.removeprefix("/").partition("/")
    arguments = event.extra.get("args") if event is not None else None
    value = arguments.get(first) if isinstance(arguments, dict) else None
    return python_path(f"{slash}{rest}", value, _types(event), f"/extra/args/{first}", first)
