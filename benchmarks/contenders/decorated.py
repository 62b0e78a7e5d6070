"""Decorators on the same method: two arguments in, a mapping out, both recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.contenders import own, spans
from benchmarks.contenders.contract import ACTION, AGENT_ID, AGENT_ROLE, Contender, Opened, Place, files


def _result(topic: str, budget: int) -> dict[str, Any]:
    return {"topic": topic, "spent": budget, "ok": True}


def _open_own(place: Place, _inherited: Any) -> Opened:
    from benchmarks.subjects import Stateless

    return own.opened(place, lambda: Stateless().act)


def _open_eliot(place: Place, _inherited: Any) -> Opened:
    import eliot

    from benchmarks.subjects import Eliot

    file = (place.directory / "eliot.log").open("ab")
    eliot.add_destinations(eliot.FileDestination(file=file))
    return Opened(Eliot().act, close=file.close)


def _open_span(place: Place, batched: bool) -> Opened:
    tracer, provider = spans.tracer(place, batched)
    around = tracer.start_as_current_span

    class Traced:
        def act(self, topic: str, budget: int) -> dict[str, Any]:
            with around("act") as span:
                span.set_attributes({"agent_id": AGENT_ID, "agent_role": AGENT_ROLE, "action_type": ACTION})
                span.set_attributes({"topic": topic, "budget": budget})
                result = _result(topic, budget)
                span.set_attribute("result", json.dumps(result))
                return result

    return Opened(Traced().act, provider.force_flush, provider.shutdown)


def _open_logfire(place: Place, _inherited: Any) -> Opened:
    import logfire

    own_logfire = logfire.configure(
        local=True,
        send_to_logfire=False,
        console=False,
        metrics=False,
        config_dir=place.directory,
        data_dir=place.directory / "logfire",
        additional_span_processors=[spans.file_processor(place, batched=False)],
    )

    class Traced:
        @own_logfire.instrument("act", extract_args=True, record_return=True)
        def act(self, topic: str, budget: int) -> dict[str, Any]:
            return _result(topic, budget)

    return Opened(Traced().act, own_logfire.force_flush, own_logfire.shutdown)


def _open_reeltime(place: Place, _inherited: Any) -> Opened:
    import reeltime

    reeltime.install(tape_dir=place.directory / "tapes")

    class Traced:
        @reeltime.tool
        def act(self, topic: str, budget: int) -> dict[str, Any]:
            return _result(topic, budget)

    return Opened(Traced().act, close=reeltime.uninstall)


def _open_undecorated(_place: Place, _inherited: Any) -> Opened:
    from benchmarks.subjects import Undecorated

    return Opened(Undecorated().act)


def _no_files(_directory: Path) -> list[Path]:
    return []


CONTENDERS = {
    "@trace_agent_action": Contender(
        packages=(),
        how="setup_logging with its defaults but the sizes; an agent that exposes no state; arguments and "
        "result",
        open=_open_own,
        grown=lambda directory: [*own.session_files(directory), *own.mirror_files(directory)],
    ),
    "@eliot.log_call": Contender(
        packages=("eliot",),
        how="FileDestination on one file opened in bytes, no rotation; a start and an end; arguments and "
        "result",
        open=_open_eliot,
        grown=files("eliot.log"),
        rotates=False,
    ),
    "OpenTelemetry span around": Contender(
        packages=spans.PACKAGES,
        how="start_as_current_span inside the method, arguments and result set as attributes (its decorator "
        "records neither); SimpleSpanProcessor, FileSpanExporter, no rotation",
        open=lambda place, _: _open_span(place, batched=False),
        grown=files("spans*.jsonl"),
        tail_events=200_000,
        rotates=False,
    ),
    "OpenTelemetry span around, batched": Contender(
        packages=spans.PACKAGES,
        how="the same with BatchSpanProcessor and its defaults: a full queue drops",
        open=lambda place, _: _open_span(place, batched=True),
        grown=files("spans*.jsonl"),
        tail_events=200_000,
        rotates=False,
    ),
    "@logfire.instrument": Contender(
        packages=("logfire", *spans.PACKAGES),
        how="extract_args, record_return; configure(local=True, send_to_logfire=False, console=False, "
        "metrics=False), SimpleSpanProcessor, FileSpanExporter, no rotation; its own scrubbing on",
        open=_open_logfire,
        grown=files("spans*.jsonl"),
        tail_events=100_000,
        rotates=False,
    ),
    "@reeltime.tool": Contender(
        packages=("reeltime",),
        how="install(tape_dir=...) with its defaults: arguments and result, flushed each event, no rotation",
        open=_open_reeltime,
        grown=files("tapes/**/*.jsonl"),
        tail_events=100_000,
        rotates=False,
    ),
    "undecorated": Contender(
        packages=(), how="the body alone, which is in every figure", open=_open_undecorated, grown=_no_files
    ),
}
