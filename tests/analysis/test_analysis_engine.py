"""The query engine: which files it reads, what it refuses, what damage does to it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.analysis.causality.event_links import load_event
from Agent.analysis.query import engine, views
from Agent.analysis.query.engine import Engine, open_engine
from Agent.analysis.query.views import ENVELOPE, names, payload_columns, scan, whole_lines
from Agent.errors import DamagedInput, InputError, MissingExtra, SessionNotFound, UsageError
from Agent.event.payloads import KINDS


def test_names_full_of_wildcards_and_quotes_are_read_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / 'od[d] *dir\' "x" %41 ünï'
    build = SessionBuilder(root)
    for agent in ["it's", 'say "hi"', "Ünï😀", "a?b", "plain", "per%20cent"]:
        build.emit("log", agent)
    # A name that the unescaped one would match as a pattern.
    for name in ("w[0-9].log", "w5.log"):
        line = build.file_of("plain").read_bytes()
        (build.path / "agents" / name).write_bytes(line.replace(b"aaaabbbb", b"bbbbaaaa"))
    files = [build.path / "agents" / "w[0-9].log", *(build.file_of(agent) for agent in ["it's", "Ünï😀"])]
    engine = Engine(build.path, lambda: files)
    assert engine.row(f"SELECT count(*) AS n FROM {scan()}")["n"] == 3
    assert LogAnalyzer(build.path).sql("SELECT count(DISTINCT agent_id) AS n FROM events") == [{"n": 6}]


NOTEBOOK = """
import sys, types
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = lambda: shell
sys.modules["ipywidgets"] = None  # not installed
from Agent.analysis import LogAnalyzer
print(list(LogAnalyzer(sys.argv[1]).sql("SELECT count(*) AS n FROM events")))
"""


@pytest.mark.further
@pytest.mark.process
def test_queries_run_in_a_notebook_without_ipywidgets(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    command = [sys.executable, "-c", NOTEBOOK, str(builder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1}" in done.stdout


@pytest.mark.integration
def test_a_thousand_files_are_one_question(builder: SessionBuilder) -> None:
    for n in range(1000):
        builder.emit("log", f"agent_{n}")
    assert LogAnalyzer(builder.path).sql("SELECT count(DISTINCT agent_id) AS n FROM events") == [{"n": 1000}]


def test_mirrors_are_never_read(builder: SessionBuilder) -> None:
    builder.emit("error", "a", error_type="X", error_message="y")
    mirror = builder.root / "errors" / "errors.jsonl"
    mirror.parent.mkdir()
    mirror.write_bytes(builder.file_of("a").read_bytes() * 5)
    assert LogAnalyzer(root=builder.root).find_error_patterns()["total_errors"] == 1


def test_damaged_lines_are_counted_by_file_and_in_no_group(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    builder.write_line(b'{"timestamp":"torn\n', "a")
    builder.write_line(b"\x00\xff\n\n   \n", "a")
    builder.emit("log", "b")
    analyzer = LogAnalyzer(builder.path)
    assert analyzer.damaged_lines() == {str(builder.file_of("a").resolve()): 2}
    assert analyzer.sql("SELECT agent_id, count(*) AS n FROM events GROUP BY agent_id ORDER BY agent_id") == [
        {"agent_id": "a", "n": 1},
        {"agent_id": "b", "n": 1},
    ]


def test_a_line_that_begins_like_ours_and_is_no_json_is_in_no_group(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    whole = builder.file_of("a").read_bytes().splitlines()[-1]
    builder.write_line(whole[:-20] + b'"}\n', "a")
    builder.emit("log", "a")
    engine = open_engine(builder.path)
    assert engine.rows(f"SELECT event_type, count(*) AS n FROM {scan()} GROUP BY ALL") == [
        {"event_type": "log", "n": 2}
    ]
    assert sum(engine.damaged_lines().values()) == 1


@pytest.mark.parametrize("is_built", [True, False])
def test_a_question_has_the_same_answer_whether_files_are_known_to_be_regular(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch, is_built: bool
) -> None:
    if not is_built:
        monkeypatch.setattr("Agent.analysis.query.engine.Files", None)
    builder.emit("reward", "a", reward=1.5)
    builder.emit("log", "b")
    builder.write_line(
        b'{"timestamp":"2026-99-20T10:30:45.000002Z","id":"sfhtuqh7-3","schema_version":1}\n', "b"
    )
    builder.emit("reward", "b", reward=0.5)
    engine = open_engine(builder.path)
    for _ in range(2):
        rows = engine.rows(
            f"SELECT agent_id, seq, reward FROM {scan('reward')} WHERE reward > 0 ORDER BY ts_us, seq"
        )
        assert [(row["agent_id"], row["reward"]) for row in rows] == [("a", 1.5), ("b", 0.5)]
    whole = engine.rows(f"SELECT event_type FROM {whole_lines()} ORDER BY ts_us, seq")
    assert [row["event_type"] for row in whole] == ["reward", "log", "reward"]


@pytest.mark.further
def test_a_line_of_many_megabytes_is_one_event(builder: SessionBuilder) -> None:
    builder.emit("log", "a", blob="x" * 20_000_000)
    builder.emit("log", "a")
    assert LogAnalyzer(builder.path).sql("SELECT count(*) AS n FROM events") == [{"n": 2}]


@pytest.mark.further
def test_a_line_that_no_event_can_be_is_passed_over_or_named_where_sql_has_no_room_for_it(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (views, engine):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", 1_000_000)
    builder.emit("log", "a")
    builder.emit("log", "a")
    with builder.file_of("a").open("ab") as file:
        file.write(b"y" * 3_000_000 + b"\n")
    # Whether the engine has room depends on how it shares the file among its threads.
    try:
        answer = str(list(LogAnalyzer(builder.path).sql("SELECT count(*) AS n FROM events")))
    except DamagedInput as error:
        answer = str(error)
    assert answer == "[{'n': 2}]" or re.search(r"longer than .*a\.log:3\); remove that line", answer)


def test_every_view_can_be_asked_and_has_the_keys_of_its_kinds(builder: SessionBuilder) -> None:
    builder.emit(
        "agent_action", "a", action_type="act", args={"x": [1]}, result=None, duration_ms=2.5, span="s1"
    )
    builder.emit("error", "a", level="ERROR", error_type="ValueError", error_message="no")
    builder.emit("log", "a", level="CRITICAL", message="lost")
    builder.emit("reward", "a", reward="NaN", action_id=7)
    builder.emit("agent_message", "a", direction="sent", message_id="m", sender="a", recipient="b", body={})
    call = builder.emit("tool.call", "a", name="search", call_id="c1", result={"x": None}, duration_ms=1)
    analyzer = LogAnalyzer(builder.path)
    counts = {name: analyzer.sql(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in names()}
    assert counts["events"] == 6
    assert {name: n for name, n in counts.items() if n and name != "events"} == {
        "actions": 1, "errors": 2, "rewards": 1, "messages": 1, "spans": 1, "tool_calls": 1,
    }  # fmt: skip
    assert analyzer.sql("SELECT action_type, duration_ms, args FROM actions") == [
        {"action_type": "act", "duration_ms": 2.5, "args": '{"x":[1]}'}
    ]
    assert analyzer.sql("SELECT isnan(reward) AS odd, action_id FROM rewards") == [
        {"odd": True, "action_id": "7"}
    ]
    assert analyzer.sql("SELECT name, call_id, agent_id FROM tool_calls") == [
        {"name": "search", "call_id": "c1", "agent_id": "a"}
    ]
    row = load_event(analyzer.engine, call)
    assert row is not None
    assert row["extra"] == {
        "agent_id": "a", "name": "search", "call_id": "c1", "result": {"x": None}, "duration_ms": 1,
    }  # fmt: skip
    assert row["event_type"] == "tool.call"
    assert analyzer.sql("SELECT extra->>'$.action_type' AS x FROM events ORDER BY seq LIMIT 1") == [
        {"x": "act"}
    ]


def test_the_scan_knows_every_key_of_every_payload() -> None:
    columns = payload_columns()
    for kind in KINDS.values():
        for field in kind.fields:
            assert field.name in columns or field.name in ENVELOPE, field


@pytest.mark.further
@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{session}/x.csv'",
        "CREATE TABLE t (x INT)",
        "SELECT 1; SELECT 2",
        "SELECT * FROM nowhere",
        "SELEKT",
        "",
        "SELECT * FROM read_text('/etc/hostname')",
        "SET memory_limit = '1TB'",
    ],
)
def test_a_query_that_does_not_only_read_the_session_is_refused_in_one_line(
    builder: SessionBuilder, query: str
) -> None:
    builder.emit("log", "a")
    with pytest.raises(UsageError) as refused:
        LogAnalyzer(builder.path).sql(query.format(session=builder.path))
    assert "\n" not in str(refused.value)
    assert not (builder.path / "x.csv").exists()


def test_a_bad_query_leaves_the_analyzer_usable(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    analyzer = LogAnalyzer(builder.path)
    with pytest.raises(UsageError):
        analyzer.sql("SELECT nothing FROM events")
    assert analyzer.sql("SELECT count(*) AS n FROM events") == [{"n": 1}]


def test_a_session_that_grows_is_seen_as_it_is_now(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    analyzer = LogAnalyzer(builder.path)
    assert analyzer.sql("SELECT count(*) AS n FROM events") == [{"n": 1}]
    builder.emit("log", "a")
    builder.emit("log", "b")
    assert analyzer.sql("SELECT count(*) AS n FROM events") == [{"n": 3}]


def test_a_segment_that_rolls_while_it_is_read_is_read_once_more(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.emit("log", "a")
    builder.emit("log", "a")
    execute = Engine._execute
    rolled = []

    def roll_first(self: Engine, *query: object) -> object:
        if not rolled:
            live = builder.file_of("a")
            rolled.append(live.rename(live.with_name("a.1.log")))
            builder.emit("log", "a")
        return execute(self, *query)

    monkeypatch.setattr(Engine, "_execute", roll_first)
    assert LogAnalyzer(builder.path).session_summary()["total_events"] == 3


def test_a_link_among_the_files_is_not_followed(builder: SessionBuilder, tmp_path: Path) -> None:
    builder.emit("log", "a")
    elsewhere = tmp_path / "elsewhere.log"
    elsewhere.write_bytes(builder.file_of("a").read_bytes())
    (builder.path / "agents" / "b.log").symlink_to(elsewhere)
    assert LogAnalyzer(builder.path).session_summary()["total_events"] == 1


def test_a_file_that_goes_away_is_one_clear_error(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    files = [builder.file_of("a"), builder.path / "agents" / "gone.log"]
    engine = Engine(builder.path, lambda: files)
    with pytest.raises(InputError, match=r"gone\.log"):
        engine.rows(f"SELECT count(*) FROM {scan()}")


def test_analysis_leaves_nothing_in_a_session_that_cannot_be_written(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    before = sorted(builder.path.rglob("*"))
    (builder.path / ".state").chmod(0o500)
    try:
        LogAnalyzer(builder.path).session_summary()
    finally:
        (builder.path / ".state").chmod(0o700)
    assert sorted(builder.path.rglob("*")) == before


def test_a_data_frame_needs_pandas_and_says_so(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.emit("log", "a")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pandas" else object())
    with pytest.raises(MissingExtra, match="pandas"):
        LogAnalyzer(builder.path).to_df()


def test_without_the_engine_an_aggregate_says_what_to_install(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.emit("log", "a")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtra, match="duckdb"):
        LogAnalyzer(builder.path).find_error_patterns()


def test_an_empty_or_missing_tree_is_one_clear_error(trace_root: Path) -> None:
    with pytest.raises(SessionNotFound, match="record one"):
        LogAnalyzer()
    SessionBuilder(trace_root)
    with pytest.raises(SessionNotFound, match="no events yet"):
        LogAnalyzer()
    with pytest.raises(SessionNotFound):
        LogAnalyzer("20200101_000000")


def test_the_newest_session_is_analysed_and_any_other_by_name_prefix_or_path(trace_root: Path) -> None:
    for session_id in ("20261120_103045", "20261121_103045"):
        SessionBuilder(trace_root, session_id).emit("log", session_id)
    assert LogAnalyzer().path.name == "session_20261121_103045"
    assert LogAnalyzer("20261120").path.name == "session_20261120_103045"
    assert LogAnalyzer("20261120_103045", root=trace_root).path.name == "session_20261120_103045"
    assert LogAnalyzer(trace_root / "session_20261120_103045").path.name == "session_20261120_103045"


@pytest.mark.process
def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, Agent.analysis; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in {'duckdb', 'sqlite3', 'difflib', 'rich', 'pandas'}"
        " or m.startswith('Agent.analysis.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # the seam for testing causes, which loads nothing itself
    assert done.stdout.strip() == "['Agent.analysis.debug', 'Agent.analysis.debug.experiment_seam']"


@pytest.mark.further
def test_every_event_is_a_row_of_the_data_frame(builder: SessionBuilder) -> None:
    pytest.importorskip("pandas")
    for n in range(3):
        builder.emit("reward", f"a{n}", reward=n)
    analyzer = LogAnalyzer(builder.path)
    assert list(analyzer.to_df()["id"]) == [event.id for event in builder.events]
    assert analyzer.to_df("SELECT sum(reward) AS s FROM rewards")["s"].iloc[0] == 3
