"""Import the JSON log of an evaluation with Inspect (inspect_ai) as a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.foreign_lines import FieldMap, ImportedLines, import_objects
from Agent.errors import DamagedInput, InputError
from Agent.event.clock import parse_timestamp
from Agent.record.encode.redaction import Redactor
from Agent.tree.layout import read_file

_ZIP: Final = b"PK\x03\x04"
_SPANS: Final = frozenset({"model", "tool", "subtask", "sandbox"})
"""Inspect's events that have an end."""
_USUAL: Final = (
    *("timestamp=/at", "duration_ms=/took_ms", "action=/action", "kind=/kind", "agent_id=/agent"),
    *("id=/uuid", "span_id=/span", "parent_span_id=/span_id", "error=/error", "message=/what"),
)


def import_inspect(path: Path, given: Iterable[str], root: Path, redactor: Redactor) -> ImportedLines:
    """Import the events of all samples: each sample is an agent, `task/id` (`task/id@epoch` from the second).

    Calls of models and tools, and spans, are actions with their durations, nested as in Inspect; everything
    else is a log event with `inspect.` and its kind as `source_kind`. The first event of a sample has its
    input, the last its output and scores.

    Args:
        path: a log with the ending .json.
        given: a mapping as for `import_lines`, of the members of Inspect's events.
        root, redactor: as for `import_lines`.

    Raises:
        InputError: the file cannot be read, or has no event.
        DamagedInput: it is no log of Inspect in JSON.
        UsageError: the mapping is wrong.
    """
    return import_objects(_events(path), FieldMap.of([*_USUAL, *given]), path, root, redactor)


def _events(path: Path) -> Iterator[tuple[int, Any]]:
    """The events of all samples, each with its number in the file."""
    number = 0
    for sample, agent in _samples(path):
        listed = [each for each in sample.get("events") or () if isinstance(each, dict)]
        ends = {each.get("id"): each.get("timestamp") for each in listed if each.get("event") == "span_end"}
        asked = {"event": "sample_begins", "at": _moment(sample, listed, 0), **_chosen(sample, _INPUTS)}
        told = {"event": "sample_ends", "at": _moment(sample, listed, -1), **_chosen(sample, _OUTPUTS)}
        for each in (asked, *listed, told):
            number += 1
            if each.get("event") != "span_end":
                yield number, {"agent": agent, **_flat(each, ends)}


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


def _moment(sample: dict[str, Any], listed: list[dict[str, Any]], place: int) -> Any:
    """When a sample began or ended: as it says itself, else as its first or last event does."""
    told = sample.get("completed_at" if place else "started_at")
    return told or (listed[place].get("timestamp") if listed else None)


def _samples(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
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
            "it is no log of Inspect: an object with eval, its task, and samples", path=path
        ) from None
    for sample in samples if isinstance(samples, list) else ():
        if isinstance(sample, dict):
            epoch = f"@{sample['epoch']}" if sample.get("epoch", 1) != 1 else ""
            yield sample, f"{task}/{sample.get('id')}{epoch}"


def _flat(event: dict[str, Any], ends: dict[Any, Any]) -> dict[str, Any]:
    """An event with its time, and with its duration and what it did if it is a span."""
    made = dict(event)
    kind, began = event.get("event"), event.get("timestamp")
    made.setdefault("at", began)
    if kind != "error":
        made["kind"] = f"inspect.{kind}"  # its states and others are not ours of the same name
    made.pop("timestamp", None)
    made.pop("traceback_ansi", None)
    if isinstance(failure := event.get("error"), dict):  # with its traceback
        made["error"] = failure.get("message") or failure.get("type") or "error"
        made["failure"] = {key: value for key, value in failure.items() if key != "traceback_ansi"}
    if kind == "span_begin":
        ended, made["span"], made["span_id"] = (
            ends.get(event.get("id")),
            event.get("id"),
            event.get("parent_id"),
        )
        made["action"] = event.get("name") or "span"
        made.pop("id", None)
    elif kind in _SPANS:
        ended, made["span"] = event.get("completed"), event.get("uuid") or f"{began} {kind}"
        name = event.get("model") if kind == "model" else event.get("function") or event.get("name")
        made["action"] = f"{kind} {name}" if name else kind
    else:
        made.setdefault("what", made["error"] if kind == "error" else str(kind).replace("_", " "))
        return made
    made["what"] = made["action"]
    if isinstance(began, str) and isinstance(ended, str):
        try:
            made["took_ms"] = max(parse_timestamp(ended) - parse_timestamp(began), 0) / 1000
        except ValueError:
            return made  # the time of a beginning will do
        made["at"] = ended
    return made
