"""What a call took and gave, as members of its event: small values in place, large ones as artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from Agent.flight.open_runs.artifact_saving import save_call_part, save_encoded_part
from Agent.flight.open_runs.context import Run
from Agent.record.encode.artifact_bytes import encode_json
from Agent.record.tracing.changed_arguments import args_after

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline

__all__ = ["LARGE_BYTES", "CallParts"]

LARGE_BYTES = 16_384
"""From this size on a value stands in a file of its own."""
_MAX_HELD_BYTES = 32 * 1024 * 1024
"""How much of the items of a generator is held until it ends."""


class CallParts:
    """Collects the parts of one call, each as it is at that moment.

    Args:
        call_id: under which artifacts of the call lie.
        tool: the name of what is called, by which it is told how much of it is kept.
    """

    __slots__ = (
        "_call_id", "_found", "_held_bytes", "_item_types", "_items", "_lost", "_members", "_pipeline",
        "_run", "_tool", "types",
    )  # fmt: skip

    def __init__(self, pipeline: Pipeline, run: Run, call_id: str, tool: str | None = None) -> None:
        self._tool = tool
        self._pipeline = pipeline
        self._run = run
        self._call_id = call_id
        self._members: list[bytes] = []
        self._items: list[bytes] = []
        self._item_types: dict[str, str] = {}
        self._found: list[str] = []
        self._held_bytes = 0
        self._lost = False
        self.types: dict[str, str] = {}
        """The tags of the members, as pointers into the event's payload."""

    def members(self) -> bytes:
        """The members of a JSON object, with commas between them."""
        return b",".join(self._members)

    def add(self, member: bytes) -> None:
        """Add a member that is JSON already."""
        self._members.append(member)

    @property
    def secrets(self) -> list[str]:
        """The secrets that names gave away in the parts taken so far; later parts are searched for them."""
        return self._found

    def take(self, part: str, value: Any) -> None:
        """Add a value: `"part": ...`, or `"part_ref": ...` where it is large."""
        capture = self._pipeline.capture
        raw = None if self._found else capture.judge.value(value)
        if raw is not None and len(raw) < LARGE_BYTES and capture.judge.clean(raw):
            self._members.append(b'"%s":%s' % (part.encode(), raw))
            return
        if raw is None or len(raw) < LARGE_BYTES:
            known = tuple(self._found)
            body, types = capture.body({part: value}, found=self._found)
            if known:
                body, types = self._pipeline.redactor.without(known, body, types, "/extra")
            if len(body) < LARGE_BYTES and (not types or "truncated" not in types.values()):
                self._members.append(body)
                self.types.update(types or {})
                return
        ref = save_call_part(self._pipeline, self._run, self._call_id, part, value, None, tool=self._tool)
        self._members.append(b'"%s_ref":%s' % (part.encode(), orjson.dumps(ref)))

    def take_changes(self, arguments: dict[str, Any] | None, result: object) -> None:
        """Add what the body changed in place of arguments that stand in the event.

        Args:
            arguments: those that were taken as `args`; None where none of them can change.
            result: what the call gave.
        """
        taken = [member for member in self._members if member.startswith(b'"args":')]
        if arguments is None or not taken:
            return
        raw, types = args_after(self._pipeline.capture, arguments, taken[0], self.types, result)
        if raw:
            self._members.append(raw[:-1])
            self.types.update(types or {})

    def take_item(self, item: Any) -> None:
        """Keep one item of a series."""
        if self._lost:
            return
        capture = self._pipeline.capture
        raw = capture.judge.value(item)
        if raw is None or not capture.judge.clean(raw):
            body, types = capture.body({"item": item}, "")
            raw = body[len(b'"item":') :]
            place = f"/extra/items/{len(self._items)}"
            for pointer, tag in (types or {}).items():
                self._item_types[place + pointer.removeprefix("/item")] = tag
        self._items.append(raw)
        self._held_bytes += len(raw)
        if self._held_bytes > _MAX_HELD_BYTES:
            self.lose_items()

    def lose_items(self) -> None:
        """Give the items up: only their number will stand in the recording."""
        self._lost = True
        self._items.clear()
        self._item_types.clear()
        self._pipeline.health.note("the items of a generator were not kept")

    def end_items(self) -> None:
        """Add what was kept of the series."""
        if self._lost:
            return
        if self._held_bytes + len(self._items) < LARGE_BYTES:
            self._members.append(b'"items":[%s]' % b",".join(self._items))
            self.types.update(self._item_types)
            return
        self._members.append(b'"items_ref":%s' % orjson.dumps(self.save_items("items")))

    def save_items(self, part: str) -> str | None:
        """Store what was kept of the series as an artifact; None where nothing was."""
        if self._lost or not self._items:
            return None
        prefix = len("/extra/items")
        types = {pointer[prefix:]: tag for pointer, tag in self._item_types.items()}
        encoded = encode_json(self._pipeline.capture, [orjson.loads(raw) for raw in self._items])
        encoded = encoded._replace(types={**types, **(encoded.types or {})} or None)
        return save_encoded_part(self._pipeline, self._run, self._call_id, part, encoded, tool=self._tool)
