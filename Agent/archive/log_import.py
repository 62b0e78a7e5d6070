"""Import the log of another program as a session: JSON lines, or spans in lines of OTLP JSON.

A mapping assigns fields of a line to fields of an event.

Secrets are replaced before anything is written, as in a recording. Other fields of a line stay in the event's
payload under their own names.
"""

from __future__ import annotations

import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.archive.run_import import StoredSession
from Agent.errors import DamagedInput, InputError, UsageError
from Agent.event.clock import parse_timestamp
from Agent.event.codec import check_numbers
from Agent.event.ids import event_id, new_writer_id
from Agent.event.kinds import LEVELS
from Agent.event.payloads import KINDS
from Agent.event.pointers import value_at
from Agent.record.encode.redaction import Redactor
from Agent.tree.layout import read_file

USUAL: Final[dict[str, tuple[str, ...]]] = {
    "timestamp": ("timestamp", "ts", "time", "@timestamp"),
    "started": (),
    "level": ("level", "severity", "log_level", "severity_text"),
    "message": ("message", "msg", "body"),
    "logger": ("logger", "logger_name"),
    "agent_id": ("agent_id", "agent", "agent_name"),
    "agent_role": ("agent_role", "role"),
    "action": ("action", "action_type"),
    "kind": ("event_type", "kind"),
    "tick": ("tick", "step"),
    "duration_ms": ("duration_ms", "latency_ms"),
    "duration_s": ("duration_s", "dur_s", "duration"),
    "span_id": ("span_id",),
    "parent_span_id": ("parent_span_id", "parent_id"),
    "id": ("id", "event_id"),
    "causes": ("causes",),
    "error": ("error",),
}
"""{field of an event that a mapping can name: the places where it is searched by default}."""

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_SHOWN: Final = 5
_LEVEL_OF: Final = {
    "WARN": "WARNING",
    "FATAL": "CRITICAL",
    "TRACE": "DEBUG",
    "NOTICE": "INFO",
    "ERR": "ERROR",
}
_ABSENT: Final = object()


class FieldPath(NamedTuple):
    """The location of a field's value: keys joined by dots, a JSON Pointer, or a constant."""

    keys: tuple[str, ...] = ()
    pointer: str = ""
    constant: str | None = None

    @classmethod
    def of(cls, text: str) -> FieldPath:
        """Read `a.b`, `/a/b` or `=text`."""
        if text.startswith("="):
            return cls(constant=text[1:])
        return cls(pointer=text) if text.startswith("/") else cls(keys=tuple(text.split(".")))

    def read(self, line: Mapping[str, Any]) -> Any:
        """Return the value in a line; `_ABSENT` if the line has none."""
        if self.constant is not None:
            return self.constant
        if self.pointer:
            return value_at(line, self.pointer, _ABSENT)
        value: Any = line
        for depth, key in enumerate(self.keys):
            if not isinstance(value, Mapping):
                return _ABSENT
            dotted = ".".join(self.keys[depth:])
            if dotted in value:  # a key may contain dots
                return value[dotted]
            value = value.get(key, _ABSENT)
        return value


