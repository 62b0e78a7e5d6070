"""Sessions of several hosts become one: complete, with exact losses, causes before effects."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from support.processes import REPOSITORY

from Agent.analysis import LogAnalyzer
from Agent.archive.merge import merge_sessions
from Agent.archive.sealed.reader import open_reader
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify
from Agent.errors import SessionInUse, UsageError

pytestmark = pytest.mark.process

BOSS = """
from Agent import AgentLogger, carry
logger = AgentLogger("shared")
print(carry(logger.log_action("order", {"parcel": 9}, {})))
"""
WORKER = """
import os, signal, sys, time
from Agent.event.system_clock import SystemClock
SystemClock.wall_ns = staticmethod(lambda: time.time_ns() - int(sys.argv[1]))
from Agent import AgentLogger, adopt, trace_agent_action
class Worker:
    agent_id = "worker"
    @trace_agent_action()
    def work(self, n):
        AgentLogger("shared").log_decision("take", {"n": n})
        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
with adopt(sys.argv[2]):
    for n in range(5):
        Worker().work(n)
"""


def host(root, code, *arguments, given=""):
    environment = os.environ | {"AGENT_TRACE_ROOT": str(root), "PYTHONPATH": str(REPOSITORY)}
    environment.pop("AGENT_TRACE_SESSION", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, next(root.glob("session_*"))


@pytest.fixture(scope="module")
def recorded_hosts(tmp_path_factory):
    """Two sessions: the second host's clock is 10 minutes behind, and its process was killed in its fourth call."""
    place = tmp_path_factory.mktemp("hosts")
    asked, one = host(place / "a", BOSS)
    killed, other = host(place / "b", WORKER, str(600_000_000_000), asked.stdout.strip())
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return place, one, other


@pytest.fixture
def hosts(recorded_hosts, tmp_path):
    """The same, for a test that may write into them."""
    place, *sessions = recorded_hosts
    shutil.copytree(place, tmp_path / "hosts")
    return tuple(tmp_path / "hosts" / session.relative_to(place) for session in sessions)


def test_hosts_become_one_session_in_causal_order_with_what_was_lost(hosts, tmp_path):
    before = [sorted((file, file.read_bytes()) for file in path.rglob("*.log")) for path in hosts]
    made = merge_sessions(hosts, tmp_path / "m")
    assert [source["shifted_us"] > 0 for source in made.sources] in ([False, True], [True, False])
    reader = open_reader(made.session)
    events = list(reader.events())
    assert len({event.id for event in events}) == len(events)
    assert len(events) == sum(len(list(open_reader(path).events())) for path in hosts)
    places = {event.id: place for place, event in enumerate(events)}
    effects = [event for event in events if event.causes]
    assert effects
    assert all(places[cause] < places[event.id] for event in effects for cause in event.causes)
    assert not any(event.hlc for event in events)
    found, single = reader.losses(), open_reader(hosts[1]).losses()
    assert (found.total_lost, found.total_unacknowledged) == (0, single.total_unacknowledged)
    assert [span.name for span in reader.in_flight()] == ["work"]
    assert {event.kind for event in reader.agent_events("shared")} >= {"agent_action", "decision"}
    assert before == [sorted((file, file.read_bytes()) for file in path.rglob("*.log")) for path in hosts]


def test_what_happened_on_one_host_leads_back_to_the_other(hosts, tmp_path):
    made = merge_sessions(hosts, tmp_path / "m")
    with LogAnalyzer(made.session) as analyzer:
        work = next(event for event in analyzer.reader.agent_events("worker") if event.kind == "agent_action")
        graph = analyzer.causal_graph(work.id, 60.0)
        order = next(
            event for event in analyzer.reader.agent_events("shared") if event.kind == "agent_action"
        )
        assert order.id in {each["id"] for each in graph.to_dict()["causes"]}
        report = analyzer.debug_issue("parcel 9 was not delivered, worker is gone")
    assert any("worker never returned from work" in str(cause) for cause in report.causes)


@pytest.mark.further
def test_debug_finds_a_cause_on_the_other_host(tmp_path):
    page = (REPOSITORY / "docs" / "CLUSTER.md").read_text()
    code = page.partition("```python file=crew.py\n")[2].partition("```")[0]
    orders, one = host(tmp_path / "a", code, "plan")
    delivered, other = host(tmp_path / "b", code, "deliver", given=orders.stdout)
    assert delivered.stdout.count("too heavy to lift") == 15, delivered.stderr
    made = merge_sessions([other, one], tmp_path / "m")
    with LogAnalyzer(made.session) as analyzer:
        report = analyzer.debug_issue("courier fails: too heavy to lift")
    assert report.status == "cause"
    assert "planner" in report.causes[0].agent_ids
    assert "weight_kg of order is 90 at tick 25" in str(report.causes[0])


def test_a_session_whose_lines_are_only_in_its_archive_is_joined_too(hosts, tmp_path):
    whole = len(list(open_reader(hosts[0]).events()))
    seal(hosts[0], remove=True)
    made = merge_sessions(hosts, tmp_path / "m")
    assert len(list(open_reader(made.session).events())) == whole + len(list(open_reader(hosts[1]).events()))


def test_a_joined_session_is_sound_and_can_be_sealed(hosts, tmp_path):
    made = merge_sessions(hosts, tmp_path / "m")
    assert verify(made.session).chain is None
    assert seal(made.session).events == len(list(open_reader(made.session).events()))


def test_one_session_alone_and_one_that_is_recorded_are_refused(hosts, tmp_path):
    with pytest.raises(UsageError, match="two or more"):
        merge_sessions([hosts[0], hosts[0]], tmp_path / "m")
    code = "import Agent, sys; Agent.AgentLogger('x').info('on'); print('on', flush=True); sys.stdin.read()"
    environment = os.environ | {"AGENT_TRACE_ROOT": str(tmp_path / "c"), "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as living:
        assert living.stdout.readline() == b"on\n"
        with pytest.raises(SessionInUse, match="still recorded"):
            merge_sessions([hosts[0], next((tmp_path / "c").glob("session_*"))], tmp_path / "m")
        living.stdin.close()
    assert not list((tmp_path / "m").glob("session_*"))
