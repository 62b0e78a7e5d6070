"""The fault benchmark as a package: it counts right, refuses files that are not as its format says, and stands alone."""

import ast
import json
import math
import subprocess
import sys

import pytest
from support.processes import REPOSITORY, child_environment

from benchmarks.fault_benchmark.agent_fault_benchmark import (
    Answer,
    Cause,
    FormatError,
    Truth,
    place_of,
    read_answers,
    read_cases,
    read_truth,
    score,
    write_answers,
)
from benchmarks.fault_benchmark.agent_fault_benchmark.agent_trace import NoAnswer, answers_of
from benchmarks.fault_benchmark.agent_fault_benchmark.command import main
from benchmarks.fault_benchmark.agent_fault_benchmark.scoring import interval
from benchmarks.fault_worlds.ablation import ALL, Paid, ablation
from benchmarks.fault_worlds.score import draw, known_of, rank_of
from benchmarks.fault_worlds.write_cases import write

PACKAGE = REPOSITORY / "benchmarks" / "fault_benchmark"


def faulty(case, *accepted, lag=0.1, **labels):
    return Truth(case, True, frozenset(accepted), lag, labels)


def says(case, *causes):
    return Answer(case, tuple(Cause((name,), confidence) for name, confidence in causes))


@pytest.fixture
def files(tmp_path):
    """Writes files of JSON lines below one directory, and the events of a case; gives the directory."""

    def made(**lines):
        for name, values in lines.items():
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in values))
        folder = tmp_path / "case_1"
        folder.mkdir(exist_ok=True)
        (folder / "events.jsonl").write_text('{"id": "w-1"}\n{"id": "w-2"}\n')
        return tmp_path

    return made


def test_a_hit_is_among_the_first_three_causes_and_the_first_six_events_of_a_cause():
    many = Cause(tuple(f"w-{number}" for number in range(1, 9)))
    assert place_of({"w-6"}, [many]) == 1
    assert place_of({"w-7"}, [many]) == 0, "naming everything is no answer"
    others = [Cause((f"x-{number}",)) for number in range(3)]
    assert place_of({"y"}, [*others[:2], Cause(("y",))]) == 3
    assert place_of({"y"}, [*others, Cause(("y",))]) == 0


def test_hits_are_counted_overall_by_lag_and_by_each_label():
    truth = [
        faulty("a", "w-1", lag=0.01, kind="race"),
        faulty("b", "w-1", lag=0.3, kind="race"),
        faulty("c", "w-1", lag=0.3, kind="drift"),
    ]
    answers = [says("a", ("w-1", 0.9)), says("b", ("w-9", 0.6), ("w-1", 0.2)), says("c", ("w-9", 0.6))]
    groups = score(truth, answers).to_dict()["groups"]
    assert groups["all"] == [{"name": "all", "cases": 3, "first": 1, "three": 2}]
    assert [(each["name"], each["cases"], each["three"]) for each in groups["lag"]] == [
        ("under 5 %", 1, 1),
        ("above 20 %", 2, 1),
    ]
    assert [(each["name"], each["three"]) for each in groups["kind"]] == [("drift", 0), ("race", 2)]


def test_a_case_without_an_answer_is_missed_and_one_that_the_truth_does_not_have_is_told():
    scores = score(
        [faulty("a", "w-1"), faulty("b", "w-1")], [says("a", ("w-1", 0.9)), says("z", ("w-1", 0.9))]
    )
    assert (scores.groups["all"][0].three, scores.unanswered, scores.unknown) == (1, 1, 1)
    assert "unanswered: 1; answers to unknown cases: 1" in scores.to_text()


def test_a_healthy_session_with_a_finding_is_a_false_alarm_and_with_a_hint_is_none():
    healthy = [Truth(name, False) for name in "abc"]
    scores = score(healthy, [says("a", ("w-1", 0.5)), says("b", ("w-1", 0.49)), says("c")])
    assert (scores.alarms, scores.healthy) == (1, 3)


def test_the_confidence_of_the_first_cause_is_compared_with_how_often_it_is_true():
    truth = [faulty(name, "w-1") for name in "abc"]
    scores = score(
        truth, [says("a", ("w-1", 0.9)), says("b", ("w-2", 0.85), ("w-1", 0.8)), says("c", ("w-1", 0.2))]
    )
    assert [(cases, true) for *_, cases, true in scores.calibration] == [(1, 1), (0, 0), (0, 0), (2, 1)]


@pytest.mark.integration
def test_the_interval_of_a_share_is_that_of_wilson():
    stats = pytest.importorskip("scipy.stats")
    for hits, cases in [(0, 6), (9, 12), (220, 220), (37, 110)]:
        expected = stats.binomtest(hits, cases).proportion_ci(0.95, method="wilson")
        assert interval(hits, cases) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_tables_fit_a_terminal():
    scores = score([faulty("a", "w-1", world="a_world_with_a_name")], [says("a", ("w-1", 0.9))])
    assert max(map(len, scores.to_text().splitlines())) <= 80


def test_answers_are_read_as_they_were_written(tmp_path):
    given = [says("a", ("w-1", 0.25), ("w-2", 0.1)), says("b")]
    write_answers(given, tmp_path / "answers.jsonl")
    assert read_answers(tmp_path / "answers.jsonl") == given


