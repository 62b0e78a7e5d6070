"""The measurement on public data sets reads their files, asks, and refuses a directory that holds none of them."""

import json

import pytest

from benchmarks.public_failures import (
    main,
    measure_conversations,
    measure_incidents,
    read_conversations,
    read_incidents,
)

HISTORY = [
    {"role": "human", "content": "How high is the tower?"},
    {"role": "Orchestrator (thought)", "content": "Initial plan: ask WebSurfer"},
    {"role": "Orchestrator (-> WebSurfer)", "content": "Please look it up"},
    {"role": "WebSurfer", "content": "I found 30 m"},
    {"role": "Orchestrator (termination condition)", "content": "Done.\nFINAL ANSWER: 30 m\nCOMPLETE"},
]


@pytest.fixture
def who_and_when(tmp_path):
    folder = tmp_path / "who" / "Who&When" / "Hand-Crafted"
    folder.mkdir(parents=True)
    known = {
        "history": HISTORY, "question": "How high is the tower?\n", "ground_truth": "33 m",
        "mistake_agent": "Websurfer", "mistake_step": "3",
    }  # fmt: skip
    (folder / "1.json").write_text(json.dumps(known), encoding="utf-8")
    return tmp_path / "who"


@pytest.fixture
def petshop(tmp_path):
    scenario = tmp_path / "pets" / "dataset" / "low_traffic"
    issue = scenario / "test" / "issue_0"
    issue.mkdir(parents=True)
    (scenario / "noissue").mkdir()
    (scenario / "graph.csv").write_text(",Site,Shop,Table\nSite,0,1,0\nShop,0,0,1\nTable,0,0,0\n")
    head = (
        "microservice,Site,Shop,Table,Table\nmetric,latency,latency,latency,latency\n"
        "statistic,Average,Average,Average,p99\nunix_timestamp,,,,\n"
    )
    normal = "".join(f"{300 * step},0.{10 + step % 3},0.{20 + step % 2},0.01,9\n" for step in range(60))
    (scenario / "noissue" / "metrics.csv").write_text(head + normal)
    (issue / "metrics.csv").write_text(head + "30000,0.1,0.2,0.01,9\n30300,0.9,,5.0,9\n30600,0.9,0.8,5.0,9\n")
    target = {"node": "Site", "metric": "latency", "agg": "Average", "timestamp": 30100}
    known = {"target": target, "root_cause": {"node": "Table", "metric": None}}
    (issue / "target.json").write_text(json.dumps(known))
    return tmp_path / "pets"


def test_a_conversation_is_read_asked_about_and_scored(who_and_when, tmp_path):
    [case] = read_conversations(who_and_when)
    assert [message[:2] for message in case.messages[1:4]] == [
        ("Orchestrator", "thought"),
        ("Orchestrator", "-> WebSurfer"),
        ("WebSurfer", "message"),
    ]
    assert case.complaint() == (
        'Asked "How high is the tower?", the team answered "30 m". The right answer is "33 m".'
    )
    assert case.by_rule() == {"last message": [4, 3, 2, 1, 0], "first message after the plan": [3, 4]}
    report = measure_conversations([case], tmp_path)
    lines = {line[0]: line[1:] for line in report.tables[0].lines}
    assert lines["first message after the plan"] == ("100.0", "100.0", "100.0")
    assert lines["last message"] == ("0.0", "0.0", "100.0")
    assert lines["random"] == ("50.0", "20.0", "100.0")
    assert len(lines["debug_issue"]) == 3
    assert report.figures["who_and_when"][0]["step"] == 3


def test_an_incident_is_read_asked_about_and_scored(petshop, tmp_path):
    [case], left_out = read_incidents(petshop)
    assert left_out == ["high_traffic", "temporal_traffic1", "temporal_traffic2"]
    assert case.calls == [("Site", "Shop"), ("Shop", "Table")]
    assert len(case.normal["Table", "latency"]) == 48, "the last steps of normal operation"
    assert case.during["Shop", "latency"] == [0.2, None, 0.8]
    assert case.complaint() == "latency of Site went up at tick 49"
    assert case.by_change() == ["Table", "Shop", "Site"]
    report = measure_incidents([case], left_out, tmp_path)
    lines = {line[3]: line[4:] for line in report.tables[0].lines if line[0] == "low_traffic"}
    assert lines["largest change"] == ("100.0", "100.0")
    assert lines["random"] == ("33.3", "100.0")
    assert lines["published: anomaly traversal"] == ("57.1", "57.1")
    assert set(report.figures["petshop"][0]["services"]) <= {"Site", "Shop", "Table"}
    assert len(report.notes) == 3


@pytest.mark.parametrize("option", ["--who-and-when", "--petshop"])
def test_a_directory_without_the_files_is_one_error(option, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([option, str(tmp_path)])
    assert ended.value.code == 2
    assert f"error: {tmp_path} has no " in capsys.readouterr().err


def test_a_file_of_another_form_is_one_error(who_and_when, capsys):
    (who_and_when / "Who&When" / "Hand-Crafted" / "2.json").write_text('{"history": []}')
    with pytest.raises(SystemExit) as ended:
        main(["--who-and-when", str(who_and_when)])
    assert ended.value.code == 2
    assert "2.json is no conversation of Who&When" in capsys.readouterr().err
