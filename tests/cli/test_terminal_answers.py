"""Whatever a recording says, no command's answer holds a character that a terminal obeys: all of them, in every place."""

import json
import sys

import pytest
from support.commands import ASKED, COMMANDS, EVIL, words_of

from Agent import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    shutdown_logging,
    trace_agent_action,
)
from Agent.cli import render
from Agent.cli.main import EXIT_BUG
from Agent.flight import recorder

pytestmark = pytest.mark.usefixtures("one_user")


class Evil:
    def __init__(self):
        self.agent_id = self.agent_role = EVIL
        self.memory = {EVIL: [EVIL]}

    def trace_state(self):
        return {EVIL: self.memory}

    @trace_agent_action(EVIL)
    def act(self, **given):
        self.memory[EVIL].append(EVIL)
        raise ValueError(EVIL)


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A trace root in which every text is made of such characters, with the ids of an event and of a run."""
    from Agent import setup_logging

    root = tmp_path_factory.mktemp("evil") / "trace"
    setup_logging(trace_root=root)
    agent = AgentLogger(EVIL, EVIL)
    recorder.start_run(EVIL, run_id="evil-run")
    recorder.start_step("step", EVIL)
    recorder.save_artifact("out/evil.json", {EVIL: EVIL})
    recorder.finish_step("step", EVIL, {EVIL: EVIL})
    recorder.finish_run()
    event = agent.log_action(EVIL, {EVIL: EVIL})
    agent.error(EVIL, extra={EVIL: EVIL})
    agent.send(EVIL, EVIL)
    LearningLogger(EVIL, EVIL).log_reward(EVIL, 1.0)
    LearningLogger(EVIL, EVIL).log_policy_update(EVIL, {EVIL: 1})
    InteractionLogger().log_interaction(EVIL, EVIL, EVIL)
    PerformanceLogger().log_metric(EVIL, 1.0, EVIL, {EVIL: EVIL})
    with pytest.raises(ValueError, match="e"):
        Evil().act(given=EVIL)
    shutdown_logging()
    return root, event


def test_every_command_is_asked():
    missing, gone = COMMANDS.keys() - ASKED.keys(), ASKED.keys() - COMMANDS.keys()
    assert not missing and not gone, f"ASKED in tests/support/commands.py lacks {missing}, and has {gone}"


@pytest.mark.further
@pytest.mark.parametrize("name", [name for name, asked in ASKED.items() if asked.evil is not None])
def test_no_answer_drives_a_terminal(name, evil, run, monkeypatch):
    root, event = evil
    takes_json = any(option.name == "as_json" for option in COMMANDS[name].params)
    for asked in ASKED[name].evil:
        words = words_of(asked, EVENT=event, RUN="evil-run")
        for more, is_terminal in (([], True), (["--json"], True), (["--json"], False)):
            if (more and not takes_json) or ("--artifact" in words and not is_terminal):
                continue  # in a pipe, the bytes of an artifact are those that the user saved
            monkeypatch.setattr(sys.stdout, "isatty", lambda answer=is_terminal: answer, raising=False)
            done = run(*name.split(), *words, *more, AGENT_TRACE_ROOT=str(root), NO_COLOR="1")
            assert done.returncode != EXIT_BUG and "option" not in done.stderr, done.stderr
            for text in (done.stdout, done.stderr):
                shown = set(text) - {"\n"}
                assert not {char for char in shown if not char.isprintable()}, (asked, more, text)
            if more and done.stdout:
                for document in (
                    done.stdout.splitlines()
                    if name == "tail" or (name == "journey" and "--tree" not in words)
                    else [done.stdout]
                ):
                    json.loads(document)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["debug", "creator_017 stopped publishing"], "looking for causes"),
        (["replay", "last/creator_017"], "replaying"),
        (["analyze", "--html", "page.html"], "drawing the report"),
    ],
)
def test_long_work_says_in_a_terminal_what_is_done(asked, said, run, recorded, monkeypatch):
    monkeypatch.setattr(render, "PATIENCE_S", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    done = run(*asked, AGENT_TRACE_ROOT=str(recorded.root), TERM="xterm-256color")
    assert done.returncode in (0, 1) and said in done.stderr, done.stderr
    assert run(*asked, "--json", AGENT_TRACE_ROOT=str(recorded.root), TERM="dumb").stdout.startswith("{")
