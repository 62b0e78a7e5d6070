"""Help, usage errors, unexpected errors: what every command shares."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from typing import Annotated, Literal

import click
import orjson
import pytest
from click.testing import CliRunner
from support.commands import COMMANDS

import Agent
from Agent.cli import main as entry
from Agent.cli import parameters
from Agent.cli.main import SECTIONS, SectionedGroup
from Agent.errors import RunNotFound, TargetNotGiven

ENTRIES = [each for _, entries in SECTIONS for each in entries]
NAMES = [each.name for each in ENTRIES]
WITHOUT_JSON = {"mcp", "run"}  # what they print is a protocol's, and the program's
HEAVY = (
    "rich",
    "duckdb",
    "asyncio",
    "jinja2",
    "watchdog",
    "sqlite3",
    "orjson",
    "Agent.analysis",
    "Agent.replay",
    "Agent.demo",
)


def test_help_shows_every_command_in_its_section_with_the_first_sentence_of_its_own_help(run):
    page = run("--help").stdout
    context = click.Context(entry.cli)
    for title, entries in SECTIONS:
        assert f"{title}:" in page
        for each in entries:
            assert re.search(rf"^  {each.name} +{re.escape(each.summary)}$", page, re.MULTILINE)
            command = SectionedGroup().get_command(context, each.name)
            assert command is not None
            assert command.help is not None
            assert command.help.strip().splitlines()[0] == each.summary


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_has_an_example_and_fits_the_page(run, name):
    done = run(name, "--help", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
    assert f"agent-trace {name}" in done.stdout
    assert ("--json" in done.stdout) is (name not in WITHOUT_JSON)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def every_command(group: click.Group, context: click.Context) -> list[click.Command]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += every_command(command, context) if isinstance(command, click.Group) else [command]
    return found


def test_each_option_says_what_it_does_and_each_command_has_an_example():
    commands = every_command(SectionedGroup(), click.Context(entry.cli))
    assert len(commands) > len(NAMES)
    silent = [
        (command.name, option.opts)
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []
    assert [command.name for command in commands if "agent-trace" not in (command.epilog or "")] == []
    plain = {
        command.name for command in commands if not any("--json" in option.opts for option in command.params)
    }
    assert plain == WITHOUT_JSON


def test_a_number_of_any_size_is_a_count_that_python_can_count_to():
    """`-n 99999999999999999999999` is more than there is, as any limit may be."""
    counts = [
        (command.name, option)
        for command in every_command(SectionedGroup(), click.Context(entry.cli))
        for option in command.params
        if isinstance(option.type, click.IntRange) and option.type.max is None
    ]
    assert len(counts) > 10
    unbounded = [
        (name, option.opts)
        for name, option in counts
        if option.type.convert("9" * 23, option, click.Context(entry.cli)) + 1 > sys.maxsize
    ]
    assert unbounded == []


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "-5"])
def test_an_option_in_seconds_takes_finite_numbers_from_zero_on(text):
    context = click.Context(entry.cli)
    options = [
        (command.name, option)
        for command in every_command(SectionedGroup(), context)
        for option in command.params
        if isinstance(option.type, click.types.FloatParamType)
    ]
    assert {("ship", "patience_s"), ("control", "wait")} <= {(name, each.name) for name, each in options}
    for name, option in options:
        with pytest.raises(click.BadParameter):
            print(name, option.opts, option.type.convert(text, option, context))


@pytest.mark.parametrize("command", [["sessions"], ["runs"], ["prune", "--keep-sessions", "1"]])
def test_a_root_that_exists_and_is_no_directory_is_refused(command, run, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing")
    os.mkfifo(tmp_path / "pipe")
    for root in ("file", "loop", "nowhere", "pipe", "/dev/null"):
        done = run(*command, "--root", root)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), root
        assert "--root" in done.stderr and root in done.stderr
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for root in ("link", "not_there_yet"):
        assert run(*command, "--root", root).returncode == 0, root


@pytest.mark.first_case
@pytest.mark.parametrize(
    "arguments",
    [
        ["journey", "creator_001"],
        ["sql", "SELECT 1"],
        ["runs"],
        ["tail"],
        ["journey", "creator_001", "--first"],
    ],
)
def test_a_limit_of_any_size_is_answered_like_one_that_is_never_reached(arguments, run, recorded):
    limit = [] if arguments[-1] == "--first" else ["-n"]
    wide, wider = (
        run(*arguments, *limit, number, "--root", str(recorded.root)) for number in ("100000", "9" * 23)
    )
    assert (wider.returncode, wider.stdout) == (wide.returncode, wide.stdout)
    assert wider.returncode == 0


def test_a_command_is_made_of_signature_and_docstring():
    @parameters.command()
    def act(
        *,
        place: Annotated[str, "PLACE"],
        often: Annotated[int, "--often -o N"] = 3,
        how: Literal["fast", "slow"] | None,
        names: tuple[str, ...],
        quiet_now: bool,
    ) -> None:
        """Act.

        Args:
            often: How
                often.
            quiet_now: Say nothing.

        Examples:
            agent-trace act here
        """
        click.echo(f"{place} {often} {how} {names} {quiet_now}")

    made = {param.name: param for param in act.params}
    assert (act.help, made["often"].help, made["quiet_now"].opts) == ("Act.", "How often.", ["--quiet-now"])
    assert "agent-trace act here" in act.epilog
    asked = ["here", "-o", "4", "--how", "slow", "--names", "a", "--names", "b", "--quiet-now"]
    assert CliRunner().invoke(act, asked).output == "here 4 slow ('a', 'b') True\n"
    assert CliRunner().invoke(act, ["here"]).output == "here 3 None () False\n"
    assert CliRunner().invoke(act, ["here", "--how", "none"]).exit_code == 2


def test_an_option_of_commands_before_the_command_is_told_its_place(run):
    done = run("--root", "elsewhere", "sessions")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "agent-trace: --root comes after the command: agent-trace COMMAND --root\n"


def test_versions_are_those_that_are_installed(run):
    done = run("version", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["agent-trace"]) == (0, Agent.__version__)
    assert found["python"] == platform.python_version()
    assert found["orjson"] == orjson.__version__


def outputs():
    """Every option and argument that names a file to write, after its command."""
    for name, each in COMMANDS.items():
        for option in each.params:
            if option.type is parameters.OUTPUT:
                flag = option.opts[-1] if isinstance(option, click.Option) else None
                yield [*name.split(), *(["last"] if flag is None else [flag])]


@pytest.mark.parametrize("words", [*outputs()], ids=" ".join)
def test_a_file_to_write_needs_a_name_and_a_directory_that_is_there(run, tmp_path, words):
    done = run(*words, "-")
    assert done.returncode == 2 and "'-' is not supported; name a file" in done.stderr
    done = run(*words, "new/x")
    assert (done.returncode, done.stderr) == (
        3,
        "agent-trace: there is no such directory (new); create it: mkdir -p new\n",
    )
    assert not [*tmp_path.iterdir()]


def test_two_forms_of_one_answer_exclude_each_other(run):
    for words in (
        "sql q --csv --json",
        "sql q --csv --table",
        "debug text --markdown --json",
        "causes id --format svg --json",
        "journey ann --tree --summary",
        "journey ann --gaps --all-sessions --tree",
        "state ann --why a --plot b",
        "runs last --steps --tools",
        "runs last --models --export x.zip",
        "fork last --step 1 --sweep --latest",
    ):
        done = run(*words.split())
        assert done.returncode == 2 and "exclude each other; give one" in done.stderr, words


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"]])
def test_help_loads_nothing_heavy(arguments):
    probe = (
        "import sys, contextlib, io\n"
        "from Agent.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    main({arguments!r})\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = done.stdout.split()
    assert "click" in loaded
    wrong = [
        name for name in loaded if name in COMMAND_MODULES or name.split(".")[0] in HEAVY or name in HEAVY
    ]
    assert [name for name in wrong if name not in loaded_by_the_package()] == []


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["config", "show"], "Agent.record.emit.pipeline"),
        (["tail", "-n", "1"], "Agent.analysis.query.engine"),
    ],
)
def test_a_command_that_neither_records_nor_queries_loads_no_part_for_it(arguments, spared, tmp_path):
    environment = {**os.environ, "AGENT_TRACE_ROOT": str(tmp_path)}
    record = "import Agent; Agent.AgentLogger('a').info('ready')"
    subprocess.run([sys.executable, "-c", record], timeout=60, check=True, env=environment)
    probe = (
        "import sys\n"
        "from Agent.cli.main import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print({spared!r} in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "False"


COMMAND_MODULES = {each.target.partition(":")[0] for each in ENTRIES}


def loaded_by_the_package() -> set[str]:
    """What `import Agent` itself needs; another test holds that down."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, Agent; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split()) - set(HEAVY[:5])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-command"], "unknown command 'no-such-command'"),
        (["sesions"], "did you mean 'sessions'?"),
        (["--no-such-option"], "--no-such-option"),
        (["journey"], "missing argument 'AGENT'"),
        (["debug", " "], "TEXT is empty"),
        (["tail", "--level", "LOUD"], "--level"),
        (["tail", "-n", "many"], "many"),
        (["demo", "--agents", "0"], "--agents"),
        (
            ["replay", "--keep-going=-1"],
            "-1 is neither an option nor a value that the option before it takes",
        ),
        (["doctor", "a", "b"], "unexpected extra argument"),
        (["prune", "--max-bytes", f"{'9' * 400}GB"], "is not a size"),
        (["prune", "--older-than", f"{'9' * 400}d"], "is not an age"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(run, arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("agent-trace: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert "--help" in done.stderr


def test_no_arguments_show_the_help(run):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("--help").stdout


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RunNotFound("no run 'x'", path="/t", remedy="look again"), 3, "no run 'x' (/t); look again"),
        (TargetNotGiven("no target\n\x1b[31mred"), 4, "no target \\x1b[31mred"),
        (
            PermissionError(13, "Permission denied", "/t/session.json"),
            3,
            "permission denied (/t/session.json); run it as a user who may do that",
        ),
        (OSError(28, "No space left on device"), 3, "no space left on device; free disk space"),
    ],
)
def test_an_error_of_the_rooms_below_is_one_line_and_its_exit_code(monkeypatch, capsys, error, code, line):
    monkeypatch.setattr(entry, "cli", raising(error))
    assert entry.main([]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"agent-trace: {line}\n")


