"""Lines that are read as columns have the answers of DuckDB's own reader; what is odd is left to it."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from analysis_kit import SessionBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Agent.analysis import LogAnalyzer
from Agent.analysis.query import engine as engine_module
from Agent.analysis.query.engine import Engine, open_engine
from Agent.analysis.query.views import TELLING, Only, events_of, payload_columns, scan, whole_lines
from Agent.event.codec import CURRENT_SCHEMA

pytestmark = pytest.mark.skipif(engine_module.Files is None, reason="the native part was not built")

LINE = (
    b'{"timestamp":"2026-11-20T10:30:45.000002Z","id":"sfhtuqh7-3","schema_version":1,'
    b'"session_id":"20261120_103045","level":"INFO","logger":"agent","message":"x","extra":{"event_type":"log"}}\n'
)
KIND = (("event_type", "e", "event_type", "type"),)


def mark_of(path: Path, columns: tuple[Any, ...] = KIND, size_bytes: int | None = None) -> int:
    """What is said of a file after all of it was read: 0 fine, 1 odd, 2 unreadable."""
    status = path.lstat()
    listed = (
        str(path),
        status.st_ino,
        status.st_size if size_bytes is None else size_bytes,
        status.st_mtime_ns,
    )
    lines = engine_module.Files((listed,), CURRENT_SCHEMA, 1 << 26).lines(
        columns, None, False, -(2**63), 2**63 - 1, None, None
    )
    lines.look()
    return int(lines.marks()[0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_bytes(LINE * 3)
    return path


def test_whole_lines_of_this_package_are_columns(file: Path) -> None:
    assert mark_of(file) == 0


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"2026-11-20T", b"2026-13-20T"),
        (b"2026-11-20T", b"2026-02-29T"),
        (b"2026-11-20T", b"2026-11-00T"),
        (b"T10:30:45", b"T24:30:45"),
        (b"T10:30:45", b"T10:60:45"),
        (b"45.000002Z", b"45.00002xZ"),
        (b"sfhtuqh7-3", b"sfhtuqh7-x"),
        (b"sfhtuqh7-3", b"sfhtuqh-33"),
        (b"sfhtuqh7-3", b"sfhtuqh7-"),
        (b"sfhtuqh7-3", b"sfhtuqh7-1234567890123456789"),
        (b'"schema_version":1,', b'"schema_version":2,'),
        (b'"schema_version":1,', b'"schema_version":0,'),
        (b'"schema_version":1,', b'"schema_version":12,'),
        (b'{"timestamp"', b' {"timestamp"'),
        (b"}}\n", b"}}\n\n"),
        (b"}}\n", b"}} \n"),
        (b"}}\n", b"}]\n"),
        (b"}}\n", b"}\n"),
        (b'"x"', b'"\xff"'),
        (b'"x"', b'"\xed\xa0\x80"'),
        (b'"x"', b'"\x01"'),
        (b'"x"', b'"\\x"'),
        (b'"x"', b'"\\ud800"'),
        (b'"x"', b"01"),
        (b'"x"', b"[1,]"),
        (b'"x"', b'{"a":1,}'),
        (b'"x"', b"tru"),
        (b'"x"', b"[[[[}]]]"),
        (b',"extra":{"event_type":"log"}', b""),
        (b'{"event_type":"log"}', b"[]"),
        (b'"event_type"', b'"event\\u005ftype"'),
    ],
)
def test_a_file_with_one_other_line_is_odd(file: Path, was: bytes, becomes: bytes) -> None:
    assert was in LINE
    file.write_bytes(LINE * 2 + LINE.replace(was, becomes, 1) + LINE)
    assert mark_of(file) == 1


def test_a_torn_tail_is_odd(file: Path) -> None:
    file.write_bytes(LINE * 2 + LINE[:100])
    assert mark_of(file) == 1


def test_only_the_listed_bytes_are_read(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"{}\n")
    assert mark_of(file, size_bytes=3 * len(LINE)) == 0


def test_lines_longer_than_what_is_read_at_once_are_columns(file: Path) -> None:
    file.write_bytes(LINE + LINE.replace(b'"x"', b'"' + b"x" * (3 << 20) + b'"') + LINE)
    assert mark_of(file) == 0


def test_many_lines_across_the_edges_of_what_is_read_at_once_are_columns(file: Path) -> None:
    file.write_bytes(
        b"".join(LINE.replace(b'"x"', b'"' + b"x" * (number % 977) + b'"') for number in range(5000))
    )
    assert mark_of(file) == 0


def test_a_file_that_is_gone_and_a_symbolic_link_are_unreadable(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.log"
    link.symlink_to(file)
    assert mark_of(link) == 2


PAYLOAD = sorted(payload_columns())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-100, 100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1000, 1000).map(lambda number: round(number, 3)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["12", "-1.5", "true", "inf", "é\n\t\x1f", '"\\/', "2026-11-20", ""]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc ,:", max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
ENVELOPE = {
    "level": st.sampled_from(["INFO", "ERROR", "CRITICAL"]) | SCALARS,
    "message": SCALARS,
    "span_id": SCALARS,
    "parent_span_id": SCALARS,
    "tick": SCALARS,
    "causes": st.lists(st.text("ab\\é", max_size=4), max_size=3) | VALUES,
    "state": VALUES,
    "types": VALUES,
    "code": SCALARS,
}
KINDS = st.sampled_from(
    ["log", "reward", "error", "interaction", "log.dropped", "log.closed", "agent_action"]
)


@st.composite
def lines_of_a_file(draw: st.DrawFn, writer: str) -> bytes:
    """Lines that begin as ours; their values are of any kind, and one of them may be torn or repeat a key."""
    made = []
    for number in range(draw(st.integers(0, 6))):
        line: dict[str, Any] = {
            "timestamp": f"2026-11-20T10:30:{draw(st.integers(0, 59)):02}.{number:06}Z",
            "id": f"{writer}-{number + 1}",
            "schema_version": 1,
        }
        line |= {name: draw(values) for name, values in ENVELOPE.items() if draw(st.booleans())}
        payload = draw(st.dictionaries(st.sampled_from(PAYLOAD), VALUES, max_size=8))
        payload["event_type"] = draw(KINDS)
        if draw(st.integers(0, 9)) == 0:
            line |= {"type": payload.pop("event_type")} | payload
        else:
            line["extra"] = payload
        made.append(dumps(line))
    if made and draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(made) - 1))
        cut = draw(st.integers(1, len(made[at]) - 1))
        made[at] = made[at][:cut] + draw(st.sampled_from([b"", b"x", b'"', made[at]]))
    return b"".join(line + b"\n" for line in made)


def dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def answers(session: Path, keys: list[str]) -> list[Any]:
    with open_engine(session) as engine:
        named = ", ".join(f'"{key}"' for key in keys if key not in {"event_type", "agent_id", "agent_role"})
        columns = "ts_us, writer, seq, timestamp, id, level, message, span_id, causes, tick, state, code"
        found = [
            engine.rows(f"SELECT {columns}, event_type, agent_id, agent_role, {named} FROM {scan(*keys)}"),
            engine.rows(f"SELECT *, extra, is_flat, types, filename FROM {whole_lines()}"),
            engine.rows(f"SELECT writer, seq, reward FROM {scan('reward', only=Only(('reward',)))} "
                        "WHERE event_type = 'reward'"),
            engine.rows(f"SELECT writer, seq FROM {scan('error_id', only=Only(('error',), with_errors=True))} "
                        "WHERE event_type = 'error' OR level IN ('ERROR', 'CRITICAL')"),
            warned_or_logged(engine),
            engine.rows("SELECT seq FROM " + scan(only=Only(since_us=1795170630000000, until_us=1795170640000000))
                        + " WHERE ts_us BETWEEN 1795170630000000 AND 1795170640000000"),
            engine.rows(f"SELECT writer, seq, last_seq, reason FROM {events_of(TELLING, 'last_seq', 'reason')}"),
        ]  # fmt: skip
        linked = [linked_to(engine)]
        ends = engine.ends_us()  # from here on, there may be an index
        found += [*linked, linked_to(engine), warned_or_logged(engine)]
        return [sorted(map(told, rows)) for rows in found] + [ends, engine.damaged_lines()]


IDS = ["aaaaaaaa-2", "bbbbbbbb-2", "bbbbbbbb-5", "cccccccc-1", "no id"]
SPANS = ["12", "-1.5", "true", "é\n\t\x1f", '"\\/', "2026-11-20"]


def warned_or_logged(engine: Engine) -> list[dict[str, Any]]:
    source = scan(only=Only(("log",), with_warnings=True))
    return engine.rows(f"SELECT writer, seq FROM {source} WHERE event_type = 'log' OR level = 'WARNING'")


def linked_to(engine: Engine) -> list[dict[str, Any]]:
    """Events with some ids, of some spans, and inside of some."""
    only = Only(ids=IDS, spans=SPANS)
    return engine.rows(
        f"SELECT writer, seq, span_id, parent_span_id, extra FROM {whole_lines(only)} WHERE "
        "list_contains($1, id) OR list_contains($2, span_id) OR list_contains($2, parent_span_id)",
        [IDS, SPANS],
    ) + engine.rows(
        f"SELECT writer, seq, message FROM {scan(only=Only(ids=IDS))} WHERE list_contains($1, id)", [IDS]
    )


JSON_NAMES = {"state", "types", "extra"} | {
    name for name, sql_type in payload_columns().items() if sql_type == "JSON"
}


def told(row: dict[str, Any]) -> str:
    return repr({name: plain(value, is_json=name in JSON_NAMES) for name, value in row.items()})


def plain(value: Any, *, is_json: bool = False) -> Any:
    """JSON by what it holds: DuckDB writes numbers and escapes in its own way."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= 2**53:
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.15g}")
    return plain(json.loads(value)) if is_json and isinstance(value, str) else value


