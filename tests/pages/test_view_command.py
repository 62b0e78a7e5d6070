"""`agent-trace view` as a process: the address it prints, who is admitted, how it ends and how it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from support.processes import child_environment, run_python

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.errors import MissingExtra
from Agent.lazy_names import extra_needed
from Agent.server import RunningServer, ServerSettings

HIDDEN = (
    "import sys\n"
    "for name in {hidden}: sys.modules[name] = None\n"
    "from Agent.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)
"""A program in which some libraries are not installed."""


def ready(client, address):
    """The overview of a session, once all of it is read."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        found = client.get(address).json()
        if found["state"] == "ready":
            return found
        time.sleep(0.05)
    raise AssertionError(f"not read within 30 s: {found}")


@pytest.fixture
def root(tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    AgentLogger("writer", "author").info("a line")
    shutdown_logging()
    return tmp_path / "trace"


@pytest.fixture
def serving(root, tmp_path):
    plugin = tmp_path / "plugins"
    (plugin / "probe-1.dist-info").mkdir(parents=True)
    (plugin / "probe-1.dist-info" / "METADATA").write_text("Name: probe\nVersion: 1\n")
    (plugin / "probe-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nprobe = probe:plugin\n")
    (plugin / "probe.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w').close()\nplugin = None\n")
    environment = child_environment()
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}:{plugin}"
    command = [sys.executable, "-P", "-m", "Agent", "view", "--no-open", "--json", "--root", str(root)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines = [process.stdout.readline() for _ in range(5)]
    yield process, json.loads("".join(lines))
    process.kill()
    process.communicate()


@pytest.mark.process
def test_view_prints_an_address_that_shows_the_newest_session_and_ends_with_an_interrupt(
    serving, root, tmp_path
):
    process, told = serving
    assert told["url"].startswith(f"http://127.0.0.1:{told['port']}/s/{told['session']}?token=")
    with httpx.Client(timeout=60) as client:
        assert client.get(f"http://127.0.0.1:{told['port']}/sessions").status_code == 403
        page = client.get(told["url"])
        assert page.status_code == 200 and f'data-session="{told["session"]}"' in page.text
        overview = ready(client, f"http://127.0.0.1:{told['port']}/api/newest/overview")
        assert overview["session_id"] == told["session"]
        listed = client.get(f"http://127.0.0.1:{told['port']}/sessions").text
        assert f'<a href="/s/{told["session"]}">' in listed
        for section in ("overview", "runs", "learning", "interactions", "performance", "errors"):
            report = client.get(f"http://127.0.0.1:{told['port']}/s/{told['session']}/report/{section}")
            assert report.status_code == 200 and "<section>" in report.text, section
        assert client.get(f"http://127.0.0.1:{told['port']}/s/newest/report/nothing").status_code == 404
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert process.stderr.read().strip() == ""
    assert not (tmp_path / "loaded").exists()  # a plugin of pydantic


@pytest.mark.further
@pytest.mark.process
def test_the_service_serves_the_pages_of_the_trace_root_beside_its_queries_on_loopback(root, tmp_path):
    settings = ServerSettings(f"sqlite:///{tmp_path}/s.db", ingest_port=0, query_port=0, pages_root=root)
    with RunningServer(settings) as server, httpx.Client(follow_redirects=True, timeout=60) as client:
        assert client.get(f"{server.query_url}/view/sessions").status_code == 403
        page = client.get(server.pages_url)
        assert page.status_code == 200 and 'data-base="/view"' in page.text
        assert page.headers["set-cookie"].endswith("; Path=/view; HttpOnly; SameSite=Strict") or page.history
        assert ready(client, f"{server.query_url}/view/api/newest/overview")["events"] >= 1
        assert client.get(f"{server.query_url}/v1/runs").status_code == 200
        assert client.post(f"{server.query_url}/view/sessions").status_code == 405


@pytest.mark.integration
def test_the_service_has_no_pages_beyond_loopback_or_without_a_root(root, tmp_path):
    database = f"sqlite:///{tmp_path}/s.db"
    for settings in (
        ServerSettings(database, "0.0.0.0", ingest_port=0, query_port=0, pages_root=root),
        ServerSettings(database, ingest_port=0, query_port=0),
    ):
        with RunningServer(settings) as server:
            assert server.pages_url is None
            port = server.query_url.rpartition(":")[2]
            assert httpx.get(f"http://127.0.0.1:{port}/view/sessions").status_code == 404


@pytest.mark.integration
def test_the_pages_need_no_database_driver(root):
    hidden = ("sqlalchemy", "psycopg", "alembic")
    program = "from Agent.server.pages import Pages, PagesServer"
    done = run_python("-c", HIDDEN.format(hidden=hidden).split("from Agent.cli")[0] + program, cwd=root)
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
def test_a_missing_extra_is_one_line_with_exit_code_3(root):
    for library, what in (
        ("fastapi", "agent-trace view"),
        ("uvicorn", "agent-trace view"),
        ("numpy", "agent-trace view"),
    ):
        program = HIDDEN.format(hidden=(library,))
        done = run_python("-c", program, "view", "--no-open", "--root", str(root), cwd=root)
        assert done.returncode == 3 and done.stdout == ""
        assert done.stderr == (
            f"agent-trace: {what} needs {library}, which is not installed; "
            'install it with: pip install "agent-trace[view]"\n'
        )


@pytest.mark.integration
def test_a_missing_session_and_a_used_port_are_one_line_with_exit_code_3(root, tmp_path):
    for root_option, more, says in (
        (str(tmp_path / "nothing"), (), "no session here yet"),
        (str(root), ("no_such_session",), "no_such_session"),
    ):
        done = run_python("-m", "Agent", "view", *more, "--no-open", "--root", root_option, cwd=tmp_path)
        assert done.returncode == 3 and says in done.stderr and done.stderr.count("\n") == 1
    (renamed,) = root.glob("session_*")
    copied = shutil.copytree(renamed, tmp_path / "a_copy")
    done = run_python("-m", "Agent", "view", f"./{copied.name}", "--no-open", cwd=tmp_path)
    assert done.returncode == 3 and "rename it to session_a_copy" in done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_python(
            "-m", "Agent", "view", "--no-open", "--port", port, "--root", str(root), cwd=tmp_path
        )
        assert done.returncode == 3 and f"cannot listen on 127.0.0.1 port {port}" in done.stderr


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("at", ["foo", "tick:", ""])
def test_a_moment_that_is_none_is_refused_before_the_server_listens(root, tmp_path, at):
    done = run_python("-m", "Agent", "view", "--no-open", "--at", at, "--root", str(root), cwd=tmp_path)
    assert done.returncode == 2 and f"{at!r} is not a moment; give an event id" in done.stderr


def test_the_service_says_its_own_extra():
    with pytest.raises(MissingExtra, match=r"agent-trace\[server\]"), extra_needed():
        raise ModuleNotFoundError("", name="sqlalchemy.orm")
    with pytest.raises(ModuleNotFoundError, match="elsewhere"), extra_needed():
        raise ModuleNotFoundError("elsewhere", name="elsewhere")