def test_an_interrupt_is_130_and_silent(monkeypatch, capsys):
    monkeypatch.setattr(entry, "cli", raising(KeyboardInterrupt()))
    assert entry.main([]) == 130
    assert capsys.readouterr().err.strip() == ""


def test_an_unexpected_error_is_one_line_that_names_the_file_with_the_details(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(entry, "cli", raising(ZeroDivisionError("a detail")))
    assert entry.main([]) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "this is a bug in Agent Trace (ZeroDivisionError)" in err
    (file,) = tmp_path.iterdir()
    assert str(file) in err
    assert "a detail" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_debug_shows_the_traceback_instead(monkeypatch, capsys):
    monkeypatch.setattr(entry, "cli", raising(ZeroDivisionError("a detail")))
    assert entry._report_bug(ZeroDivisionError("a detail"), show=True) == 70
    assert "ZeroDivisionError: a detail" in capsys.readouterr().err


def test_a_command_that_returns_a_code_ends_with_it(monkeypatch):
    @click.command()
    def negative() -> int:
        return 1

    monkeypatch.setattr(entry, "cli", negative)
    assert entry.main([]) == 1


@pytest.mark.process
def test_a_closed_pipe_ends_quietly(recorded):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "Agent", "journey", "creator_001", "--root", str(recorded.root)],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.integration
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "JSON"])
def test_a_closed_pipe_leaves_a_negative_answer_negative(recorded, options):
    command = [sys.executable, "-m", "Agent", "debug", "xyzzy plugh", *options]
    command += ["--root", str(recorded.root)]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        for out in (subprocess.DEVNULL, gone):
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (1, ""), out


