"""Live, sealed and mixed forms of one session give the same answers to every question."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from support.known_truth import FAULTS, Truth, make_session
from support.processes import child_environment, wait_until_it_computes

from Agent.analysis import LogAnalyzer
from Agent.analysis.debug import debug_issue
from Agent.analysis.debug.root_causes import reading
from Agent.analysis.query import data_files
from Agent.analysis.query.data_files import standing_at
from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.progress import listener
from Agent.analysis.query.views import EVERYTHING, Only, names, scan
from Agent.archive import seal
from Agent.archive.sealed import parts
from Agent.archive.sealed.parquet_rows import promoted_columns
from Agent.archive.sealed.parts import archive_dir, drop_part, file_digest, read_parts
from Agent.errors import DamagedInput
from Agent.event.ids import split_event_id
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import agent_files, agents_dir, tree_files
from Agent.tree.read.removal_logs import RetiredAccount, write_account


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    made = make_session(
        tmp_path_factory.mktemp("live"), events=10_000, agents=20, faults=list(FAULTS), seed=2
    )
    # a run's flat lines, a line with unusual keys, values of the wrong type
    extra = agents_dir(made.session) / "runner.log"
    extra.write_bytes(
        b'{"timestamp":"2026-11-20T10:30:45.000001Z","id":"zzzzzzzz-1","schema_version":1,"type":"run.started",'
        b'"run_id":"r1","agent":"runner","labels":{"a":1}}\n'
        b'{"timestamp":"2026-11-20T10:30:46.000001Z","id":"zzzzzzzz-2","schema_version":1,"type":"tool.call",'
        b'"run_id":"r1","agent_id":"runner","name":"search","call_id":"c","args":{"q":[1,2.50]},"duration_ms":1.5}\n'
        b'{"timestamp":"2026-11-20T10:30:47.000001Z","id":"zzzzzzzz-3","schema_version":1,"session_id":"s","level":'
        b'"INFO","logger":"l","message":"m","tick":"no","extra":{"agent_id":"runner","event_type":"reward","reward":'
        b'"NaN","action_id":7}}\n'
        b'{"timestamp":"2026-11-20T10:30:48.000001Z","id":"zzzzzzzz-4","schema_version":1,"session_id":"s","level":'
        b'"INFO","logger":"l","message":"\xc3\xa9 \\u00e9","extra":{"agent_id":"runner","event_type":"reward","reward":'
        b'1e3,"action_id":{"b":1}},"state":{"set":{"x":1.0},"unset":[]},"types":{"/extra/x":"tuple"}}\n'
    )
    return made


def answers(session: Path) -> dict[str, Any]:
    """The whole of what can be asked."""
    analyzer = LogAnalyzer(session)
    try:
        told: dict[str, Any] = {
            "summary": analyzer.session_summary(),
            "timeline": analyzer.timeline(),
            "checkpoints": analyzer.checkpoints(),
            "errors": analyzer.get_errors(),
            "patterns": analyzer.find_error_patterns(),
            "losses": analyzer.losses(),
            "damaged": analyzer.damaged_lines(),
            "journey": analyzer.trace_agent_journey("agent_00003", nested=True),
            "unusual": analyzer.trace_agent_journey("runner"),
            "activity": analyzer.analyze_agent_activity("agent_00003"),
            "overview": analyzer.journey_overview("agent_00003", gaps=True),
            "learning": analyzer.analyze_learning_progress("agent_00003"),
            "learning of all": analyzer.learning_report(),
            "learning by time": analyzer.learning_report("agent_00003", "time"),
            "lineage": analyzer.learning_lineage("agent_00003"),
            "interactions": analyzer.interaction_report(edges=True),
            "performance": analyzer.performance_report(),
            "state": analyzer.state_at("agent_00003", 20),
            "field": analyzer.field_changes("agent_00003", "ticks"),
            "chain": analyzer.find_causality_chain(analyzer.get_errors()[-1]["id"]),
            "debug": analyzer.debug_issue("agent_00003 stopped publishing").to_dict(),
        }
        for view in names():
            rows = analyzer.sql(f"SELECT * FROM {view}")
            told[f"view {view}"] = sorted(rows, key=lambda row: (row["ts_us"], row["id"]))
        return without_place(told, str(session.parent))
    finally:
        analyzer.close()


def without_place(value: Any, place: str) -> Any:
    """The same wherever the session lies."""
    if isinstance(value, str):
        return value.replace(place, "")
    if isinstance(value, dict):
        return {without_place(key, place): without_place(each, place) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_place(each, place) for each in value]
    return value


def assert_same(first: Any, second: Any, place: str = "") -> None:
    """Equal in everything; sums of floats are equal but for the order in which they were added."""
    if isinstance(first, dict) and isinstance(second, dict):
        assert first.keys() == second.keys(), place
        for key in first:
            assert_same(first[key], second[key], f"{place}/{key}")
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple):
        assert len(first) == len(second), place
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{place}/{number}")
    elif isinstance(first, float) and isinstance(second, float):
        assert math.isclose(first, second, rel_tol=1e-9) or (math.isnan(first) and math.isnan(second)), place
    else:
        assert first == second, place


@pytest.fixture(scope="module")
def live(truth: Truth) -> dict[str, Any]:
    return answers(truth.session)


def sealed(session: Path) -> None:
    seal(session)


def removed(session: Path) -> None:
    seal(session, remove=True, part_bytes=500_000)


def half_removed(session: Path) -> None:
    """Every second file is sealed and gone, the others stand there as they were."""
    aside = session.parent / "aside"
    for path in tree_files(session)[::2]:
        kept = aside / path.relative_to(session)
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
    seal(session, remove=True)
    for path in sorted(aside.rglob("*.log")):
        path.rename(session / path.relative_to(aside))


def older(session: Path) -> None:
    """Sealed by a version that promoted other keys."""
    import orjson

    seal(session, remove=True)
    for part in read_parts(session):
        description = part.directory / f"{part.name}.json"
        stored = orjson.loads(description.read_bytes())
        stored["promoted"] = {"action_type": "VARCHAR"}
        description.write_bytes(orjson.dumps(stored))


PROMOTED_IN_0_1 = (
    "action_type", "call", "root", "outcome", "error_id", "duration_ms", "error_type", "error_message",
    "fingerprint", "reward", "metric_name", "value", "interaction_type", "message_id",
)  # fmt: skip


def former(session: Path) -> None:
    """Sealed by a version that promoted fewer keys: its files lack the other columns."""
    import duckdb

    seal(session, remove=True)
    kept = {name: promoted_columns()[name] for name in PROMOTED_IN_0_1}
    lacking = ", ".join(f'"{name}"' for name in promoted_columns().keys() - kept)
    for part in read_parts(session):
        made = part.directory / "made"
        duckdb.execute(
            f"COPY (SELECT * EXCLUDE ({lacking}) FROM '{part.parquet}') TO '{made}' (FORMAT parquet)"
        )
        made.rename(part.parquet)
        description = part.directory / f"{part.name}.json"
        stored = orjson.loads(description.read_bytes())
        stored |= {"promoted": kept, "digest": file_digest(part.parquet)}
        description.write_bytes(orjson.dumps(stored))


@pytest.mark.integration
@pytest.mark.parametrize("change", [sealed, removed, half_removed, former, older])
def test_every_answer_is_the_same_in_every_form(
    truth: Truth, live: dict[str, Any], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    change(session)
    assert_same(live, answers(session))


@pytest.mark.parametrize("change", [removed, former])
@pytest.mark.further
def test_an_archive_of_plain_lines_tells_the_same_causes_of_a_sample(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_issue, "MAX_EVENTS", 100)
    monkeypatch.setattr(reading, "MAX_ACTS", 500)
    monkeypatch.setattr(reading, "SAMPLE", 400)
    session = make_session(tmp_path, events=3300, agents=6, seed=3).session

    def causes() -> dict[str, Any]:
        with LogAnalyzer(session) as analyzer:
            error = analyzer.get_errors()[-1]["id"]
            return {
                "chain": analyzer.find_causality_chain(error),
                "graph": analyzer.causal_graph(error, with_effects=True).to_dict(),
                "debug": analyzer.debug_issue("lookup times out").to_dict(),
                "of an agent": analyzer.debug_issue("agent_00003 stopped publishing").to_dict(),
                "interactions": analyzer.interaction_report(),
                "logs": analyzer.find_error_patterns(),
                "losses": analyzer.losses(),
            }

    before = causes()
    assert before["debug"]["evidence"]
    assert before["chain"]
    change(session)
    assert_same(before, causes())


@pytest.mark.further
def test_a_question_to_an_archive_names_the_kinds_and_levels_that_it_reads(
    truth: Truth, tmp_path: Path
) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    sealed(session)
    wanted = "event_type = 'error' OR level IN ('ERROR', 'CRITICAL')"
    with open_engine(session) as engine:
        for only in (EVERYTHING, Only(("error",), with_errors=True)):
            rows = engine.rows(
                f"SELECT id, error_type, level FROM {scan('error_type', only=only)} WHERE {wanted}"
            )
            told = sorted((row["id"], row["error_type"] or "", row["level"]) for row in rows)
            if only is EVERYTHING:
                expected = told
        assert told == expected
        assert len({each[0] for each in told}) == len(told)
        late = engine.row(f"SELECT max(ts_us) AS us FROM {scan()}")["us"]
        only = Only(("error", "agent_action"), since_us=late - 1_000_000, until_us=late - 1)
        kinds = (
            f"SELECT DISTINCT event_type, ts_us FROM {scan(only=only)} WHERE filename LIKE '%agent_00003%'"
        )
        assert all(late - 1_000_000 <= row["ts_us"] < late for row in engine.rows(kinds))


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("only", "column"),
    [
        (Only(("error", "agent_action")), "event_type"),
        (Only(("error",)), "event_type"),
        (Only(("error",), with_errors=True), "level"),
    ],
)
def test_the_reader_of_an_archive_checks_kinds_and_levels_before_it_reads_further_columns(
    truth: Truth, tmp_path: Path, only: Only, column: str
) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    sealed(session)
    with open_engine(session) as engine:
        plan = engine.row(f"EXPLAIN (FORMAT json) SELECT id, message FROM {scan(only=only)}")
    filters = "".join(re.findall(r'"Filters": (".*"|\[[^]]*\])', plan["explain_value"]))
    # of IN alone the engine makes an optional condition, by which it only skips row groups
    assert re.search(rf"\b{column} (IN|=) ", re.sub(r"optional: \(\w+ IN \([^)]*\)\)", "", filters))


def test_a_description_of_a_part_that_changes_in_place_is_read_again(
    truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SETTLED_NS", -1)
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    sealed(session)
    (before,) = read_parts(session)
    assert read_parts(session)[0] is before
    path = archive_dir(session) / f"{before.name}.json"
    path.write_bytes(path.read_bytes().replace(b'"lines":', b'"lines": '))
    (again,) = read_parts(session)
    assert again is not before
    assert again == before
    path.write_bytes(b"{")
    with pytest.raises(DamagedInput, match="cannot be read"):
        read_parts(session)


@pytest.mark.further
def test_a_segment_that_is_sealed_is_not_read_twice_nor_when_it_was_retired(
    truth: Truth, tmp_path: Path
) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    seal(session)
    engine = open_engine(session)
    count = f"SELECT count(*) AS n FROM {scan()}"
    whole = engine.row(count)["n"]
    (path,) = agent_files(session, "agent_00003")
    retired = RetiredAccount(files=1)
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError, KeyError):  # one of them is damaged
            writer, seq = split_event_id(orjson.loads(line)["id"])
            retired.numbers.setdefault(writer, SeqSet()).add(seq)
    path.rename(tmp_path / "aside")
    assert engine.row(count)["n"] == whole
    (tmp_path / "aside").rename(path)
    write_account(session, retired)  # as retention does it, before the file goes
    path.unlink()
    assert engine.row(count)["n"] == whole - truth.by_agent["agent_00003"]
    with agent_files(session, "agent_00004")[0].open("ab") as file:
        file.write(agent_files(session, "agent_00005")[0].read_bytes())
    assert engine.row(count)["n"] == whole - truth.by_agent["agent_00003"] + truth.by_agent["agent_00005"]
    for part in read_parts(session):
        drop_part(part)
    assert engine.row(count)["n"] == whole - truth.by_agent["agent_00003"] + truth.by_agent["agent_00005"]
    engine.close()


@pytest.mark.further
def test_the_views_follow_a_session_that_is_sealed_while_it_is_asked(truth: Truth, tmp_path: Path) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    analyzer = LogAnalyzer(session)
    before = analyzer.sql("SELECT count(*) AS n, sum(seq) AS s FROM events")
    journey = analyzer.trace_agent_journey("agent_00003")
    seal(session, remove=True)
    assert analyzer.sql("SELECT count(*) AS n, sum(seq) AS s FROM events") == before
    assert analyzer.trace_agent_journey("agent_00003") == journey


@pytest.mark.further
def test_one_agents_engine_reads_its_files_alone(truth: Truth, tmp_path: Path) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    for change in (lambda: None, lambda: seal(session), lambda: seal(session, remove=True)):
        change()
        engine = open_engine(session, "agent_00003")
        rows = engine.rows(f"SELECT agent_id, count(*) AS n FROM {scan()} GROUP BY agent_id")
        assert rows == [{"agent_id": "agent_00003", "n": truth.by_agent["agent_00003"]}]
        engine.close()


@pytest.mark.integration
def test_a_long_query_tells_how_far_it_is(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Agent.analysis.query.progress._PATIENCE_S", 0.05)
    monkeypatch.setattr("Agent.analysis.query.progress._INTERVAL_S", 0.01)
    told: list[float] = []
    token = listener.set(told.append)
    try:
        engine = open_engine(truth.session)
        engine.rows("SELECT count(*) FROM range(20000) a, range(20000) b WHERE (a.range * b.range) % 7 = 1")
        engine.close()
    finally:
        listener.reset(token)
    assert len(told) > 1
    assert all(0.0 <= share <= 1.0 for share in told)
    assert told[-1] == 1.0


INTERRUPTED = """
import sys
from pathlib import Path
from Agent.analysis.query.engine import open_engine
engine = open_engine(Path(sys.argv[1]))
engine.rows("SELECT 1")
print("ready", flush=True)
try:
    engine.rows("SELECT count(*) FROM range(3000000) a, range(3000000) b WHERE (a.range * b.range) % 7 = 1")
