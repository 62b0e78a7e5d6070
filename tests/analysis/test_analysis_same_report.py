"""The same events give the same report, however they lie: in which files, rolled, sealed, beside damaged lines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from analysis_kit import START_US
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_analysis_sealed import assert_same

from Agent.analysis import LogAnalyzer
from Agent.archive import seal
from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.model import Event
from Agent.tree.layout import agents_dir, create_session_dir, safe_name

SESSION = "20261120_103045"
WRITERS = ("aaaabbbb", "ccccdddd")
AGENTS = ("ann", "bob", "a/b")
KINDS: dict[str, dict[str, Any]] = {
    "agent_action": {"action_type": "work", "args": {}, "result": {"ok": True}, "duration_ms": 1.5},
    "reward": {"reward": 0.25},
    "error": {"error_type": "ValueError", "error_message": "no 17", "error_id": "e1"},
    "decision": {"decision_type": "plan"},
    "metric": {"metric_name": "load", "value": 3.5},
    "log": {},
    "agent_message": {"direction": "sent", "message_id": "m1", "sender": "ann", "recipient": "bob"},
}
DAMAGES = (
    lambda line: line[: len(line) // 2] + b"\n",
    lambda _line: b"\xff\xfe no text \x00\n",
    lambda _line: b'{"id": 3, "extra": []}\n',
    lambda line: line.replace(b'"schema_version":1', b'"schema_version":99'),
)


@dataclass(frozen=True)
class Placed:
    """An event, and what becomes of its line."""

    event: Event
    rolls: bool
    damage: int | None


@dataclass(frozen=True)
class Layout:
    """How the files are kept: which are sealed first, which later, which not at all; in parts of which size."""

    first: frozenset[int]
    later: frozenset[int]
    part_bytes: int
    remove_first: bool
    remove_later: bool


@st.composite
def placed_events(draw: st.DrawFn) -> list[Placed]:
    taken = dict.fromkeys(WRITERS, 0)
    now_us = START_US
    placed = []
    for _ in range(draw(st.integers(3, 30))):
        writer, kind = draw(st.sampled_from(WRITERS)), draw(st.sampled_from(sorted(KINDS)))
        agent = draw(st.sampled_from(AGENTS))
        taken[writer] += 1
        now_us += draw(st.sampled_from((1, 1000, 70_000)))
        event = Event(
            timestamp=format_timestamp(now_us),
            id=f"{writer}-{taken[writer]}",
            schema_version=1,
            kind=kind,
            session_id=SESSION,
            level="ERROR" if kind == "error" else "INFO",
            logger="agent",
            message=draw(st.sampled_from(("done", "ünïcödé", 'with "quotes"', "a\r\nb\x01\x02"))),
            tick=draw(st.sampled_from((None, 1, 2))),
            extra={"agent_id": agent, "event_type": kind, **KINDS[kind]},
        )
        damage = draw(st.sampled_from((None, None, None, *range(len(DAMAGES)))))
        placed.append(Placed(event, draw(st.integers(0, 4)) == 0, damage))
    return placed


files_chosen = st.frozensets(st.integers(0, 12))
layouts = st.builds(
    Layout, files_chosen, files_chosen, st.sampled_from((300, 2000, 10**6)), st.booleans(), st.booleans()
)


def in_one_file_each(root: Path, placed: list[Placed]) -> Path:
    """The events whose lines are whole, an agent's in one file, whoever wrote them."""
    session, _ = create_session_dir(root, SESSION)
    for each in placed:
        if each.damage is None:
            with (agents_dir(session) / f"{safe_name(str(each.event.agent_id))}.log").open("ab") as file:
                file.write(encode_event(each.event))
    return session


def as_laid_out(root: Path, placed: list[Placed], layout: Layout) -> Path:
    """The same in files of each writer that roll now and then, some of them sealed, with the damaged lines."""
    session, _ = create_session_dir(root, SESSION)
    segments: dict[tuple[str, str], list[list[bytes]]] = {}
    for each in placed:
        own = segments.setdefault((safe_name(str(each.event.agent_id)), each.event.writer), [[]])
        line = encode_event(each.event)
        own[-1].append(line if each.damage is None else DAMAGES[each.damage](line))
        if each.rolls:
            own.append([])
    files: list[tuple[str, bytes]] = []
    for (stem, writer), pieces in sorted(segments.items()):
        stem = stem if writer == WRITERS[0] else f"{stem}@{writer}"
        *rolled, live = [b"".join(lines) for lines in pieces]
        files += [(f"{stem}.{number}.log", data) for number, data in enumerate(rolled, 1)]
        files.append((f"{stem}.log", live))

    def write(numbers: set[int]) -> None:
        for number in numbers:
            (agents_dir(session) / files[number][0]).write_bytes(files[number][1])

    every = set(range(len(files)))
    write(every & layout.first)
    seal(session, remove=layout.remove_first, part_bytes=layout.part_bytes)
    write(every & layout.later - layout.first)
    seal(session, remove=layout.remove_later, part_bytes=layout.part_bytes)
    write(every - layout.later - layout.first)
    return session


def report_of(session: Path) -> tuple[dict[str, Any], int]:
    """Everything that is asked, and how many lines are said to be damaged."""
    asked = LogAnalyzer(session)
    try:
        summary = asked.session_summary()
        damaged = summary.pop("damaged_lines")
        assert summary["losses"].pop("damaged_lines") == damaged
        assert sum(asked.damaged_lines().values()) == damaged
        del summary["path"]
        found = {"summary": summary, "timeline": asked.timeline(7), "errors": asked.get_errors()}
        return found | {agent: asked.trace_agent_journey(agent) for agent in AGENTS}, damaged
    finally:
        asked.close()


@pytest.mark.integration
@given(placed_events().filter(lambda placed: any(each.damage is None for each in placed)), layouts)
@settings(max_examples=7, suppress_health_check=[HealthCheck.too_slow])
def test_however_the_events_lie_the_report_is_the_same_and_what_was_damaged_is_counted(
    placed: list[Placed], layout: Layout
) -> None:
    with tempfile.TemporaryDirectory() as place:
        plain = in_one_file_each(Path(place) / "plain", placed)
        laid_out = as_laid_out(Path(place) / "laid_out", placed, layout)
        expected, nothing = report_of(plain)
        found, damaged = report_of(laid_out)
    assert nothing == 0
    assert damaged == sum(each.damage is not None for each in placed)
    assert_same(expected, found)
