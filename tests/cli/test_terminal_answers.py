"""Whatever a recording says, no command's answer holds a character that a terminal obeys: all of them, in every place."""

import json
import sys
import unicodedata

import click
import pytest

from Agent import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    shutdown_logging,
    trace_agent_action,
)
from Agent.cli import render
from Agent.cli.main import EXIT_BUG, cli
from Agent.flight import recorder

UNSEEN = "".join(
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"}
)
"""Controls, marks that hide or turn text, and ends of lines: those of the Unicode that this Python knows."""
EVIL = f"e{UNSEEN}l"

ASKED = {
    "analyze": [[]],
    "ask": [["last", EVIL], [f"last/{EVIL}", "builtins:vars"]],
    "causes": [["EVENT"], ["EVENT", "--format", "dot"], ["EVENT", "--format", "svg"], ["EVENT", "--effects"]],
    "control": [["last", "status"], ["last", "set", EVIL, f"{EVIL}={EVIL}"], [EVIL, "pause"]],
    "debug": [[EVIL], [EVIL, "--markdown"], [EVIL, "--all"]],
    "demo": None,
    "diff": [["last", "last"], ["last", EVIL]],
    "doctor": [[]],
    "erase": [["--agent", EVIL, "--dry-run"], ["--match", EVIL, "--dry-run"]],
    "errors": [[], ["--tail"]],
    "export bundle": [["last", "x.zip"], [EVIL, "y.zip"]],
    "export csv": [["last", "x.csv"], [EVIL, "x.csv"]],
    "export inspect": [["last", "x.json"], [EVIL, "y.json"]],
    "export otlp": [["last", "--file", "-"], [EVIL, "--file", "-"]],
    "export parquet": [["last", "x.parquet"]],
    "export perfetto": [["last", "x.pftrace"]],
    "fork": [[EVIL, "--step", EVIL]],
    "golden accept": [[EVIL, EVIL]],
    "golden add": [["last", "--name", EVIL]],
    "golden bisect": [[EVIL]],
    "golden check": [[EVIL]],
    "golden list": [[]],
    "golden remove": [[EVIL]],
    "golden shrink": [[EVIL]],
    "golden update": [[EVIL]],
    "import bundle": [[EVIL]],
    "import jsonl": [[EVIL]],
    "import otlp": [[EVIL]],
    "import inspect": [[EVIL]],
    "interactions": [[], ["--content", EVIL]],
    "journey": [[EVIL], [EVIL, "--all"], [EVIL, "--tree"], [EVIL + "x"]],
    "keys add": [["--project", EVIL, "--scope", "query"]],
    "keys content": [[EVIL, "--on"]],
    "keys list": [[]],
    "keys revoke": [[EVIL]],
    "learning": [[], [EVIL]],
    "lnav install": [["--to", "FORMATS"]],
    "lnav show": [[]],
    "mcp": None,
    "merge": [[EVIL, EVIL], ["last", "last"]],
    "performance": [[]],
    "play": [["last"]],
    "prove": [["EVENT"], [EVIL]],
    "provenance": [[EVIL, EVIL], [EVIL, f"/{EVIL}/{EVIL}"]],
    "prune": [["--keep-sessions", "0", "--dry-run"]],
    "recover": [[]],
    "replay": [["last"], [EVIL]],
    "resume": [[EVIL, "--step", EVIL]],
    "run": [[EVIL]],
    "runs": [[], [EVIL], ["RUN"], ["RUN", "--artifacts"], ["RUN", "--artifact", "out/evil.json"]],
    "seal": [[]],
    "serve": None,
    "view": None,
    "sessions": [[]],
    "ship": [["--to", EVIL]],
    "sql": [
        ["SELECT agent_id, message, kind FROM events"],
        ["SELECT agent_id, state FROM action_states"],
        ["SELECT agent_id, message, extra FROM events", "--csv"],
        ["SELECT agent_id, message, extra FROM events", "--json"],
        [f"SELECT '{UNSEEN}' FROM nowhere".replace("\0", "")],
    ],
    "state": [[EVIL], [EVIL, "--why", EVIL], [EVIL, "--plot", EVIL], [EVIL, "--checkpoints"]],
    "tail": [["-n", "100"], ["-n", "5", "-a", EVIL]],
    "verify": [[]],
    "version": [[]],
    "watch": [["agent_id"], [EVIL]],
    "config show": [[]],
    "config path": [[]],
    "config presets": [[], [EVIL]],
}
"""What each command is asked; None for those that show no recording."""


def commands(group, before=()):
    """The names of all commands with their own click commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


COMMANDS = dict(commands(cli))


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
    assert ASKED.keys() == COMMANDS.keys()


@pytest.mark.further
@pytest.mark.parametrize("name", [name for name, asked in ASKED.items() if asked is not None])
def test_no_answer_drives_a_terminal(name, evil, run, monkeypatch):
    root, event = evil
    takes_json = any(option.name == "as_json" for option in COMMANDS[name].params)
    for asked in ASKED[name]:
        words = [{"EVENT": event, "RUN": "evil-run"}.get(word, word) for word in asked]
        for more, is_terminal in (([], True), (["--json"], True), (["--json"], False)):
            if (more and not takes_json) or ("--artifact" in asked and not is_terminal):
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
                    if name == "tail" or (name == "journey" and "--tree" not in asked)
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
