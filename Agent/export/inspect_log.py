"""Writes a session as an Inspect log: a sample for each agent, spans, model and tool calls, errors.

The mapping is the inverse of `Agent.archive.log_import.import_inspect`: an imported log gets its samples,
inputs, scores, events and results back. The format is version 2, of inspect_ai 0.3.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.errors import RunNotFound
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.export.span_content import json_text, messages_in, recorded_value
from Agent.flight.run_reading import RunRef
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.layout import NEW_FILE, open_private, session_id_of
from Agent.version import __version__

LOG_VERSION: Final = 2
_SESSION: Final = "session"
_SOURCE: Final = "agent_trace"
_IMPORTED: Final = "inspect."
_LEFT_OUT: Final = frozenset({"code", "artifact.saved"})
"""Kinds about the recording itself; also those whose name begins with one of `_OF_RECORDING`."""
_OF_RECORDING: Final = ("log.", "source.")
_STOPS: Final = frozenset({"stop", "max_tokens", "model_length", "tool_calls", "content_filter"})
_NOT_MEMBERS: Final = frozenset(
    {"agent_id", "agent_role", "event_type", "source_kind", "action_type", "duration_ms", "outcome",
     "error_message", "error_id", "failure", "span_id", "parent_id"}
)  # fmt: skip
"""Keys of an imported event that the import added or consumed."""
_OF_SAMPLE: Final = (
    "input", "target", "choices", "metadata", "messages", "attachments", "output", "scores", "limit",
    "model_usage", "total_time", "working_time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InspectLog:
    """The result of the export."""

    path: Path
    samples: int
    events: int
    size_bytes: int


class _Placed(NamedTuple):
    """An event of Inspect with its sort key."""

    at_us: int
    rank: int
    """At one time, spans begin first, outer before inner, and end last, inner before outer."""
    span_id: str | None
    number: int
    event: dict[str, Any]


_BEGIN: Final = 0
_WITHIN: Final = 1
_END: Final = 2


@dataclass(slots=True)
class _Sample:
    """The events of one agent, or of a run outside of agents."""

    name: str
    listed: list[_Placed] = field(default_factory=list)
    members: dict[str, Any] = field(default_factory=dict)
    """The fields of the sample in an imported log."""
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    """The error that ended an imported sample; errors recorded by an agent do not end it."""
    spans: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    """{span id: (beginning in microseconds since 1970, enclosing span)}."""
    first_us: int | None = None
    last_us: int = 0

    def in_order(self) -> list[dict[str, Any]]:
        """Return the events by time; no event within a span is before its beginning.

        A beginning is the end less the duration, both rounded, so it may be off by a microsecond.
        """
        placed = []
        for each in self.listed:
            around = self._around(each.span_id)
            at_us = max(each.at_us, *(self.spans[span][0] for span in around), 0)
            depth = -len(around) if each.rank == _END else len(around)
            placed.append((at_us, each.rank, depth if each.rank != _WITHIN else 0, each.number, each.event))
        return [event for *_, event in sorted(placed, key=lambda place: place[:4])]

    def _around(self, span_id: str | None) -> list[str]:
        """Return a span of this sample and its enclosing spans."""
        enclosing: list[str] = []
        while span_id is not None and span_id in self.spans and span_id not in enclosing:
            enclosing.append(span_id)
            span_id = self.spans[span_id][1]
        return enclosing


def write_inspect(path: str | os.PathLike[str], ref: RunRef) -> InspectLog:
    """Write a session, a run or one agent as a log that `inspect_ai.log.read_eval_log` reads.

    Each agent becomes a sample; events outside of agents become a sample of their run. Actions are spans with
    their payload as an `info` event; model calls, tool calls and errors are Inspect's own events; all others
    are `info` events with kind and payload.

    Args:
        path: the path of the file, which must not exist.
        ref: what to write, as returned by `find_run`.

    Raises:
        RunNotFound: the run or session has no events.
        FileExistsError: the file exists.
    """
    target = Path(path)
    reader = open_reader(ref.session)
    runs = None if ref.run_id is None else frozenset(reader.begun_in([ref.run_id]))
    samples: dict[str, _Sample] = {}
    imported: dict[str, Any] = {}
    for number, event in enumerate(reader.events()):
        if event.kind in _LEFT_OUT or event.kind.startswith(_OF_RECORDING):
            continue
        if (runs is not None and event.run_id not in runs) or ref.agent_id not in {None, event.agent_id}:
            continue
        if event.agent_id is None and event.extra.get("source_kind") == f"{_IMPORTED}log":
            imported = event.extra["log"]
            continue
        name = event.agent_id or event.run_id or _SESSION
        _add(samples.setdefault(name, _Sample(name)), event, number, ref.session)
    if not samples:
        raise RunNotFound("it has no events", path=ref.session)
    task, names = _names(samples)
    log = _log(open_session(ref.session), session_id_of(ref.session), task, names, samples)
    if "status" in imported:
        log.pop("error", None)  # samples can fail in a successful evaluation
    log |= imported | {"eval": log["eval"] | imported.get("eval", {}), "version": LOG_VERSION}
    with os.fdopen(open_private(target, NEW_FILE), "wb") as file:
        size_bytes = file.write(orjson.dumps(log, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    return InspectLog(target, len(samples), sum(len(each["events"]) for each in log["samples"]), size_bytes)


def _names(samples: Mapping[str, _Sample]) -> tuple[str, dict[str, tuple[Any, int]]]:
    """Return the task, and each sample's id and epoch; those of the log if the session was imported."""
    members_by_name = {name: sample.members for name, sample in samples.items() if "id" in sample.members}
    tasks = {name.rpartition(f"/{members['id']}")[0] for name, members in members_by_name.items()}
    if len(members_by_name) == len(samples) and len(tasks) == 1 and (task := tasks.pop()):
        return task, {
            name: (members["id"], members.get("epoch") or 1) for name, members in members_by_name.items()
        }
    return _SOURCE, {name: (name, 1) for name in samples}