@pytest.mark.integration
@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_columns_have_the_answers_of_duckdb_s_own_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    session = tmp_path_factory.mktemp("trace") / "session_20261120_103045"
    (session / "agents").mkdir(parents=True)
    for number, writer in enumerate(["aaaaaaaa", "bbbbbbbb"]):
        (session / "agents" / f"a{number}.log").write_bytes(data.draw(lines_of_a_file(writer)))
    keys = data.draw(st.lists(st.sampled_from(PAYLOAD), min_size=1, unique=True))
    keys = [key for key in keys if key not in {"event_type", "agent_id", "agent_role"}] or ["reward"]
    own = answers(session, keys)
    real, engine_module.Files = engine_module.Files, None
    try:
        assert own == answers(session, keys)
    finally:
        engine_module.Files = real
        shutil.rmtree(session.parent)


def test_a_question_that_names_kinds_reads_no_other_lines_once_there_is_an_index(
    builder: SessionBuilder,
) -> None:
    for number in range(20):
        builder.emit(
            "log" if number % 5 else "reward", "a", **({} if number % 5 else {"reward": float(number)})
        )
    engine = open_engine(builder.path)
    asked = (
        f"SELECT sum(reward) AS n FROM {scan('reward', only=Only(('reward',)))} WHERE event_type = 'reward'"
    )
    before = engine.row(asked)
    assert engine.ends_us() is not None
    # the same bytes in the file, but in lines of another kind
    held = builder.file_of("a").read_bytes()
    builder.file_of("a").write_bytes(held.replace(b'"log"', b'"xxx"'))
    os.utime(builder.file_of("a"), ns=(1, 1))
    assert before == engine.row(asked) == {"n": 0.0 + 5 + 10 + 15}


