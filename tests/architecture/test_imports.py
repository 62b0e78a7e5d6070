"""What `import Agent` costs, and which way the rooms may look."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import REPOSITORY, child_environment, run_python

HEAVY = (
    "asyncio",
    "click",
    "duckdb",
    "fastapi",
    "numpy",
    "opentelemetry",
    "pydantic",
    "rich",
    "sqlalchemy",
    "sqlite3",
    "structlog",
    "jinja2",
    "watchdog",
)

# What only recording itself needs: setting up, or the first event, loads it.
LATER = {
    "Agent.config.logging_config",
    "Agent.config.recording",
    "Agent.event.values.codecs",
    "Agent.event.payloads",
    "Agent.record.emit.pipeline",
    "Agent.record.encode.redaction",
    "Agent.record.tracing.traced_call",
    "Agent.tree.write.writer",
    "base64",
    "dataclasses",
    "datetime",
    "inspect",
    "json",
    "orjson",
    "pathlib",
    "uuid",
}

REPORT_MODULES = """
import sys
before = set(sys.modules)
{statement}
print("\\n".join(set(sys.modules) - before))
"""


def all_modules_loaded_by(statement: str, cwd: Path) -> set[str]:
    done = run_python("-c", REPORT_MODULES.format(statement=statement), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def modules_loaded_by(statement: str, cwd: Path) -> set[str]:
    return {name.partition(".")[0] for name in all_modules_loaded_by(statement, cwd)}


@pytest.mark.process
@pytest.mark.parametrize(
    "statement", ["import Agent", "from Agent import *", "from Agent.utils import AgentLogger"]
)
def test_importing_the_names_loads_no_heavy_library(statement, tmp_path):
    loaded = modules_loaded_by(statement, tmp_path)
    assert "Agent" in loaded
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


@pytest.mark.process
@pytest.mark.parametrize(
    "statement",
    [
        "from Agent import AgentLogger, trace_agent_action",
        "from Agent.utils import AgentLogger, trace_agent_action, trace_context\n"
        "AgentLogger('creator_001', 'creator')\n"
        "class Creator:\n"
        "    @trace_agent_action('create')\n"
        "    def create(self, topic, *more, tone='dry'): yield topic\n"
        "    @trace_agent_action\n"
        "    async def publish(self): pass",
    ],
    ids=["the names alone", "loggers and decorators in place"],
)
def test_what_only_recording_needs_waits_for_the_first_event(statement, tmp_path):
    loaded = all_modules_loaded_by(statement, tmp_path)
    assert "Agent.record.tracing.decorators" in loaded
    assert loaded.isdisjoint(LATER), sorted(loaded & LATER)
    # A name of a module that is gone would be free for ever.
    recorded = all_modules_loaded_by(
        "from Agent import AgentLogger, trace_agent_action\n"
        "@trace_agent_action\n"
        "def act(): pass\n"
        "act()\n"
        "AgentLogger('creator_001').log_action('create_content')",
        tmp_path,
    )
    assert recorded >= LATER, sorted(LATER - recorded)


@pytest.mark.process
@pytest.mark.parametrize(
    "statement", ["import Agent", "from Agent import LogAnalyzer", "from Agent.cli.main import main"]
)
def test_who_only_reads_loads_no_loggers_and_decorators(statement, tmp_path):
    loaded = all_modules_loaded_by(statement, tmp_path)
    assert "Agent.config.process" in loaded
    recording = {name for name in loaded if name.startswith(("Agent.record.emit", "Agent.record.tracing"))}
    assert recording == set()
    assert "Agent.config.first_event" not in loaded


@pytest.mark.process
@pytest.mark.parametrize(
    "name",
    ["Agent.tick", "Agent.instrument", "Agent.shutdown_logging", "Agent.flight.recorder", "Agent.bridges"],
)
def test_whatever_records_has_what_the_first_event_calls(name, tmp_path):
    loaded = all_modules_loaded_by(
        f"import Agent, Agent.flight, Agent.bridges\n{name}\n"
        "from Agent.record.emit import installed\nassert installed.bootstrap is not None",
        tmp_path,
    )
    assert "Agent.config.first_event" in loaded


@pytest.mark.process
def test_the_first_events_load_no_heavy_library_either(tmp_path, trace_root):
    loaded = modules_loaded_by(
        "from Agent import AgentLogger, shutdown_logging\n"
        "AgentLogger('creator_001', 'creator').log_action('create_content', {'seconds': 30})\n"
        "shutdown_logging()",
        tmp_path,
    )
    assert list(trace_root.glob("session_*/agents/creator_001.log"))
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


@pytest.mark.process
@pytest.mark.parametrize("statement", ["import Agent", "from Agent import *", "from Agent.utils import *"])
def test_importing_creates_nothing_on_disk(statement, tmp_path):
    place = tmp_path / "empty"
    place.mkdir()
    # The default root is ./trace, so it is the one to watch here.
    done = run_python(
        "-B", "-c", statement, cwd=place, HOME=str(place), XDG_CONFIG_HOME=str(place), AGENT_TRACE_ROOT=""
    )
    assert done.returncode == 0, done.stderr
    assert list(place.iterdir()) == []
    assert not (tmp_path / "trace").exists()


@pytest.mark.process
def test_importing_writes_nothing_to_the_terminal(tmp_path):
    done = run_python("-W", "error", "-c", "from Agent import *", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.process
def test_the_help_of_the_command_line_loads_no_engine(tmp_path):
    loaded = modules_loaded_by(
        "from Agent.cli.main import run\n"
        "import io, contextlib\n"
        "sys.argv = ['agent-trace', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): run()",
        tmp_path,
    )
    assert "click" in loaded
    assert loaded.isdisjoint({"duckdb", "structlog", "watchdog", "numpy", "pydantic", "asyncio", "orjson"}), (
        sorted(loaded)
    )


@pytest.mark.process
def test_the_rooms_import_only_downwards():
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=REPOSITORY,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
