"""docs/INCIDENT.md: its commands, one after the other, over the record that its example makes."""

import shlex

import pytest
from support.markdown import blocks_of
from support.processes import REPOSITORY, child_environment, run_python

pytestmark = pytest.mark.integration

EXAMPLES = REPOSITORY / "examples"
DIFFERS = 1
EXPECTED = {
    "replay": (0, "IDENTICAL"),
    "debug": (1, "on average 8 search_docs per tick from tick 6 on (1 before)"),  # hints only
    "debug --test": (0, "dropped before answer of researcher of tick 6: 40 with it, 5 without"),
    "play": (0, "answer"),
    "state": (0, '"ne"'),
    "fork": (1, "ran 6 of 6 recorded actions"),
    "fork --sweep": (0, """--modify '{"patience":4}' --live search_docs"""),
    "diff": (DIFFERS, "tick 6"),
    "golden add --test": (0, "test_golden_looping_researcher.py"),
    "golden check": (0, "1 of 1 golden trace passed"),
}
"""Of each command of the page its exit code and what it says."""


def name_of(words):
    options = [word for word in words if word in {"--test", "--sweep"}]
    return " ".join([*(words[:2] if words[0] == "golden" else words[:1]), *options])


def test_the_page_of_an_incident_can_be_followed(tmp_path, trace_root):
    path = f"{child_environment()['PYTHONPATH']}:{EXAMPLES}"
    recorded = run_python(str(EXAMPLES / "incident_response.py"), "record", cwd=tmp_path)
    session_id = recorded.stdout.removeprefix("1. located: ").partition("/")[0]
    followed = []
    for block in blocks_of((REPOSITORY / "docs" / "INCIDENT.md").read_text(encoding="utf-8")):
        for line in block.source.splitlines() if block.language == "bash" else ():
            words = shlex.split(line, comments=True)
            if words[:1] != ["agent-trace"]:
                continue
            words = [word.replace("20261120_103045", session_id) for word in words[1:]]
            more = ["--seeds", "1"] if words[0] == "debug" and "--test" in words else []
            done = run_python("-m", "Agent", *words, *more, cwd=tmp_path, PYTHONPATH=path)
            code, told = EXPECTED[name_of(words)]
            assert (done.returncode, told in " ".join(done.stdout.split())) == (code, True), (line, done)
            followed.append(name_of(words))
    assert sorted(followed) == sorted(EXPECTED)