def test_a_question_that_names_ids_and_spans_reads_no_other_lines_once_there_is_an_index(
    builder: SessionBuilder,
) -> None:
    ids = [builder.emit("log", "a", span=f"span{n}", parent=f"around{n}") for n in range(200)]
    engine = open_engine(builder.path)
    asked = [ids[3], ids[150], "cccccccc-1"]
    wanted = (
        f"SELECT id FROM {scan(only=Only(ids=asked, spans=['span5', 'around7', 'é']))} "
        "WHERE list_contains($1, id) OR span_id = 'span5' OR parent_span_id = 'around7' ORDER BY seq"
    )
    found = [{"id": ids[n]} for n in (3, 5, 7, 150)]
    assert not engine.is_indexed
    assert engine.rows(wanted, [asked]) == found
    assert engine.ends_us() is not None
    assert engine.is_indexed
    passed = engine.rows(f"SELECT count(*) AS n FROM {scan(only=Only(ids=asked, spans=['span5']))}")
    assert passed == [{"n": 3}], "lines were read that nobody asked for"
    assert engine.rows(wanted, [asked]) == found
    assert engine.rows(f"SELECT id FROM {scan(only=Only(ids=[]))}") == []


def test_the_numbers_of_all_events_come_with_the_index(builder: SessionBuilder) -> None:
    for number in range(70):
        builder.emit("log", f"a{number % 3}")
    engine = open_engine(builder.path)
    found = engine.numbers()
    rows = engine.rows(f"SELECT writer, list(seq) AS seqs FROM {scan()} GROUP BY writer")
    assert found is not None
    assert {row["writer"]: sorted(row["seqs"]) for row in rows} == {
        writer: [at for at in range(8 * len(held)) if held[at >> 3] >> (at & 7) & 1]
        for writer, held in found.items()
    }