def _log(
    info: SessionInfo,
    session_id: str,
    task: str,
    names: Mapping[str, tuple[Any, int]],
    samples: Mapping[str, _Sample],
) -> dict[str, Any]:
    """Return the log as an object; `created` and ids come from the session, so exports are reproducible."""
    failed = next((sample.error for sample in samples.values() if sample.error is not None), None)
    usage: dict[str, dict[str, Any]] = {}
    for sample in samples.values():
        for model, used in sample.usage.items():
            _count(usage.setdefault(model, {}), used)
    first_us = min(sample.first_us or sample.last_us for sample in samples.values())
    began = info.started_at or format_timestamp(first_us)
    ended = info.ended_at or format_timestamp(max(sample.last_us for sample in samples.values()))
    ids = [names[name][0] for name in samples]
    return {
        "version": LOG_VERSION,
        "status": "success" if failed is None else "error",
        "eval": {
            "eval_id": info.session_uid,
            "run_id": info.session_uid,
            "created": began,
            "task": task,
            "task_id": info.session_uid,
            "dataset": {"name": session_id, "samples": len(set(ids)), "sample_ids": list(dict.fromkeys(ids))},
            "model": next(iter(usage), "none/none"),
            "config": {"epochs": max(epoch for _, epoch in names.values())},
            "packages": {"agent-trace": __version__},
            "metadata": {"session_id": session_id},
        },
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": []},
        "stats": {"started_at": began, "completed_at": ended, "model_usage": usage},
        **({} if failed is None else {"error": failed}),
        "samples": [
            _sample_object(sample, info.session_uid, *names[name]) for name, sample in samples.items()
        ],
    }


def _sample_object(sample: _Sample, session_uid: str, sample_id: Any, epoch: int) -> dict[str, Any]:
    events = []
    for event in sample.in_order():
        if event.get("span_id") not in sample.spans:
            event.pop("span_id", None)  # an action of another agent
        if event["event"] == "span_begin" and event.get("parent_id") not in sample.spans:
            event.pop("parent_id", None)
        events.append(event)
    first_us = sample.first_us or sample.last_us
    sample_object = {
        "input": "",
        "target": "",
        **{name: value for name, value in sample.members.items() if name in _OF_SAMPLE},
        "id": sample_id,
        "epoch": epoch,
        "uuid": f"{session_uid}/{sample.name}",
        "events": events,
        "started_at": format_timestamp(first_us),
        "completed_at": format_timestamp(sample.last_us),
    }
    sample_object.setdefault("model_usage", sample.usage)
    sample_object.setdefault("total_time", (sample.last_us - first_us) / 1e6)
    if sample.error is not None:
        sample_object["error"] = sample.error
    return sample_object


