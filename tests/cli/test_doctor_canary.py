"""`doctor --canary`: no planted secret is in any file, and one that is would be found and named."""

from __future__ import annotations

import base64
import json

import pytest

from Agent.testing import canary
from Agent.testing.canary import ARGV, ENTRANCES, plants, secret_arguments

SEED = "a seed"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """What it says where everything is as it comes, and what it left: in its place, in its temporary one."""
    place, temporary = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("temporary")
    # a level that leaves events out proves nothing about redaction
    levels = {"AGENT_TRACE_LEVEL": "CRITICAL", "AGENT_TRACE_LEVELS": "agents=OFF"}
    answer = _run(place, TMPDIR=str(temporary), **levels)
    return *answer, [*place.iterdir(), *temporary.iterdir()]


@pytest.fixture(scope="module")
def leaking(tmp_path_factory):
    """The same with redaction switched off."""
    return _run(tmp_path_factory.mktemp("leaking"), AGENT_TRACE_REDACT="off")


def _run(place, *arguments, **environment):
    from support.processes import run_python

    done = run_python("-m", "Agent", "doctor", "--canary", *arguments, "--json", cwd=place, **environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.integration
def test_no_secret_reaches_a_file_through_any_entrance(clean):
    code, answer, _ = clean
    wrong = [entrance for entrance in answer["entrances"] if entrance["state"] != "not found"]
    assert (code, answer["ok"], wrong) == (0, True, [])
    names = {(entrance["name"], entrance["durability"]) for entrance in answer["entrances"]}
    assert names == {(name, durability) for name in (*ENTRANCES, ARGV) for durability in ("kernel", "queued")}
    assert answer["files"] > 20 and answer["bytes"] > 100_000


@pytest.mark.integration
def test_without_redaction_every_entrance_leaks_every_secret_and_the_exit_code_is_1(leaking):
    code, answer = leaking
    assert (code, answer["ok"]) == (1, False)
    for entrance in answer["entrances"]:
        # what is no event's id is left out of causes, and the environment is nobody's to record
        nothing = {"caused_by", "environment"}
        expected = "not found" if entrance["name"] in nothing else "FOUND"
        assert entrance["state"] == expected, entrance["name"]
        if expected == "FOUND":
            shapes = {leak["shape"] for leak in entrance["leaks"]}
            # a name of a file holds a hash in the place of what no name may hold
            hidden = 2 if entrance["name"] == "names of artifacts" else 0
            assert len(shapes) == entrance["planted"] - hidden, entrance["name"]


@pytest.mark.integration
def test_a_leak_names_its_file_in_the_record_and_in_the_mirror(leaking):
    _, answer = leaking
    found = {entrance["name"]: entrance for entrance in answer["entrances"]}
    files = {leak["file"].split("/", 1)[-1] for leak in found["log_action"]["leaks"]}
    assert {"agents/actor.log", "agents.log"} <= files
    assert "session.json" in {leak["file"].split("/")[-1] for leak in found[ARGV]["leaks"]}


@pytest.mark.integration
def test_the_table_names_entrance_shape_and_file_and_never_the_secret(run, monkeypatch):
    monkeypatch.setattr(canary, "DURABILITIES", ("kernel",))
    monkeypatch.setattr(canary.secrets, "token_hex", lambda _: SEED)
    done = run("doctor", "--canary", AGENT_TRACE_REDACT="off")
    assert done.returncode == 1
    assert "FOUND          message of a logger" in done.stdout
    assert "GitHub token in agents/agents.log and 1 other file" in done.stdout
    assert f"{len(ENTRANCES) - 1} entrances failed" in done.stdout
    printed = [
        plant.shape for name in ENTRANCES for plant in plants(SEED, name) if plant.secret in done.stdout
    ]
    assert printed == []


@pytest.mark.integration
def test_it_leaves_nothing_behind_and_joins_no_session(clean):
    *_, left = clean
    assert left == []


def test_a_search_through_nothing_finds_that_nothing_was_recorded():
    found = canary.search({"empty.log": b""}, "kernel", SEED)
    assert {entrance.state for entrance in found} == {"NOT RECORDED"}
    assert all(entrance.is_wrong for entrance in found)


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_secret_inside_base64_is_found(offset):
    plant = plants(SEED, "log_action")[0]
    data = base64.b64encode(b"x" * offset + plant.secret.encode() + b"and more behind it")
    contents = {"file": data, "markers": b" ".join(p.marker.encode() for p in plants(SEED, "log_action"))}
    (entrance,) = [found for found in canary.search(contents, "kernel", SEED) if found.name == "log_action"]
    assert [(leak.shape, leak.file) for leak in entrance.leaks] == [(plant.shape, "file")]


def test_a_library_that_is_not_installed_is_said_and_spoils_nothing():
    (entrance,) = [
        found
        for found in canary.search({}, "kernel", SEED, ["structlog bridge"])
        if found.name == "structlog bridge"
    ]
    assert (entrance.state, entrance.is_wrong) == ("not installed", False)


@pytest.mark.integration
def test_a_program_that_fails_is_an_error_and_not_an_answer(run, monkeypatch):
    monkeypatch.setattr(canary, "DURABILITIES", ("no such durability",))
    done = run("doctor", "--canary")
    assert done.returncode == 70 and "no such durability" in done.stderr


def test_secrets_are_new_for_every_seed_and_the_same_for_one():
    assert plants("a", "x") == plants("a", "x")
    first, second = ({plant.secret for plant in plants(seed, "x")} for seed in ("a", "b"))
    assert not first & second
    own = [plant for name in (*ENTRANCES, ARGV) for plant in plants(SEED, name)]
    assert len({plant.secret for plant in own}) == len({plant.marker for plant in own}) == len(own)


def test_a_command_line_carries_every_secret():
    words = " ".join(secret_arguments(SEED))
    assert all(plant.secret in words and plant.marker in words for plant in plants(SEED, ARGV))
