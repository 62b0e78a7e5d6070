"""Files: which are found, which goes over which, and how a wrong one is told."""

import json
import os
import shutil
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import run_python

import Agent
from Agent import AgentLogger, setup_logging
from Agent.config.load import (
    ENVIRONMENT,
    line_of,
    options_from,
    preset_names,
    preset_path,
    project_file,
    project_paths,
    read_file,
    read_settings,
    state_of,
    user_path,
)
from Agent.config.logging_config import effective_settings
from Agent.config.options import SETTABLE, Options
from Agent.errors import ConfigurationError
from Agent.tree.default_root import default_root


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project's directory, of which a directory below is the working one."""
    place = tmp_path / "project"
    (place / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(place / "src" / "deep")
    monkeypatch.delenv("AGENT_TRACE_ROOT")
    return place


@pytest.fixture
def user(project, tmp_path, monkeypatch) -> Path:
    """The user's own file, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    path = tmp_path / "xdg" / "agent-trace" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


def refused(*arguments) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        options_from({})
    assert "\n" not in str(caught.value) and caught.value.remedy
    return caught.value


def test_every_source_goes_over_the_next(project, user):
    """One option each is left to a source by all that are nearer."""
    write(
        project / "agent-trace.toml",
        'preset = "simulation"\nlevel = "ERROR"\nqueue_size = 3\nkeep_sessions = 3',
    )
    write(user, "level = 'CRITICAL'\nqueue_size = 4\nkeep_sessions = 4\nmax_session_bytes = 4")
    variables = {**os.environ, "AGENT_TRACE_LEVEL": "WARNING", "AGENT_TRACE_QUEUE_SIZE": "2"}
    base = Options(
        level="OFF", queue_size=6, buffer_entries=6, segment_size_bytes=8192, console=True, board=False
    )
    found = read_settings({"level": "INFO"}, variables, base)
    told = {name: (setting.value, setting.origin) for name, setting in found.settings.items()}
    assert told["level"] == ("INFO", "argument")
    assert told["queue_size"] == (2, "AGENT_TRACE_QUEUE_SIZE")
    assert told["keep_sessions"] == (3, str(project / "agent-trace.toml"))
    assert told["max_session_bytes"] == (4, str(user))
    assert told["buffer_entries"] == (1000, str(preset_path("simulation")))
    assert told["board"] == (False, "LOGGING_CONFIG")
    assert told["redact"] == (True, "default")
    assert found.preset.value == "simulation"


def test_the_nearest_file_alone_is_read_and_ours_goes_before_pyproject(project):
    write(project / "agent-trace.toml", 'level = "ERROR"\nqueue_size = 5')
    assert options_from({}).level == "ERROR"
    write(project / "src" / "pyproject.toml", '[tool.agent-trace]\nlevel = "WARNING"')
    options = options_from({})
    assert (options.level, options.queue_size) == ("WARNING", 10_000)
    write(project / "src" / "agent-trace.toml", 'level = "INFO"')
    assert options_from({}).level == "INFO"


@pytest.mark.parametrize(
    "text",
    [
        "[project]\nname = 'x'",
        "[project]\nname = 'agent-trace'",
        "this is [ no TOML",
        "# agent-trace\n[tool.ruff]\n",
    ],
)
def test_a_pyproject_that_does_not_mean_us_is_passed_over(project, text):
    write(project / "src" / "pyproject.toml", text)
    write(project / "pyproject.toml", '[tool.agent-trace]\nlevel = "WARNING"')
    assert options_from({}).level == "WARNING"


def test_a_pyproject_that_does_not_mean_us_is_parsed_once_until_it_does(project, monkeypatch):
    parsed = []
    loads = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: parsed.append(text) or loads(text))
    file = project / "src" / "pyproject.toml"
    write(file, "[tool.agent-other]\nlevel = 'ERROR'\n# agent-trace")
    before = file.stat()
    for _ in range(3):
        assert options_from({}).level == Options().level
    assert len(parsed) == 1
    write(file, "[tool.agent-trace]\nlevel = 'ERROR'\n# agent-other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert options_from({}).level == "ERROR"
    write(file, "[tool.agent-other]\nlevel = 'ERROR'\n# agent-trace")
    assert options_from({}).level == Options().level


def test_a_root_in_a_file_is_relative_to_that_file(project, user, monkeypatch):
    write(user, 'trace_root = "mine"')
    assert default_root() == user.parent / "mine"
    write(project / "agent-trace.toml", 'trace_root = "../data/trace"')
    assert options_from({}).trace_root == project.parent / "data" / "trace"
    write(project / "agent-trace.toml", 'trace_root = "/var/traces"')
    assert default_root() == Path("/var/traces")
    write(project / "agent-trace.toml", 'trace_root = "~/traces"')
    assert default_root() == Path.home() / "traces"
    monkeypatch.setenv("AGENT_TRACE_ROOT", "here")
    assert default_root() == Path("here")


def test_a_file_sets_every_option(project):
    values = {
        "trace_root": "/x/y", "level": "INFO", "state": "strict", "durability": "disk", "queue_full": "drop_new",
        "large_arguments": "always",
        "levels": {"learning": "ERROR"}, "rotation": {"agents": [5000, 2]},
        "capture": "metadata", "captures": {"learning": "full"},
    }  # fmt: skip
    for name in SETTABLE:
        default = getattr(Options(), name)
        values.setdefault(name, not default if isinstance(default, bool) else 9999)
    lines = [f"{name} = {json.dumps(value).replace(':', ' =')}" for name, value in values.items()]
    lines = [line.replace('"learning"', "learning").replace('"agents"', "agents") for line in lines]
    write(project / "agent-trace.toml", "\n".join(lines))
    options = options_from({})
    for name in SETTABLE:
        assert getattr(options, name) != getattr(Options(), name), name
    assert options.rotation == {"agents": (5000, 2)}


def test_tables_are_merged_by_category(project, user):
    write(user, '[levels]\nlearning = "ERROR"\nsystem = "ERROR"\nerrors = "CRITICAL"')
    write(project / "agent-trace.toml", '[levels]\nlearning = "INFO"\nsystem = "INFO"')
    environment = {**os.environ, "AGENT_TRACE_LEVELS": "learning=WARNING, agents=INFO"}
    options = options_from({"levels": {"agents": "OFF"}}, environment)
    assert options.levels == {"learning": "WARNING", "system": "INFO", "errors": "CRITICAL", "agents": "OFF"}


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ('level = "INFO"\nlevle = 1', 2, "did you mean 'level'"),
        ('\n[levels]\n# x\nlearnign = "INFO"', 4, "did you mean 'learning'"),
        ('level = "LOUD"', 1, "LOUD"),
        ("console = 1", 1, "console"),
        ('# x\nqueue_size = "many"', 2, "queue_size"),
        ("queue_size = true", 1, "queue_size"),
        ("levels = 5", 1, "levels"),
        ("# one\u2028line\n[rotation]\nagents = 5", 3, "agents"),
        ("[rotation]\r\nagents = 5\r\n", 2, "agents"),
        ("rotation.agents = [5000, -1]", 1, "agents"),
        ("rotation = { agents = [0, 1], errors = [1, 1] }", 1, "agents"),
        ('trace_root = ""', 1, "trace_root"),
        ("outputs = {}", 1, "outputs"),
        ('preset = "prodution"', 1, "did you mean 'production'"),
        ("preset = 5", 1, "preset"),
        ('a = "x\nb', 1, "TOML"),
        ("level = 'INFO'\nlevel = 'INFO'", 2, "TOML"),
        ('# x\ntrace_root = "a\\u0000b"', 2, "trace_root"),
        (f"# x\nsegment_size_bytes = {10**26}", 2, "segment_size_bytes"),
        (f"keep_sessions = 0x{'f' * 9999}", 1, "keep_sessions"),
        (f"rotation.agents = [{2**63}, 1]", 1, "agents"),
        (f"# x\nqueue_size = {'9' * 9999}\n# y", 2, "TOML"),
        (f"level = {'[' * 9999}", 1, "TOML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_error_with_path_line_and_remedy(project, text, line, word):
    path = project / "agent-trace.toml"
    path.write_text(text)
    error = refused()
    assert (error.path, error.line) == (str(path), line)
    assert word in error.message
    path.rename(project / "pyproject.toml")
    if "TOML" not in word and "[" not in text:
        (project / "pyproject.toml").write_text(f"[project]\nname = 'x'\n[tool.agent-trace]\n{text}")
        error = refused()
        assert (error.path, error.line) == (str(project / "pyproject.toml"), line + 3)


def test_what_is_no_text_or_no_file_or_may_not_be_read_is_told(project):
    path = project / "agent-trace.toml"
    path.write_bytes(b'level = "INFO"\n# \xff')
    assert (refused().line, refused().path) == (2, str(path))
    path.unlink()
    path.mkdir()
    assert "not a file" in refused().message
    path.rmdir()
    os.mkfifo(path)
    assert "not a file" in refused().message
    path.unlink()
    path.symlink_to(path.name)
    assert refused().path == str(path)
    assert refused().remedy == "remove it or put a file there"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(project):
    path = write(project / "agent-trace.toml", "")
    path.chmod(0)
    assert refused().path == str(path)


def test_a_strangers_file_where_everybody_can_write_is_passed_over(project, monkeypatch):
    path = write(project / "agent-trace.toml", 'level = "OFF"')
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    real = os.stat

    def of_a_stranger(name, *args, **kwargs):
        status = real(name, *args, **kwargs)
        return os.stat_result((*status[:4], 1234, *status[5:])) if str(name) == str(path) else status

    monkeypatch.setattr(os, "stat", of_a_stranger)
    assert project_file().path == str(path)
    project.chmod(0o1777)
    assert project_file() is None
    assert "another user" in state_of(str(path))


def test_without_a_working_directory_there_is_no_project(tmp_path, monkeypatch):
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    assert list(project_paths()) == []
    assert options_from({}, {}) == Options()


def test_a_relative_xdg_home_is_ignored_as_xdg_says():
    assert (
        user_path({"XDG_CONFIG_HOME": "config", "HOME": "/home/u"})
        == "/home/u/.config/agent-trace/config.toml"
    )
    assert user_path({"XDG_CONFIG_HOME": "/c"}) == "/c/agent-trace/config.toml"
    assert user_path({}) is None


def test_the_presets_can_be_and_can_be_chosen_in_every_way(project, user, monkeypatch):
    assert preset_names() == ["development", "production", "simulation"]
    for name in preset_names():
        assert read_file(str(preset_path(name))).settings
    write(user, 'preset = "development"')
    assert options_from({}).console is True
    write(project / "agent-trace.toml", 'preset = "production"\nkeep_sessions = 7')
    assert (options_from({}).level, options_from({}).keep_sessions) == ("INFO", 7)
    monkeypatch.setenv("AGENT_TRACE_PRESET", "simulation")
    assert options_from({}).mirrors is False
    assert options_from({"preset": "production"}).mirrors is True
    assert setup_logging(preset="production", trace_root=project / "t").options.level == "INFO"


def test_a_preset_named_while_recording_changes_what_it_sets_and_no_more(trace_root):
    first = setup_logging(keep_sessions=5, queue_size=77)
    second = setup_logging(preset="simulation")
    assert second.path != first.path
    assert (second.options.mirrors, second.options.queue_size, second.options.keep_sessions) == (False, 77, 5)
    assert setup_logging(preset="simulation", level="ERROR").path == second.path
    assert setup_logging().options.level == "ERROR"


def test_recording_follows_the_file_and_so_does_analysis(project):
    write(project / "agent-trace.toml", 'trace_root = "kept"\n[levels]\nagents = "WARNING"')
    logger = AgentLogger("a")
    assert logger.log_action("x", {}) == "", "although this is what begins to record"
    logger.warning("told")
    Agent.shutdown_logging()
    session = next((project / "kept").glob("session_*"))
    assert Agent.LogAnalyzer().path == session
    lines = (session / "agents" / "a.log").read_text().splitlines()
    assert [json.loads(line)["level"] for line in lines if "told" in line] == ["WARNING"]


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize("first", ["log_action('x', {})", "info('x')", "act()"])
def test_levels_hold_for_the_first_event_too(project, first):
    write(project / "agent-trace.toml", 'trace_root = "kept"\n[levels]\nagents = "WARNING"')
    program = (
        "from Agent import AgentLogger, trace_agent_action\n"
        "class Mine(AgentLogger):\n"
        "    @trace_agent_action\n"
        "    def act(self): pass\n"
        f"Mine('a').{first}\n"
        "AgentLogger('a').warning('told')\n"
    )
    done = run_python("-c", program, cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    [file] = (project / "kept").glob("session_*/agents/*.log")
    assert [json.loads(line)["message"] for line in file.read_text().splitlines()] == ["told"]


@pytest.mark.process
def test_a_wrong_file_is_told_once_and_the_program_goes_on_unrecorded(project):
    write(project / "agent-trace.toml", "levle = 1")
    program = (
        "import Agent\na = Agent.AgentLogger('a')\nfor _ in range(3): a.log_action('x', {})\nprint('went on')"
    )
    done = run_python("-c", program, cwd=project / "src")
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert done.stderr.count("\n") == 1 and f"{project / 'agent-trace.toml'}:1" in done.stderr
    assert not list(project.rglob("session_*"))


@pytest.mark.integration
def test_no_parser_is_loaded_where_there_is_no_file(project):
    program = (
        "import sys, Agent\nbefore = 'tomllib' in sys.modules\nAgent.AgentLogger('a').log_action('x', {})\n"
        "print(before, 'tomllib' in sys.modules, 'logging.config' in sys.modules)"
    )
    assert run_python("-c", program, cwd=project).stdout == "False False False\n"
    write(project / "pyproject.toml", "[tool.ruff]")
    assert run_python("-c", program, cwd=project).stdout == "False False False\n"
    write(project / "agent-trace.toml", "")
    assert run_python("-c", program, cwd=project).stdout == "False True False\n"


def test_what_is_effective_names_every_option_and_every_category(project):
    write(project / "agent-trace.toml", 'level = "WARNING"\n[levels]\nagents = "error"\nerrors = "DEBUG"')
    found = effective_settings()
    names = {name.partition(".")[0] for name in found.settings}
    assert names == set(SETTABLE)
    levels = {name: setting for name, setting in found.settings.items() if name.startswith("levels.")}
    assert len(levels) == 7
    assert (levels["levels.agents"].value, levels["levels.agents"].line) == ("ERROR", 3)
    # A category is never recorded below the overall level.
    assert (levels["levels.errors"].value, levels["levels.errors"].line) == ("WARNING", 1)
    assert found.settings["rotation.agents"].value == [200 * 1024 * 1024, 10]


def test_every_variable_stands_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "CONFIGURATION.md").read_text()
    for suffix, name in ENVIRONMENT.items():
        assert f"| `{name}` | `AGENT_TRACE_{suffix}` |" in page, name


KEYS = st.sampled_from(["a", "b", "level", "levels", '"q"', "'r'"])


@given(st.lists(st.tuples(st.booleans(), KEYS, KEYS), max_size=8))
def test_the_line_of_a_key_is_where_it_stands(rows):
    """Against a plain reading: tables and keys, each on its own line."""
    text, table, where = [], "", {}
    for is_table, key, other in rows:
        if is_table:
            table = key
            text.append(f" [{key}]  # {other}")
        else:
            text.append(f"{key} = '{other.strip(chr(34) + chr(39))} = 1'")
            full = tuple(part.strip("\"'") for part in (table, key) if part)
            where.setdefault(full, len(text))
    for full, number in where.items():
        assert line_of("\n".join(text), full) == number
    assert line_of("\n".join(text), ("nowhere",)) is None


def test_private_files_stay_private(user, project):
    """Looking for files makes none."""
    options_from({})
    assert list(project.rglob("*.toml")) == [] and list(user.parent.iterdir()) == []
    assert sys.modules["Agent.config.load"].configured_root() == Path("trace")


SCALARS = st.sampled_from(
    ["1", "-1", "true", "'INFO'", "'x'", "''", "[1, 2]", "[]", "{}", "1979-05-27", "nan", "=", "'''"]
)
NAMES = st.sampled_from(
    [*SETTABLE, "preset", "levels.agents", "rotation.agents", "rotation.x", "x", "'a b'", ""]
)
LINES = st.builds("{} = {}".format, NAMES, SCALARS) | st.sampled_from(
    ["[levels]", "[rotation]", "[x]", "[[levels]]", "#"]
)


@given(st.lists(LINES, max_size=5).map("\n".join) | st.text(max_size=40))
def test_whatever_a_file_holds_it_is_taken_or_refused_with_its_path(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = read_file(str(path))
    except ConfigurationError as error:
        assert error.path == str(path) and error.remedy and "\n" not in str(error)  # noqa: PT017
        assert error.line is None or 1 <= error.line <= text.count("\n") + 1  # noqa: PT017
    else:
        assert all(setting.line is not None for setting in found.settings.values())


@given(st.sampled_from(sorted(ENVIRONMENT)), st.text(st.characters(exclude_characters="\0"), max_size=12))
def test_whatever_a_variable_holds_it_is_taken_or_refused_by_its_name(suffix, text):
    try:
        options_from({}, {f"AGENT_TRACE_{suffix}": text})
    except ConfigurationError as error:
        assert error.message.startswith(f"AGENT_TRACE_{suffix}") and error.remedy  # noqa: PT017


@pytest.mark.integration
def test_an_installed_package_finds_its_presets_where_the_build_puts_them(tmp_path):
    """Laid out as the wheel is, by what `pyproject.toml` says of it."""
    repository = Path(__file__).parents[2]
    build = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    included = build["wheel"]["force-include"]
    site = tmp_path / "site"
    shutil.copytree(repository / "Agent", site / "Agent", ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in included.items():
        shutil.copytree(repository / source, site / target)
    done = run_python("-m", "Agent", "config", "presets", "production", cwd=tmp_path, PYTHONPATH=str(site))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == (repository / "config" / "production.toml").read_text().strip()
    where = run_python(
        "-c",
        "import Agent.config.load as p; print(p._directory())",
        cwd=tmp_path,
        PYTHONPATH=str(site),
    )
    assert where.stdout.strip() == str(site / "Agent" / "config" / "presets")
    assert set(included) <= set(build["sdist"]["include"])