def _add(sample: _Sample, event: Event, number: int, session: Path) -> None:
    """Add an event to its sample."""
    ended_us = event.timestamp_us
    lasted = event.extra.get("duration_ms", event.extra.get("latency_ms"))
    lasted_us = round(lasted * 1000) if isinstance(lasted, int | float) else 0
    began_us = ended_us - lasted_us
    sample.first_us = min(sample.first_us or began_us, began_us)
    sample.last_us = max(sample.last_us, ended_us)
    imported = event.extra.get("event")
    source_kind = event.extra.get("source_kind")
    if source_kind in {f"{_IMPORTED}sample_begins", f"{_IMPORTED}sample_ends"}:
        if source_kind == f"{_IMPORTED}sample_begins":
            sample.members |= {"id": event.extra.get("sample_id"), "epoch": event.extra.get("epoch")}
        elif "failure" in event.extra:
            sample.error = _eval_error(event)
        sample.members |= {name: event.extra[name] for name in _OF_SAMPLE if name in event.extra}
        return
    if event.kind == "error" and source_kind == "failed action":
        return  # the import derived this error from an action, which already has it
    common = {
        "uuid": event.id,
        "timestamp": format_timestamp(began_us),
        "working_start": 0.0,
        "span_id": event.parent_span_id,
        "metadata": _metadata(event),
    }
    done = {"completed": format_timestamp(ended_us), "working_time": lasted_us / 1e6}
    if imported in {"model", "tool"} and event.kind == "agent_action":
        _put(sample, began_us, number, common | _restored(event) | done)
    elif event.kind == "model.call":
        converted = _model_call(event, session)
        _count(sample.usage.setdefault(converted["model"], {}), converted["output"].get("usage") or {})
        _put(sample, began_us, number, common | converted | done)
    elif event.kind == "tool.call":
        _put(sample, began_us, number, common | _tool_call(event, session) | done)
    elif event.kind == "error":
        _put(sample, ended_us, number, common | {"event": "error", "error": _eval_error(event)})
    elif event.span_id is not None:
        _add_span(sample, event, common, (began_us, ended_us), number)
    elif isinstance(imported, str) and source_kind == f"{_IMPORTED}{imported}":
        _put(sample, ended_us, number, common | _restored(event))
    else:
        _put(sample, ended_us, number, common | _info(event))


def _put(sample: _Sample, at_us: int, number: int, event: dict[str, Any], rank: int = _WITHIN) -> None:
    present = {name: value for name, value in event.items() if value is not None}
    sample.listed.append(_Placed(at_us, rank, event["span_id"], number, present))


def _add_span(
    sample: _Sample, event: Event, common: dict[str, Any], when_us: tuple[int, int], number: int
) -> None:
    """Add the beginning and end of a span, with its payload in between."""
    began_us, ended_us = when_us
    span_id = str(event.span_id)
    sample.spans[span_id] = began_us, event.parent_span_id
    name = event.extra.get("action_type") or event.extra.get("name") or event.kind
    is_imported = event.extra.get("event") == "span_begin"
    begin = common | {
        "event": "span_begin",
        "id": span_id,
        "span_id": span_id,
        "parent_id": event.parent_span_id,
        "type": event.extra.get("type") if is_imported else event.kind,
        "name": str(name),
    }
    end = {
        "event": "span_end",
        "uuid": f"{event.id}.end",
        "timestamp": format_timestamp(ended_us),
        "working_start": 0.0,
        "id": span_id,
        "span_id": span_id,
    }
    _put(sample, began_us, number, begin, _BEGIN)
    if not is_imported:
        info = common | {"uuid": f"{event.id}.info", "span_id": span_id} | _info(event)
        _put(sample, ended_us, number, info | {"timestamp": format_timestamp(ended_us)})
    _put(sample, ended_us, number, end, _END)


def _metadata(event: Event) -> dict[str, Any] | None:
    values = {"tick": event.tick, "run_id": event.run_id, "causes": list(event.causes) or None}
    present = {name: value for name, value in values.items() if value is not None}
    return present or None


def _info(event: Event) -> dict[str, Any]:
    data = {"kind": event.kind, "level": event.level, "message": event.message, **event.extra}
    if event.state is not None:
        data["state"] = event.state
    return {"event": "info", "source": _SOURCE, "data": data}


def _restored(event: Event) -> dict[str, Any]:
    """Return the original members of an imported event."""
    restored = {
        name.removeprefix("user."): value for name, value in event.extra.items() if name not in _NOT_MEMBERS
    }
    if restored["event"] == "tool":
        restored.setdefault("id", event.id)
        if isinstance(restored.get("error"), str):
            restored["error"] = event.extra.get("failure") or {
                "type": "unknown",
                "message": restored["error"],
            }
    return restored


