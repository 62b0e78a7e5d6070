"""The conformance suite of readers: our own reader passes it, a careless one does not, and it is what its script makes."""

import json
import shutil
from collections import Counter

import pytest
from support.processes import REPOSITORY

from Agent.tree.read.reader import TreeReader
from benchmarks.fault_benchmark.conformance import check, make_trees

SUITE = REPOSITORY / "benchmarks" / "fault_benchmark" / "conformance"


def answers_of(session):
    """What our own reader finds in a session."""
    reader = TreeReader(session)
    events = list(reader.events())
    numbers: dict[str, set[int]] = {}
    for event in events:
        writer, _, number = event.id.rpartition("-")
        numbers.setdefault(writer, set()).add(int(number))
    missing = {writer: sorted({*range(1, max(each))} - each) for writer, each in numbers.items()}
    return {
        "ids": [event.id for event in events],
        "agents": dict(Counter(event.agent_id for event in events if event.agent_id is not None)),
        "kinds": dict(Counter(event.kind for event in events)),
        "errors": [event.id for event in events if event.level in {"ERROR", "CRITICAL"}],
        "causes": {event.id: list(event.causes) for event in events if event.causes},
        "missing": {writer: each for writer, each in missing.items() if each},
        "damaged_lines": reader.damaged_lines,
    }


@pytest.fixture
def trees(tmp_path):
    """The sessions of the suite, where reading may leave something."""
    shutil.copytree(SUITE / "trees", tmp_path / "trees")
    return {path.name: next(path.iterdir()) for path in sorted((tmp_path / "trees").iterdir())}


def test_our_reader_finds_what_is_in_the_trees(trees, tmp_path, capsys):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({name: answers_of(session) for name, session in trees.items()}))
    assert check.main(path) == 0, capsys.readouterr().out


def test_a_reader_that_goes_by_time_alone_or_counts_no_damage_is_named(trees, tmp_path, capsys):
    answers = {name: answers_of(session) for name, session in trees.items()}
    answers["whole"]["ids"].sort()
    answers["torn"]["damaged_lines"] = 0
    del answers["newer"]
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(answers))
    assert check.main(path) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("whole: ids: at place 1 '3amknyzy-1', expected '6yn3eowu-1'")
    assert told[1:] == ["torn: damaged_lines: 0, expected 1", "newer: no answers"]


def test_answers_that_cannot_be_read_are_one_error(tmp_path, capsys):
    assert check.main(tmp_path / "nothing.json") == 3
    (tmp_path / "list.json").write_text("[]")
    assert check.main(tmp_path / "list.json") == 3
    assert "has to be an object" in capsys.readouterr().err


def test_what_is_expected_is_what_plain_reading_finds(trees):
    expected = json.loads((SUITE / "expected.json").read_text())
    assert {name: make_trees.expected(session) for name, session in trees.items()} == expected
