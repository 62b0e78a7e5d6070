"""Import spans from files of OTLP JSON, such as a collector's file exporter writes, as a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from Agent.archive.foreign_lines import FieldMap, ImportedLines, import_objects, objects_in
from Agent.record.encode.redaction import Redactor

_FAILED: Final = (2, "STATUS_CODE_ERROR")
_AGENT: Final = ("gen_ai.agent.id", "gen_ai.agent.name", "agent.name", "agent_id")
_TICK: Final = ("agent_trace.tick", "tick")


def import_otlp(path: Path, given: Iterable[str], root: Path, redactor: Redactor) -> ImportedLines:
    """Import spans as actions: of the agent that `gen_ai.agent.id` or `.name` names, else of the service.

    An action is named after its span. Its payload has the span's attributes, events, status and trace id.

    Args:
        path: a file with an `ExportTraceServiceRequest` in each line.
        given: a mapping as for `import_lines`; fields are those of a span with `attributes` as an object and
            the resource's as `resource`.
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
    return import_objects(_spans(path), FieldMap.of([*usual, *given]), path, root, redactor)


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
    """The first of these members that is of a kind; an empty one if there is none."""
    found = (value.get(name) for name in names) if isinstance(value, dict) else ()
    return next((each for each in found if isinstance(each, kind)), kind())


def _flat(span: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    attributes = _attributes(span.get("attributes"))
    end, start = int(span["endTimeUnixNano"]), int(span["startTimeUnixNano"])
    trace, status = span["traceId"], _of(span, "status")
    failed = status.get("code") in _FAILED
    made = {
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
        made["parent"] = f"{trace}:{span['parentSpanId']}"
    if failed:
        made["failed"] = status.get("message") or attributes.get("error.type") or True
    events = [
        {"name": each.get("name"), **_attributes(each.get("attributes"))}
        for each in _of(span, "events", kind=list)
        if isinstance(each, dict)
    ]
    return made | ({"events": events} if events else {})


def _attributes(given: Any) -> dict[str, Any]:
    """The list of keys and values as an object."""
    pairs = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return {str(each.get("key")): _value(each.get("value")) for each in pairs}


def _value(given: Any) -> Any:
    if not isinstance(given, dict) or len(given) != 1:
        return None
    ((kind, value),) = given.items()
    if kind == "intValue":
        return int(value)
    if kind == "arrayValue":
        return [_value(each) for each in _of(given, kind).get("values") or ()]
    if kind == "kvlistValue":
        return _attributes(_of(given, kind).get("values"))
    return value