def _model_call(event: Event, session: Path) -> dict[str, Any]:
    extra = event.extra
    model = str(extra.get("model_name") or "unknown")
    request = recorded_value(event, session, "args", "prompt_ref", "args_ref")
    answered = recorded_value(event, session, "result", "output_ref", "result_ref")
    used = {"input_tokens": extra.get("prompt_tokens"), "output_tokens": extra.get("completion_tokens")}
    usage = {name: count for name, count in used.items() if isinstance(count, int)}
    output: dict[str, Any] = {"model": model, "choices": []}
    if answered is not None:
        output["choices"] = [_choice(message, model) for message in messages_in(answered, by_model=True)]
    if usage:
        output["usage"] = usage | {"total_tokens": sum(usage.values())}
    model_event = {
        "event": "model",
        "model": model,
        "input": [] if request is None else list(_chat(messages_in(request, by_model=False))),
        "tools": [],
        "tool_choice": "auto",
        "config": {},
        "output": output,
    }
    if extra.get("outcome") == "error":
        model_event["error"] = output["error"] = _error_text(event)
    return model_event


def _chat(messages: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield messages in the form of Inspect."""
    for message in messages:
        parts = message["parts"]
        answers = [part for part in parts if part["type"] == "tool_call_response"]
        for part in answers:
            content = part["response"] if isinstance(part["response"], str) else json_text(part["response"])
            yield {"role": "tool", "content": content, "tool_call_id": part["id"]}
        if answers and len(answers) == len(parts):
            continue
        role = message["role"] if message["role"] in {"system", "assistant"} else "user"
        chat_message: dict[str, Any] = {
            "role": role,
            "content": "\n".join(part["content"] for part in parts if part["type"] == "text"),
        }
        calls = [part for part in parts if part["type"] == "tool_call"]
        if calls and role == "assistant":
            chat_message["tool_calls"] = [
                {"id": call["id"], "function": call["name"], "arguments": _arguments(call["arguments"])}
                for call in calls
            ]
        yield chat_message


def _arguments(arguments: Any) -> dict[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return {"arguments": arguments}
    return arguments if isinstance(arguments, dict) else {} if arguments is None else {"arguments": arguments}


def _choice(message: Mapping[str, Any], model: str) -> dict[str, Any]:
    messages = [each for each in _chat([message]) if each["role"] != "tool"]
    choice = {
        **(messages[0] if messages else {"content": ""}),
        "role": "assistant",
        "source": "generate",
        "model": model,
    }
    stopped = message.get("finish_reason")
    return {"message": choice, "stop_reason": stopped if stopped in _STOPS else "unknown"}


def _tool_call(event: Event, session: Path) -> dict[str, Any]:
    result = recorded_value(event, session, "result", "result_ref", "output_ref")
    tool_event: dict[str, Any] = {
        "event": "tool",
        "id": str(event.extra.get("call_id") or event.id),
        "function": str(event.extra.get("name") or "tool"),
        "arguments": _arguments(recorded_value(event, session, "args", "args_ref")),
        # Inspect would read a list as content of several types
        "result": result if isinstance(result, str | int | float | bool) else json_text(result),
    }
    if event.extra.get("outcome") == "error":
        tool_event |= {
            "error": {"type": "unknown", "message": _error_text(event)},
            "failed": True,
            "result": "",
        }
    return tool_event


def _error_text(event: Event) -> str:
    message = event.extra.get("error")
    if isinstance(message, Mapping):
        message = message.get("message") or message.get("error_message") or json_text(message)
    return message if isinstance(message, str) and message else "error"


def _eval_error(event: Event) -> dict[str, Any]:
    failure = event.extra.get("failure")
    if isinstance(failure, Mapping):
        return {"message": "", "traceback": "", **failure, "traceback_ansi": ""}
    kind = event.extra.get("error_type")
    message = str(event.extra.get("error_message") or event.message)
    return {
        "message": f"{kind}: {message}" if kind else message,
        "traceback": str(event.extra.get("traceback") or ""),
        "traceback_ansi": "",
    }


def _count(total: dict[str, Any], used: Mapping[str, Any]) -> None:
    for name, count in used.items():
        if isinstance(count, int):
            total[name] = total.get(name, 0) + count