@dataclass(frozen=True, slots=True)
class FieldMap:
    """The mapping from the fields of a foreign line to those of an event."""

    sources: Mapping[str, tuple[FieldPath, ...]]

    @classmethod
    def of(cls, texts: Iterable[str]) -> FieldMap:
        """Parse `agent_id=user.name`, with commas or in several texts; other fields have default places.

        Raises:
            UsageError: a field of an event is unknown, or its place is missing.
        """
        sources = {name: tuple(FieldPath.of(key) for key in places) for name, places in USUAL.items()}
        for text in (part for each in texts for part in each.split(",")):
            name, equals, key = text.strip().partition("=")
            if name not in USUAL or not equals or not key:
                raise UsageError(
                    f"{text.strip()!r} does not map a field of an event",
                    remedy=f"write FIELD=PLACE, such as agent_id=user.name; fields are {', '.join(USUAL)}",
                )
            sources[name] = (FieldPath.of(key),)
        return cls(sources)

    def values(self, line: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """The values found in a line, and the keys of the line that they use up."""
        values: dict[str, Any] = {}
        taken: set[str] = set()
        for name, sources in self.sources.items():
            for source in sources:
                value = source.read(line)
                if value is not _ABSENT and value is not None:
                    values[name] = value
                    key = source.pointer[1:] if source.pointer else ".".join(source.keys)
                    taken.add(key)
                    break
        return values, taken


@dataclass(slots=True)
class ImportedLines:
    """The result of an import."""

    session: Path
    events: int = 0
    agents: set[str] = field(default_factory=set)
    skipped: int = 0
    problems: list[str] = field(default_factory=list)
    """The first skipped lines, each with its number and the reason."""
    unknown_causes: int = 0
    """The number of causes that name no earlier line."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "session": str(self.session),
            "events": self.events,
            "agents": len(self.agents),
            "skipped": self.skipped,
            "problems": self.problems,
            "unknown_causes": self.unknown_causes,
        }


def import_lines(path: Path, field_texts: Iterable[str], root: Path, redactor: Redactor) -> ImportedLines:
    """Import a file of JSON lines as a new session under a trace root.

    A line with an action becomes an `agent_action`; a line that names a kind of events becomes an event of
    that kind; a line with an error becomes an `error`, any other line a `log`. A failed action also gets an
    `error`, unless an action inside it failed. A line with a duration or a span id is a span; span ids are
    replaced by their digests. Lines that are not a JSON object, or have no time, are skipped and counted.

    Args:
        path: the file.
        field_texts: the mapping, as for `FieldMap.of`.
        root: the trace root, created if missing.
        redactor: replaces secrets.

    Raises:
        InputError: the file cannot be read, or none of its lines is an event.
        UsageError: the mapping is wrong.
    """
    return import_objects(objects_in(path), FieldMap.of(field_texts), path, root, redactor)


def import_objects(
    lines: Iterable[tuple[int, Any]], fields: FieldMap, path: Path, root: Path, redactor: Redactor
) -> ImportedLines:
    """Import objects, each with the number of its line, as `import_lines` does."""
    imported = ImportedLines(path)
    converted = _Rows(fields, redactor, imported)
    rows = converted(lines)
    first = next(rows, None)
    if first is None:
        why = f": {imported.problems[0]}" if imported.problems else ""
        raise InputError(
            f"no line is an event{why}",
            path=path,
            remedy="--map says where a field is, as in --map timestamp=at",
        )
    stored = StoredSession(root, str(uuid.uuid4()), first["ts_us"])
    try:
        stored.add(chain([first], rows))
    except BaseException:
        shutil.rmtree(stored.path)
        raise
    imported.session = stored.path
    imported.events = converted.count - 1  # without the row that closes the writer
    return imported


def objects_in(path: Path) -> Iterator[tuple[int, Any]]:
    """The lines of a file with their numbers; an exception in place of a line that is not JSON."""
    if "\0" in str(path):  # the file system rejects the name
        raise InputError("no such file", path=path)
    try:
        with path.open("rb") as file:
            number = 0
            while data := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(data) > MAX_LINE_BYTES:
                    raise DamagedInput(
                        f"a line is longer than {MAX_LINE_BYTES >> 20} MiB", path=path, line=number
                    )
                if not data.strip():
                    continue
                try:
                    yield number, orjson.loads(data)
                except orjson.JSONDecodeError as error:
                    yield number, ValueError(f"not JSON: {error}")
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower(), path=path) from error


class _Rows:
    """Converts foreign objects to rows of events."""

    def __init__(self, fields: FieldMap, redactor: Redactor, imported: ImportedLines) -> None:
        self._fields = fields
        self._redactor = redactor
        self._imported = imported
        self._writer = new_writer_id(os.urandom(5))
        self._ids: dict[str, str] = {}
        self._failed_inside: set[str] = set()
        """The spans with a failed span inside, which already has the error."""
        self.count = 0

    def __call__(self, lines: Iterable[tuple[int, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows; the last one contains their number."""
        last_us = 0
        for number, line in lines:
            try:
                row = self._row(line)
            except ValueError as error:
                self._imported.skipped += 1
                if len(self._imported.problems) < _SHOWN:
                    self._imported.problems.append(f"line {number}: {error}")
                continue
            last_us = max(last_us, row["ts_us"])
            if row["outcome"] == "error" and row["kind"] == "agent_action":
                yield from self._error_of(row)
            yield row
        if self.count:
            body = {"writer": self._writer, "last_seq": self.count + 1}
            yield self._with_envelope("log.closed", last_us, body, {})

    def _row(self, line: Any) -> dict[str, Any]:
        if isinstance(line, ValueError):
            raise line
        if not isinstance(line, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - counted, not raised
        line = self._redactor.object(line)
        values, taken = self._fields.values(line)
        duration_ms = _duration_ms(values)
        ts_us = _time_us(values, duration_ms)
        body = {key: value for key, value in line.items() if key not in taken}
        kind = self._kind(values, body)
        body = {f"user.{key}" if key in _RESERVED_KEYS else key: value for key, value in body.items()}
        if "message" in values:
            body["message"] = _text(values["message"])
        if "logger" in values:
            body["logger"] = _text(values["logger"])
        if kind == "agent_action":
            body["action_type"] = _text(values["action"])
            body.setdefault("message", f"Agent action: {body['action_type']}")  # as of a recorded action
            if values.get("error"):
                body["outcome"] = "error"
                body["user.error"] = values["error"]
        elif kind == "error":
            body["error_message"] = _text(values["error"])
            body.setdefault("message", body["error_message"])
        if duration_ms is not None:
            body["duration_ms"] = duration_ms
        check_numbers(kind, body)
        return self._with_envelope(kind, ts_us, body, values)

    def _error_of(self, action: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the error of a failed action, unless an action inside it failed before."""
        if action["span_id"] not in self._failed_inside:
            error_value = action["body"]["user.error"]
            message = f"{action['body']['action_type']} failed" if error_value is True else _text(error_value)
            body: dict[str, Any] = {
                "error_message": message,
                "message": message,
                "source_kind": "failed action",
            }
            if isinstance(error_type := _of(action["body"], "attributes").get("error.type"), str):
                body["error_type"] = error_type
            error = self._with_envelope("error", action["ts_us"], body, {})
            around = {key: action[key] for key in ("agent_id", "agent_role", "tick")}
            action["body"]["error_id"] = error["event_id"]
            yield error | around | {"parent_span_id": action["span_id"]}
        if action["parent_span_id"] is not None:
            self._failed_inside.add(action["parent_span_id"])

    @staticmethod
    def _kind(values: dict[str, Any], body: dict[str, Any]) -> str:
        named = values.get("kind")
        if "action" in values:
            return "agent_action"
        if isinstance(named, str) and named in KINDS and not named.startswith(("log.", "run.", "source.")):
            return named
        if named is not None:
            body["source_kind"] = named
        return "error" if values.get("error") else "log"

    def _with_envelope(
        self, kind: str, ts_us: int, body: dict[str, Any], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.count += 1
        own_id = event_id(self._writer, self.count)
        if "id" in values:
            self._ids[_text(values["id"])] = own_id
        is_span = "span_id" in values or ("duration_ms" in body and kind == "agent_action")
        agent = _text(values["agent_id"]) if "agent_id" in values else None
        if agent is not None:
            self._imported.agents.add(agent)
        return {
            "event_id": own_id,
            "ts_us": ts_us,
            "kind": kind,
            "severity": LEVELS[_level(values.get("level"), kind)],
            "body": body,
            "agent_id": agent,
            "agent_role": _text(values["agent_role"]) if "agent_role" in values else None,
            "outcome": body.pop("outcome", None),
            "name": None,
            "duration_ms": None,
            "run_id": None,
            "span_id": _span_id(values.get("span_id", own_id)) if is_span else None,
            "parent_span_id": _span_id(values["parent_span_id"]) if values.get("parent_span_id") else None,
            "causes": self._causes(values.get("causes")),
            "tick": _tick(values.get("tick")),
        }

    def _causes(self, value: Any) -> list[str]:
        event_ids = []
        for cause in value if isinstance(value, list) else [value] if value is not None else []:
            new_id = self._ids.get(_text(cause))
            if new_id is None:
                self._imported.unknown_causes += 1
            else:
                event_ids.append(new_id)
        return event_ids


_RESERVED_KEYS: Final = frozenset(
    "message logger state types code artifact_text agent_id agent_role outcome event_type action_type "
    "duration_ms error_message error_id root call".split()
)
"""Payload keys that have a meaning here, so that a foreign value needs another name."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _span_id(value: Any) -> str:
    return blake2b(_text(value).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _level(value: Any, kind: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return next((name for name, number in reversed(LEVELS.items()) if value >= number), "DEBUG")
    name = str(value).upper() if value is not None else ""
    name = _LEVEL_OF.get(name, name)
    return name if name in LEVELS else "ERROR" if kind == "error" else "INFO"


def _tick(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        value = int(value)
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole and abs(value) < 1 << 63 else None


def _number(value: Any, name: str) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} {str(value)[:40]!r} is not a number")
    return number


def _duration_ms(values: Mapping[str, Any]) -> float | None:
    if "duration_ms" in values:
        return _number(values["duration_ms"], "the duration")
    return _number(values["duration_s"], "the duration") * 1000 if "duration_s" in values else None


def _time_us(values: Mapping[str, Any], duration_ms: float | None) -> int:
    """The time of an event, or the end of a span, in microseconds since 1970."""
    if "started" in values:
        return _moment_us(values["started"]) + round((duration_ms or 0) * 1000)
    if "timestamp" in values:
        return _moment_us(values["timestamp"])
    raise ValueError("no time")


_LATEST_US: Final = 253_402_300_799_999_999
_FACTORS: Final[tuple[tuple[float, Callable[[float], float]], ...]] = (
    (1e11, lambda number: number * 1e6),
    (1e14, lambda number: number * 1e3),
    (1e17, lambda number: number),
    (math.inf, lambda number: number / 1e3),
)
"""The limits by which numbers are read as seconds, milliseconds, microseconds or nanoseconds since 1970."""


def _moment_us(value: Any) -> int:
    if isinstance(value, str):
        try:
            return parse_timestamp(value)
        except ValueError:
            value = _number(value, "the time")
    number = _number(value, "the time")
    us = round(next(in_us for limit, in_us in _FACTORS if abs(number) < limit)(number))
    if not 0 <= us <= _LATEST_US:
        raise ValueError(f"the time {str(value)[:40]!r} is not between 1970 and 9999")
    return us


# Spans in lines of OTLP JSON, as written by the file exporter of a collector.

_FAILED: Final = (2, "STATUS_CODE_ERROR")
_AGENT: Final = ("gen_ai.agent.id", "gen_ai.agent.name", "agent.name", "agent_id")
_TICK: Final = ("agent_trace.tick", "tick")


def import_otlp(path: Path, field_texts: Iterable[str], root: Path, redactor: Redactor) -> ImportedLines:
    """Import spans as actions of the agent named by `gen_ai.agent.id` or `.name`, else of the service.

    An action is named after its span. Its payload has the span's attributes, events, status and trace id.

    Args:
        path: a file with an `ExportTraceServiceRequest` in each line.
        field_texts: a mapping as for `import_lines`; its fields are those of a span, with the attributes as
            objects: `attributes`, and `resource` for those of the resource.
        root, redactor: as for `import_lines`.

    Raises:
        InputError: the file cannot be read, or has no span.
        UsageError: the mapping is wrong.
    """
    usual = [
        f"timestamp=/{_END}",
        "duration_ms=/duration_ms",
        "action=/name",
        "agent_id=/agent",
        "tick=/tick",
    ]
    usual += ["span_id=/id", "parent_span_id=/parent", "error=/failed"]
    return import_objects(_spans(path), FieldMap.of([*usual, *field_texts]), path, root, redactor)


_END: Final = "endTimeUnixNano"


def _spans(path: Path) -> Iterator[tuple[int, Any]]:
    """The spans of a file as flat objects, each with the number of its line."""
    for number, line in objects_in(path):
        if not isinstance(line, dict):
            yield number, line
            continue
        groups = line.get("resourceSpans")
        for group in groups if isinstance(groups, list) else ():
            resource = _attributes(_of(group, "resource").get("attributes"))
            scopes = _of(group, "scopeSpans", "instrumentationLibrarySpans", kind=list)
            for scope in scopes:
                for span in _of(scope, "spans", kind=list):
                    try:
                        yield number, _flat(span, resource)
                    except (TypeError, ValueError, KeyError) as error:
                        yield number, ValueError(f"no span: {error!r}")


def _of(value: Any, *names: str, kind: type = dict) -> Any:
    """Return the first of these members that has a type; an empty value of the type if there is none."""
    values = (value.get(name) for name in names) if isinstance(value, dict) else ()
    return next((each for each in values if isinstance(each, kind)), kind())


def _flat(span: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    attributes = _attributes(span.get("attributes"))
    end, start = int(span["endTimeUnixNano"]), int(span["startTimeUnixNano"])
    trace, status = span["traceId"], _of(span, "status")
    failed = status.get("code") in _FAILED
    flat = {
        _END: end,
        "duration_ms": (end - start) / 1e6,
        "id": f"{trace}:{span['spanId']}",
        "name": span.get("name") or "span",
        "agent": next(
            (attributes[name] for name in _AGENT if attributes.get(name)), resource.get("service.name")
        ),
        "tick": next((attributes[name] for name in _TICK if name in attributes), None),
        "trace_id": trace,
        "attributes": attributes,
        "resource": resource,
    }
    if span.get("parentSpanId"):
        flat["parent"] = f"{trace}:{span['parentSpanId']}"
    if failed:
        flat["failed"] = status.get("message") or attributes.get("error.type") or True
    events = [
        {"name": each.get("name"), **_attributes(each.get("attributes"))}
        for each in _of(span, "events", kind=list)
        if isinstance(each, dict)
    ]
    return flat | ({"events": events} if events else {})


def _attributes(attributes: Any) -> dict[str, Any]:
    """Convert a list of keys and values to an object."""
    pairs = [each for each in attributes if isinstance(each, dict)] if isinstance(attributes, list) else []
    return {str(each.get("key")): _value(each.get("value")) for each in pairs}


def _value(any_value: Any) -> Any:
    if not isinstance(any_value, dict) or len(any_value) != 1:
        return None
    ((kind, value),) = any_value.items()
    if kind == "intValue":
        return int(value)
    if kind == "arrayValue":
        return [_value(each) for each in _of(any_value, kind).get("values") or ()]
    if kind == "kvlistValue":
        return _attributes(_of(any_value, kind).get("values"))
    return value


_ZIP: Final = b"PK\x03\x04"
_INSPECT_SPANS: Final = frozenset({"model", "tool", "subtask", "sandbox"})
"""Inspect events with an end."""
_INSPECT_USUAL: Final = (
    *("timestamp=/at", "duration_ms=/took_ms", "action=/action", "kind=/kind", "agent_id=/agent"),
    *("id=/uuid", "span_id=/span", "parent_span_id=/span_id", "error=/error", "message=/what"),
    "tick=/metadata/tick",  # as written by `export inspect`
)


def import_inspect(path: Path, field_texts: Iterable[str], root: Path, redactor: Redactor) -> ImportedLines:
    """Import the events of all samples: each sample is an agent, `task/id` (`task/id@epoch` from the second).

    Model calls, tool calls and spans become actions with their durations, nested as in Inspect; all other
    events become log events whose `source_kind` is `inspect.` and the kind. The first event of a sample has
    its input, the last its output and scores. The rest of the log, such as task, results and status, becomes
    an event of the session, `inspect.log`.

    Args:
        path: a log with the ending .json.
        field_texts: a mapping as for `import_lines`, of the members of Inspect's events.
        root, redactor: as for `import_lines`.

    Raises:
        InputError: the file cannot be read, or has no event.
        DamagedInput: it is not an Inspect log in JSON.
        UsageError: the mapping is wrong.
    """
    return import_objects(
        _inspect_events(path), FieldMap.of([*_INSPECT_USUAL, *field_texts]), path, root, redactor
    )


def _inspect_events(path: Path) -> Iterator[tuple[int, Any]]:
    """The events of all samples, each with its number in the file."""
    number = 0
    for sample, agent, log in _inspect_samples(path):
        listed = [each for each in sample.get("events") or () if isinstance(each, dict)]
        ends = {each.get("id"): each.get("timestamp") for each in listed if each.get("event") == "span_end"}
        fields = {
            "event": "sample_begins",
            "at": _inspect_moment(sample, listed, 0),
            **_chosen(sample, _INPUTS),
        }
        common = {
            "event": "sample_ends",
            "at": _inspect_moment(sample, listed, -1),
            **_chosen(sample, _OUTPUTS),
        }
        if number == 0:
            began = _created_at(log) or fields["at"]
            yield number, {"event": "log", "kind": "inspect.log", "what": "log", "log": log, "at": began}
        for each in (fields, *listed, common):
            number += 1
            if each.get("event") != "span_end":
                yield number, {"agent": agent, **_flat_inspect(each, ends)}


_INPUTS: Final = ("id", "epoch", "input", "target", "choices", "metadata")
_OUTPUTS: Final = (
    "messages",
    "attachments",
    "output",
    "scores",
    "error",
    "limit",
    "model_usage",
    "total_time",
    "working_time",
)


def _chosen(sample: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {f"sample_{name}" if name == "id" else name: sample[name] for name in names if sample.get(name)}


def _inspect_moment(sample: dict[str, Any], listed: list[dict[str, Any]], index: int) -> Any:
    """When a sample began or ended, from its own fields, else from its first or last event."""
    moment = sample.get("completed_at" if index else "started_at")
    return moment or (listed[index].get("timestamp") if listed else None)


def _created_at(log: dict[str, Any]) -> Any:
    stats = log.get("stats")
    began = stats.get("started_at") if isinstance(stats, dict) else None
    return began or log["eval"].get("created")


def _inspect_samples(path: Path) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Yield each sample with its agent's name and the log without its samples."""
    try:
        raw = read_file(path)
    except (OSError, ValueError) as error:  # a ValueError: a path with a NUL
        raise InputError((getattr(error, "strerror", None) or str(error)).lower(), path=path) from error
    if raw.startswith(_ZIP):
        raise DamagedInput(
            "it is Inspect's own form, not JSON",
            path=path,
            remedy="inspect log convert FILE --to json --output-dir DIR, and import what that writes",
        )
    try:
        log = orjson.loads(raw)
        samples, task = log.get("samples"), log["eval"]["task"]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DamagedInput(
            "it is not an Inspect log: an object with eval, its task, and samples", path=path
        ) from None
    header = {name: value for name, value in log.items() if name not in {"samples", "location"}}
    for sample in samples if isinstance(samples, list) else ():
        if isinstance(sample, dict):
            epoch = f"@{sample['epoch']}" if sample.get("epoch", 1) != 1 else ""
            yield sample, f"{task}/{sample.get('id')}{epoch}", header


def _flat_inspect(event: dict[str, Any], ends: dict[Any, Any]) -> dict[str, Any]:
    """Flatten an event: its time, and for a span also its duration and result."""
    flat = dict(event)
    kind, began = event.get("event"), event.get("timestamp")
    flat.setdefault("at", began)
    if kind != "error":
        # Inspect's `state` events and others differ from ours of the same name
        flat["kind"] = f"inspect.{kind}"
    flat.pop("timestamp", None)
    flat.pop("traceback_ansi", None)
    if isinstance(failure := event.get("error"), dict):  # with its traceback
        flat["error"] = failure.get("message") or failure.get("type") or "error"
        flat["failure"] = {key: value for key, value in failure.items() if key != "traceback_ansi"}
    if kind == "span_begin":
        ended = ends.get(event.get("id"))
        flat["span"], flat["span_id"] = flat.pop("id", None), event.get("parent_id")
        flat["action"] = event.get("name") or "span"
    elif kind in _INSPECT_SPANS:
        ended, flat["span"] = event.get("completed"), event.get("uuid") or f"{began} {kind}"
        name = event.get("model") if kind == "model" else event.get("function") or event.get("name")
        flat["action"] = f"{kind} {name}" if name else kind
    else:
        flat.setdefault("what", flat["error"] if kind == "error" else str(kind).replace("_", " "))
        return flat
    flat["what"] = flat["action"]
    if isinstance(began, str) and isinstance(ended, str):
        try:
            flat["took_ms"] = max(parse_timestamp(ended) - parse_timestamp(began), 0) / 1000
        except ValueError:
            return flat  # use the time of the beginning
        flat["at"] = ended
    return flat