STREAMS = {
    "stdout closed": (">&-", False),
    "stderr closed": ("2>&-", False),
    "all closed": ("<&- >&- 2>&-", False),
    "stderr full": ("2>/dev/full", False),
    "stdout full": (">/dev/full", True),
    "both full": (">/dev/full 2>/dev/full", True),
}
"""How a command is called, and whether its answer cannot be written."""

ANSWERS = {
    "sessions": 0,
    "runs": 0,  # a remark and no answer
    "config": 0,  # the help of a group
    "--help": 0,
    "version": 0,
    "journey nobody": 3,
    "no-such-command": 2,
}


FIRST = ("sessions", "--help", "journey nobody")
"""An answer, a help and an error; the others are further cases."""


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    "commands",
    [FIRST, pytest.param(ANSWERS.keys() - FIRST, marks=pytest.mark.further)],
    ids=["first", "others"],
)
@pytest.mark.parametrize("streams", STREAMS)
def test_whatever_standard_streams_are_closed_or_full_the_exit_code_is_that_of_the_answer(
    streams, commands, recorded, monkeypatch, tmp_path
):
    """Nor does a file that is opened take the descriptor of a closed one, and receive what is printed."""
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(recorded.root))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    how, answer_is_lost = STREAMS[streams]
    before = {path: path.read_bytes() for path in recorded.root.rglob("*") if path.is_file()}
    wrong = []
    for command in sorted(commands):
        code = ANSWERS[command]
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m Agent {command} {how}"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        allowed = {code} | ({entry.EXIT_UNREADABLE} if answer_is_lost else set())
        if done.returncode not in allowed or "Traceback" in done.stderr or done.stderr.count("\n") > 1:
            wrong.append((command, done.returncode, done.stderr))
    assert wrong == []
    assert not list(tmp_path.glob("agent-trace-bug-*"))
    assert before == {path: path.read_bytes() for path in recorded.root.rglob("*") if path.is_file()}


def test_an_unexpected_error_is_shown_where_no_file_can_be_written(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    monkeypatch.setattr(entry, "cli", raising(LookupError("inner")))
    assert entry.main([]) == 70
    assert "inner" in capsys.readouterr().err