except KeyboardInterrupt:
    print("interrupted", engine.rows("SELECT 42 AS n"), flush=True)
"""


@pytest.mark.integration
def test_an_interrupt_stops_a_query_and_leaves_the_engine_usable(truth: Truth) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(truth.session)],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    wait_until_it_computes(program)
    os.kill(program.pid, signal.SIGINT)
    watchdog = threading.Timer(60, program.kill)
    watchdog.start()
    out, err = program.communicate()
    watchdog.cancel()
    assert out == "interrupted [{'n': 42}]\n", err


@pytest.mark.further
def test_sealed_files_are_looked_at_once_a_second_and_not_with_every_question(
    truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Path(shutil.copytree(truth.session, tmp_path / truth.session.name))
    seal(session)
    for directory in (session, agents_dir(session), archive_dir(session)):
        os.utime(directory, (0, 0))  # as if no name had changed for long
    looked: list[Path] = []
    now_s = [100.0]
    monkeypatch.setattr(data_files, "standing_at", lambda path: looked.append(path) or standing_at(path))
    monkeypatch.setattr(data_files, "time", SimpleNamespace(monotonic=lambda: now_s[0], time_ns=time.time_ns))
    count = f"SELECT count(*) AS n FROM {scan()}"
    engine = open_engine(session)
    before = engine.row(count)["n"]
    assert len(looked) == len(tree_files(session))
    looked.clear()
    assert engine.row(count)["n"] == before
    assert looked == []

    changed = agent_files(session, "agent_00004")[0]
    lines = changed.read_bytes().splitlines(keepends=True)
    changed.write_bytes(b"".join(lines[:-1]))
    now_s[0] += 1.0
    assert engine.row(count)["n"] == before - 1
    with changed.open("ab") as file:  # it is read as it stands now, and what is live is always looked at
        file.write(lines[-1])
    assert engine.row(count)["n"] == before
    engine.close()
