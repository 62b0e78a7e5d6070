"""Every command in a terminal of 80 columns: nothing is wider, and `--json` is read as JSON from a pipe."""

import json
import re
import sys

import click
import pytest
from support.commands import AGENT, ASKED, COMMANDS, LONG_NAME, READING, words_of

from Agent import AgentLogger, setup_logging, shutdown_logging, trace_agent_action
from Agent.cli.main import EXIT_BUG, cli
from Agent.demo.platform import Settings, record_session
from Agent.flight import recorder
from Agent.render import layout
from Agent.render.blocks import Curve, Section
from Agent.render.formats import fewer
from Agent.render.layout import sections_text

COLUMNS = 80
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Writer:
    def __init__(self):
        self.agent_id = LONG_NAME
        self.agent_role = "role-" * 12
        self.a_field_with_a_name_that_explains_what_it_holds_and_why_and_since_when = 0

    @trace_agent_action("write_an_article_about_the_weather_of_the_coming_week_for_the_morning_paper")
    def write(self, text):
        self.a_field_with_a_name_that_explains_what_it_holds_and_why_and_since_when += 1
        if len(text) > 200:
            raise ValueError(f"an article may not be longer than 200 characters: {text}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with two sessions under `trace`: of the demo, and one whose names are long."""
    directory = tmp_path_factory.mktemp("desk")
    root = directory / "trace"
    setup_logging(trace_root=root)
    recorder.start_run(
        "an experiment with a long name", run_id="a-long-run", labels={"purpose": "words " * 30}
    )
    for step in ("one", "a-step-whose-name-is-longer-than-most-others-in-a-whole-newspaper"):
        recorder.start_step(step, "write the article of the day, with all its pictures")
        recorder.save_artifact(f"out/{step}/{'y' * 30}.json", {"text": "words " * 30})
        recorder.finish_step(step)
    writer = Writer()
    for words in (1, 2, 50):
        try:
            writer.write("word " * words)
        except ValueError:
            AgentLogger(LONG_NAME, "role").warning("it failed: " + "again " * 40)
    recorder.finish_run()
    shutdown_logging()
    long = next(root.glob("session_*")).name.removeprefix("session_")
    return directory, record_session(root, Settings(agents=20, ticks=48, seed=7)).session, long


def too_wide(text):
    """The lines that do not fit, but for those that are one word without a blank."""
    plain = [STYLE.sub("", line).rpartition("\r")[2] for line in text.splitlines()]
    return [line for line in plain if len(line) > COLUMNS and max(map(len, line.split())) < COLUMNS - 12]


def test_a_narrow_table_lacks_its_spare_columns_and_names_them():
    rows = [("an-id-of-a-run", "agent_1", 12, "x" * 30)]
    names = ("RUN", "AGENT", "STEPS", "LABELS")
    assert layout.table(rows, {2}, 70, names=names, spare=[3, 2])[1].endswith("x" * 30)
    narrow = layout.table(rows, {2}, 34, names=names, spare=[3, 2], uncut=True)
    assert narrow[1].split() == ["an-id-of-a-run", "agent_1", "12"] and narrow[2] == "too narrow for LABELS"
    assert layout.table(rows, {2}, 26, names=names, spare=[3, 2])[2] == "too narrow for STEPS, LAB…"


@pytest.mark.integration  # half a minute
def test_every_answer_fits(place, run, monkeypatch):
    directory, session, long = place
    monkeypatch.chdir(directory)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("AGENT_TRACE_ROOT", "trace")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    lines = (session / "agents" / f"{AGENT}.log").read_text().splitlines()
    event = next(each["id"] for each in map(json.loads, lines) if each.get("tick") == 16)
    wide = {}
    for name, row in ASKED.items():
        takes_json = any(option.name == "as_json" for option in COMMANDS[name].params)
        for question in row.narrow or ():
            asked = [*name.split(), *words_of(question, EVENT=event, LONG=long)]
            with monkeypatch.context() as terminal:
                for stream in (sys.stdout, sys.stderr):
                    terminal.setattr(stream, "isatty", lambda: True, raising=False)
                done = run(*asked, HOME=str(directory))
            assert done.returncode != EXIT_BUG, (asked, done.stderr)
            wide[tuple(asked)] = too_wide(done.stdout + done.stderr)
            if takes_json and name in READING:
                done = run(*asked, "--json", HOME=str(directory))
                assert "\x1b" not in done.stdout + done.stderr, asked
                is_lines = name == "tail" or (
                    name == "journey" and not {"--tree", "--all-sessions"} & {*asked}
                )
                for document in done.stdout.splitlines() if is_lines else [done.stdout]:
                    assert json.loads(document) is not None, asked
    assert not {asked: lines for asked, lines in wide.items() if lines}


@pytest.mark.further
def test_causes_keep_the_ids_for_the_next_command(recorded, run, monkeypatch):
    begin = ("journey", AGENT, recorded.session, "--since", "tick:16", "--first", "1", "--json")
    asked = ("causes", json.loads(run(*begin).stdout)["id"], recorded.session, "--effects")
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    with monkeypatch.context() as terminal:
        terminal.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        shown = STYLE.sub("", run(*asked).stdout)
    assert not too_wide(shown) and "…" in shown
    ids = re.compile(r"  \[\S+\]$", re.MULTILINE)
    assert ids.findall(shown) == ids.findall(run(*asked).stdout) != []


@pytest.mark.further
@pytest.mark.process
def test_curves_fit_a_terminal_of_40_columns(tmp_path, run, monkeypatch):
    record_session(tmp_path / "trace", Settings(agents=20, ticks=48, seed=7))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    drawn = 0
    state = ["state", f"last/{AGENT}", "--plot", "followers"]
    for asked in (["analyze"], ["learning"], ["performance"], state):
        with monkeypatch.context() as terminal:
            terminal.setattr(sys.stdout, "isatty", lambda: True, raising=False)
            lines = STYLE.sub("", run(*asked, AGENT_TRACE_ROOT="trace").stdout).splitlines()
        curves = [line for line in lines if re.search("[▁-█]", line)]
        assert not [line for line in curves if len(line) > 40], asked
        drawn += len(curves)
    assert drawn > 4


def test_a_curve_of_more_values_than_columns_shows_the_means_of_adjacent_ones():
    rising = [None, None, *range(98)]
    assert fewer(rising, 5) == [8.5, 27.5, 47.5, 67.5, 87.5]
    assert fewer([None, None, 1.0, 3.0], 2) == [None, 2.0]
    assert fewer([1.0, 2.0], 40) == [1.0, 2.0]
    part = Section("Load", (Curve([float(each) for each in range(100)], [], ("", ""), "rate"),))
    assert len(sections_text([part], 40).splitlines()[-1]) == 40
    assert len(sections_text([part]).splitlines()[-1]) == 102


def test_every_help_has_a_sentence_and_fits(run):
    groups = {name.split()[0]: cli.get_command(click.Context(cli), name.split()[0]) for name in COMMANDS}
    for name, command in ({"": cli} | groups | COMMANDS).items():
        done = run(*name.split(), "--help", COLUMNS=str(COLUMNS))
        assert done.returncode == 0 and not too_wide(done.stdout), (name, too_wide(done.stdout))
        assert done.stdout.startswith(f"Usage: agent-trace {name}".rstrip()), done.stdout
        assert len((command.help or "").partition("\n")[0]) > 15, name


def test_a_word_that_would_fill_the_screen_is_cut_on_a_terminal_and_whole_in_a_pipe():
    name = "\x1b[1m" + "n" * 5000 + "\x1b[0m"
    line = f"agent {name} in session x"
    assert layout.wrapped(line, None) == [line]
    shown = layout.wrapped(line, 80)
    assert len("".join(shown)) < 250 and shown[-1].endswith("in session x")
    assert "…(5,000 characters)\x1b[0m" in "".join(shown)
    whole = "w" * 1000
    assert whole in "".join(layout.wrapped(f"a {whole} b", 80))
