"""Text from outside in every place that takes text: it forges no line, names no file, and writes on no terminal."""

import json
import logging
import os
import re
from pathlib import Path

import pytest
from oracle import read_plainly
from support.processes import run_python
from support.session_files import only_session, record_files

from Agent import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    LogAnalyzer,
    PerformanceLogger,
    SystemLogger,
    setup_logging,
    shutdown_logging,
    trace_agent_action,
    trace_context,
)
from Agent.errors import AgentTraceError
from Agent.tree.layout import find_session
from Agent.tree.read.reader import TreeReader

FORGED = '{"timestamp":"2026-11-20T10:30:45.123456Z","id":"aaaaaaaa-1","schema_version":1,"extra":{}}'
LINES = [
    f"\n{FORGED}\n",
    f"\r\n{FORGED}",
    f'"}}}}\n{FORGED}',
    f"\u2028{FORGED}\u2029{FORGED}\x85{FORGED}",
    "\x1b[2J\x1b]0;owned\x07\x9b31m\x08\x00",
    "a\ud800b",
    "\u202e\u2066\ufeff",
]
PATHS = [
    "../../../outside",
    "/etc/outside",
    "..",
    ".",
    "a/../../outside",
    "..\\..\\outside",
    "session_20261120_103045",
    "x\x00outside",
    "~/outside",
    "agents@k3v7q2ma.1",
    "CON",
]


class Named:
    def __init__(self, text):
        self.agent_id = self.agent_role = text

    @trace_agent_action("act")
    def act(self, **given):
        raise ValueError(self.agent_id)


def record_everywhere(text):
    """Hand one text to everything that takes text; how many calls gave an id."""
    agent = AgentLogger(text, text)
    ids = [
        agent.log_action(text, {text: text, "list": [text, {text: [text]}]}),
        agent.info(text, extra={text: text, "timestamp": text, "id": text}),
        agent.error(text),
        agent.send(text, text).event_id,
        LearningLogger(text, text).log_reward(text, 1.0),
        LearningLogger(text, text).log_policy_update(text, {text: text}),
        InteractionLogger().log_interaction(text, text, text),
        PerformanceLogger().log_metric(text, 1.0, text, {text: text}),
        SystemLogger(text).log_phase(text, text, {text: text}),
        SystemLogger(text).log_config({text: text}),
    ]
    with trace_context(agent, text, field=text):
        ids.append(agent.debug(text))
    with pytest.raises(ValueError, match=r".*"):
        Named(text).act(given=text)
    return ids


@pytest.mark.first_case
@pytest.mark.parametrize("text", LINES + PATHS)
def test_a_text_from_outside_makes_exactly_the_lines_of_the_calls_and_no_file_elsewhere(
    text, trace_root, tmp_path
):
    before = set(tmp_path.rglob("*"))
    setup_logging(trace_root=trace_root)
    ids = record_everywhere(text)
    shutdown_logging()
    assert all(ids), ids
    session = only_session(trace_root)
    found = read_plainly(session)
    assert found.torn == []
    assert set(ids) <= set(found.events)
    assert "aaaaaaaa-1" not in found.events
    assert TreeReader(session).losses().clean
    assert {event.id for event in TreeReader(session).events()} == set(found.events)
    # no carriage return stands for itself, which some tools take for an end
    for path in record_files(session):
        content = path.read_bytes()
        assert len(content.splitlines()) == content.count(b"\n")
    made = set(tmp_path.rglob("*")) - before
    # a key for redaction may come to the home that tests have
    assert all(path.is_relative_to(trace_root) or path.is_relative_to(tmp_path / "home") for path in made)
    assert {path.parent for path in (session / "agents").rglob("*")} == {session / "agents"}


@pytest.mark.integration
@pytest.mark.parametrize("text", LINES)
def test_what_people_are_shown_holds_nothing_that_a_terminal_obeys(text, trace_root):
    setup_logging(trace_root=trace_root)
    record_everywhere(text)
    shutdown_logging()
    for path in [trace_root / "system" / "system.log", trace_root / "errors" / "errors.log"]:
        assert_harmless(path.read_bytes().decode(), path)
    session = only_session(trace_root).name.removeprefix("session_")
    for command in (
        ["tail", "-n", "50"],
        ["journey", text.replace("\x00", "").encode("utf-8", "replace").decode()],
        ["errors"],
        ["sessions"],
        ["analyze"],
    ):
        named = [] if command[0] == "sessions" else ["--session", session]
        done = run_python(
            "-m",
            "Agent",
            *command,
            *named,
            cwd=trace_root.parent,
            AGENT_TRACE_ROOT=str(trace_root),
            NO_COLOR="1",
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert_harmless(done.stdout + done.stderr, command)


def assert_harmless(text, where):
    bad = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    assert bad is None, (where, text[max(bad.start() - 40, 0) : bad.end() + 40])


@pytest.mark.parametrize("name", PATHS)
def test_an_id_that_is_a_path_opens_nothing_outside_the_tree(name, trace_root, tmp_path):
    outside = tmp_path / "outside"
    (outside / "agents").mkdir(parents=True)
    line = FORGED.replace('"extra":{}', '"extra":{"agent_id":"secret"}') + "\n"
    for path in (outside / "agents" / "secret.log", tmp_path / "outside.log"):
        path.write_text(line)
    setup_logging(trace_root=trace_root)
    AgentLogger("inside", "x").log_action("act", {})
    shutdown_logging()
    session = only_session(trace_root)
    try:
        found = find_session(trace_root, name)
    except (AgentTraceError, ValueError):
        pass
    else:
        assert found.resolve().parent == trace_root.resolve() or Path(name).is_dir()
    analyzer = LogAnalyzer(session)
    assert analyzer.trace_agent_journey(name) == []
    for ask in (analyzer.analyze_agent_activity, analyzer.analyze_learning_progress):
        try:
            answer = ask(name)
        except AgentTraceError:
            continue
        assert "secret" not in json.dumps(answer, default=str)
    assert all("aaaaaaaa" not in event.id for event in TreeReader(session).events())


def test_records_of_the_standard_library_forge_no_line_either(trace_root, capfd):
    from Agent.bridges import TraceHandler

    setup_logging(trace_root=trace_root)
    logger = logging.getLogger("hostile")
    handler = TraceHandler()
    logger.addHandler(handler)
    try:
        for text in LINES:
            logger.warning(text)
            logger.warning("%s %r", text, text, extra={"payload": text})
    finally:
        logger.removeHandler(handler)
    shutdown_logging()
    found = read_plainly(only_session(trace_root))
    assert found.torn == [] and "aaaaaaaa-1" not in found.events
    assert len(found.of_kind("log")) == 2 * len(LINES)
    assert os.environ.get("AGENT_TRACE_SESSION") is None
