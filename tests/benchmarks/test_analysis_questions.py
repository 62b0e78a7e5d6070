"""What the analysis benchmark compares is the same question: everybody comes to the same answer."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pytest
from support.known_truth import Truth, make_session

from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import scan
from Agent.archive import open_reader, seal
from Agent.archive.sealed.parts import archive_dir
from Agent.tree.layout import tree_files

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def benchmarks_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_session(
        tmp_path_factory.mktemp("asked") / "trace", events=12_000, agents=20, faults=["poisoned_message"]
    )


@pytest.fixture(scope="module")
def answers(truth: Truth) -> dict[tuple[str, bool], tuple[list[str], list[str]]]:
    """By question and form: what the engine says, and what DuckDB says by hand."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.analysis import _condition, _rows, _sorted
        from benchmarks.analysis_questions import QUESTIONS, by_hand
    finally:
        sys.path.remove(str(ROOT))
    found = {}
    for sealed in (False, True):
        if sealed:
            seal(truth.session, part_bytes=300_000)
        kept = archive_dir(truth.session).glob("*.parquet") if sealed else tree_files(truth.session)
        files = [str(path) for path in kept]
        engine = open_engine(truth.session)
        for question in QUESTIONS:
            condition = _condition(question, engine)
            by_others = _rows(duckdb.connect(), by_hand(question, condition, sealed=sealed), files)
            own = engine.rows(question.own(condition))
            found[question.name, sealed] = _sorted(row.values() for row in own), _sorted(by_others)
        engine.close()
    return found


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    "question",
    [
        "rewards by agent",
        "events by agent and kind",
        "ten commonest errors",
        "a fiftieth of the time, by kind",
    ],
)
def test_duckdb_by_hand_and_the_engine_give_one_answer(answers, question, sealed):
    own, by_hand = answers[question, sealed]
    assert own == by_hand
    assert own


def test_the_answers_live_and_sealed_are_the_same(answers):
    for question, _ in answers:
        assert answers[question, False] == answers[question, True]


def test_a_child_tells_its_exit_code_its_output_and_its_memory():
    from benchmarks.children import run_child

    found = run_child(
        [sys.executable, "-c", "import sys; b = bytearray(80_000_000); print(len(b)); sys.exit(3)"]
    )
    assert (found.exit_code, found.out) == (3, b"80000000\n")
    assert 80 < found.peak_mb < 400
    assert found.wall_s > 0


def test_a_child_that_takes_too_long_is_stopped():
    from benchmarks.children import run_child

    found = run_child([sys.executable, "-c", "import time; time.sleep(60)"], patience_s=0.5)
    assert found.exit_code == 124
    assert found.wall_s < 30


def test_thawed_parts_stand_as_json_lines_again_and_nothing_is_twice(tmp_path):
    from benchmarks.analysis_commands import thaw

    made = make_session(tmp_path / "trace", events=4000, agents=8)
    before = sorted(event.id for event in open_reader(made.session).events())
    seal(made.session, remove=True, part_bytes=300_000)
    thawed = thaw(made.session, 1000)
    assert 1000 <= thawed < 4000
    assert tree_files(made.session)
    assert sorted(event.id for event in open_reader(made.session).events()) == before
    engine = open_engine(made.session)
    assert engine.row(f"SELECT count(*) AS n FROM {scan()}")["n"] == len(before)
    engine.close()