def test_a_number_that_comes_twice_is_left_to_a_query(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    builder.file_of("a").write_bytes(builder.file_of("a").read_bytes() * 2)
    assert open_engine(builder.path).numbers() is None


def test_a_file_that_becomes_odd_is_read_again_by_duckdb(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    builder.emit("log", "b")
    engine: Engine = open_engine(builder.path)
    assert engine.row(f"SELECT count(*) AS n FROM {scan()}") == {"n": 2}
    builder.write_line(b'{"timestamp":"torn\n', "a")
    builder.emit("log", "a")
    assert engine.row(f"SELECT count(*) AS n FROM {scan()}") == {"n": 3}
    assert sum(engine.damaged_lines().values()) == 1


@pytest.mark.first_case
@pytest.mark.parametrize(
    "query",
    [
        "SELECT e FROM events e WHERE e.seq > 0 ORDER BY e.id",
        "SELECT * FROM events NATURAL JOIN spans",
        "SELECT events FROM events ORDER BY events.id",
        "SELECT COLUMNS('.*_us') FROM spans",
        "SELECT #1 FROM rewards",
        "FROM rewards SELECT count(*)",
        "SELECT count(*) FROM errors",
        "SELECT Agent_ID, REWARD FROM Rewards ORDER BY ID",
        "SELECT count(*) FROM rewards a JOIN events b USING (id)",
        "WITH r AS (SELECT id, reward FROM rewards) SELECT r FROM r ORDER BY id",
        "SELECT x FROM events e(x) ORDER BY x",
        "SUMMARIZE rewards",
        "DESCRIBE spans",
    ],
)
def test_a_query_sees_every_column_that_it_may_use(builder: SessionBuilder, query: str) -> None:
    for number in range(3):
        builder.emit("reward", "a", reward=float(number))
    builder.emit("error", "a", error_type="X", error_message="y")
    own = list(LogAnalyzer(builder.path).sql(query))
    real, engine_module.words_of = engine_module.words_of, lambda _: None
    try:
        assert own == list(LogAnalyzer(builder.path).sql(query))
    finally:
        engine_module.words_of = real
