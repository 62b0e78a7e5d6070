"""A re-drive needs no network, and gives driven code none: beside a namespace that has none at all."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading

import pytest
from support.processes import child_environment

AGENT = """
import socket

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "caller"
        self.count = 0

    @trace_agent_action
    def act(self, port):
        self.count += 1
        return self.count

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent.act(PORT)
    agent.act(PORT)
"""
CONNECT = "socket.create_connection(('127.0.0.1', port), 5).close(); self.count += 1"
CLI = "import sys; from Agent.cli.main import run; sys.argv[:] = ['agent-trace', *sys.argv[1:]]; run()"


def why_no_namespace() -> str:
    """Why this machine makes no namespace without a network; "" where it does."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return "there is no unshare"
    tried = subprocess.run([unshare, "-rn", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"namespaces are refused: {tried.stderr.strip()}"


@pytest.fixture
def listener():
    """A port of this machine, and the connections that reached it."""
    reached: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        is_over = threading.Event()

        def accept() -> None:
            while not is_over.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                connection.close()
                reached.append(address)

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], reached
        is_over.set()
        thread.join()


@pytest.mark.integration
def test_a_re_drive_in_a_namespace_without_a_network_proves_the_same(toy):
    reason = why_no_namespace()
    if reason:
        pytest.skip(reason)
    toy.record(AGENT.replace("PORT", "1"))
    looks = "import os; assert os.listdir('/sys/class/net') or True; print(open('/proc/net/dev').read())"
    inside = ["unshare", "-rn", sys.executable, "-c"]
    environment = child_environment(AGENT_TRACE_ROOT=str(toy.root))
    seen = subprocess.run([*inside, looks], capture_output=True, text=True, check=True, env=environment)
    interfaces = {line.partition(":")[0].strip() for line in seen.stdout.splitlines() if ":" in line}
    assert interfaces == {"lo"}
    command = [*inside, CLI, "replay", "last/a", "--target", f"{toy.name}:build"]
    done = subprocess.run(
        command, cwd=toy.directory, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("IDENTICAL a: 2 of 2 actions covered")


def test_a_connection_of_a_driven_agent_is_refused_and_unverified_by_its_place(toy, listener):
    port, reached = listener
    toy.record(AGENT.replace("PORT", str(port)))
    report = toy.change("        self.count += 1\n", f"        {CONNECT}\n").replay()
    assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4), str(report)
    read = next(read for read in report.outcome.sources if read.source == "network")
    assert (read.function, read.file, read.step) == ("Agent.act", toy.path.name, 1)
    assert reached == []


def test_a_factory_reaches_no_network_either(toy, listener):
    port, reached = listener
    toy.record(AGENT.replace("PORT", str(port)))
    connect = f"socket.create_connection(('127.0.0.1', {port}), 5); return Agent()"
    report = toy.change("    return Agent()\n", f"    {connect}\n").replay()
    assert report.verdict == "UNVERIFIED"
    assert "network is not allowed during a replay" in report.reasons[0]
    assert reached == []


def test_a_connection_that_the_agent_swallows_is_named_all_the_same(toy, listener):
    port, reached = listener
    toy.record(AGENT.replace("PORT", str(port)))
    swallowed = "\n        try:\n            socket.create_connection(('127.0.0.1', port), 5)\n        except OSError:\n            pass\n        self.count += 1\n"
    report = toy.change("\n        self.count += 1\n", swallowed).replay()
    assert report.verdict == "UNVERIFIED"
    assert [read.source for read in report.outcome.sources] == ["network"]
    assert reached == []