NOT_AS_THE_FORMAT_SAYS = [
    (read_answers, "{", ":1: no JSON"),
    (read_answers, "[]", ":1: a line has to be a JSON object"),
    (read_answers, '{"causes": []}', "`case` has to be a text"),
    (
        read_answers,
        '{"case": "a", "causes": [{"event_ids": "w-1"}]}',
        "`event_ids` has to be a list of texts",
    ),
    (read_answers, '{"case": "a", "causes": [{"confidence": 70}]}', "`confidence` is 70"),
    (read_answers, '{"case": "a", "causes": [{"confidence": NaN}]}', "`confidence` is nan"),
    (read_answers, '{"case": "a"}\n\n{"case": "a"}', ":3: case 'a' comes twice"),
    (read_truth, '{"case": "a"}', "`faulty` has to be true or false"),
    (read_truth, '{"case": "a", "faulty": true, "lag": 0.1}', "at least one event in `accepted`"),
    (read_truth, '{"case": "a", "faulty": true, "accepted": ["w-1"]}', "needs a `lag` from 0 to 1"),
    (
        read_truth,
        '{"case": "a", "faulty": false, "labels": {"n": 1}}',
        "`labels` has to be an object of texts",
    ),
]


def test_a_file_that_is_not_as_the_format_says_is_one_error_with_its_line(tmp_path):
    path = tmp_path / "file.jsonl"
    for read, line, says in NOT_AS_THE_FORMAT_SAYS:
        path.write_text(line)
        with pytest.raises(FormatError) as error:
            read(path)
        assert str(error.value).startswith(str(path)), line
        assert says in str(error.value), line


def test_a_case_cannot_lead_out_of_its_directory(files):
    with pytest.raises(FormatError, match="no name of a folder"):
        read_cases(files(cases=[{"case": "../case_1", "complaint": "it is broken"}]))


def test_a_truth_that_names_an_event_that_is_not_there_is_found(files, capsys):
    known = {"case": "case_1", "faulty": True, "accepted": ["w-3"], "lag": 0.5}
    directory = files(cases=[{"case": "case_1", "complaint": "it is broken"}], truth=[known])
    assert main(["check", str(directory)]) == 3
    assert "the accepted event w-3 is not there" in capsys.readouterr().err
    files(truth=[{**known, "accepted": ["w-2"]}])
    assert main(["check", str(directory)]) == 0


def test_the_command_scores_as_text_and_as_data(files, capsys):
    directory = files(
        cases=[{"case": "case_1", "complaint": "it is broken"}],
        truth=[{"case": "case_1", "faulty": True, "accepted": ["w-2"], "lag": 0.5}],
        answers=[{"case": "case_1", "causes": [{"event_ids": ["w-2"]}]}],
    )
    assert main(["score", str(directory), str(directory / "answers.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"]["all"][0]["three"] == 1
    assert main(["score", str(directory), str(directory / "nothing.jsonl")]) == 3
    assert "nothing.jsonl: cannot be read" in capsys.readouterr().err


@pytest.mark.process
def test_a_tool_that_is_not_installed_is_one_error(files):
    directory = files(cases=[{"case": "case_1", "complaint": "it is broken"}])
    with pytest.raises(NoAnswer, match="tree is missing"):
        list(answers_of(read_cases(directory)))
    (directory / "case_1" / "tree").mkdir()
    with pytest.raises(NoAnswer, match="no-such-command is not installed"):
        list(answers_of(read_cases(directory), ["no-such-command"]))


def test_the_package_needs_nothing_but_the_standard_library():
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == set()


@pytest.mark.further
def test_the_measure_of_the_worlds_counts_with_it():
    row = {"world": "crew", "kind": "wrong_merge", "seed": 1, "truth": {"accepted": ["w-1"], "lag": 0.2}}
    causes = [{"event_ids": ["w-2"], "confidence": 0.6}, {"event_ids": ["w-1"], "confidence": 0.2}]
    assert rank_of(row, causes) == 2
    known = known_of(row, faulty=True)
    assert (known.accepted, known.lag, known.labels["evidence"]) == ({"w-1"}, 0.2, "spans")
    failed = known_of({**row, "truth": None}, faulty=True)
    scores = score([known, failed], [Answer(known.case, (Cause(("w-1",)),))])
    assert [each.name for each in scores.groups["lag"]] == ["above 20 %", "unknown"]


@pytest.mark.integration
def test_written_cases_are_complete_and_entries_can_be_scored(tmp_path, capsys):
    out = tmp_path / "cases"
    out.mkdir()
    assert write(draw(4, 2, ["crew"]), out, 4, keeps_tree=True) == (3, 1)
    assert main(["check", str(out)]) == 0
    text = "".join(path.read_text() for path in out.glob("case_*/events.jsonl"))
    assert str(REPOSITORY) not in text
    assert "strikes" not in text, "no source of a world, which asks whether its fault happens"
    entry = [
        sys.executable,
        str(PACKAGE / "examples" / "last_errors.py"),
        str(out),
        str(tmp_path / "errors.jsonl"),
    ]
    subprocess.run(entry, check=True, env=child_environment())
    assert len(read_answers(tmp_path / "errors.jsonl")) == 3
    asked = f"env PYTHONPATH={REPOSITORY} {sys.executable} -P -m Agent"
    assert main(["agent-trace", str(out), str(tmp_path / "traced.jsonl"), "--command", asked]) == 0
    capsys.readouterr()
    assert main(["score", str(out), str(tmp_path / "traced.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unanswered"] == 0


def test_a_relation_pays_by_the_places_that_are_lost_without_it():
    places = [
        {ALL: 1, "level shifts": 4, "fails": 1},
        {ALL: 2, "level shifts": 2, "fails": 1},
        {ALL: 1, "level shifts": math.inf},
    ]
    assert ablation(places) == {
        "level shifts": Paid(first=-2, among_three=-2, reciprocal=0.25 - 1 + 0 - 1),
        "fails": Paid(first=1, among_three=0, reciprocal=0.5),
    }
