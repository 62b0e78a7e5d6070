"""Values of many megabytes in a process that gets no more memory: they are cut, or dropped and counted, and it lives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.processes import run_python

PROGRAM = """
import resource, sys
from Agent import AgentLogger, health, setup_logging, shutdown_logging, trace_agent_action

root, kind, headroom_mb = sys.argv[1], sys.argv[2], float(sys.argv[3])
setup_logging(trace_root=root)
logger = AgentLogger("a", "r")

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.field = "a", "r", None
    @trace_agent_action()
    def act(self, value):
        self.field = value

class Thing:
    def __init__(self, number):
        self.number, self.text, self.more = number, "\u4e2d" * 20, [number, 0.5]

agent = Agent()
agent.act(1)
logger.log_action("warm", {"value": "x" * 1000})
value = {
    "text": lambda: "x" * 50_000_000,
    "escapes": lambda: "\\x01" * 900_000,
    "list": lambda: ["x" * 1000] * 50_000,
    "escapes in a list": lambda: ["\\x01" * 100_000] * 9,
    "dict": lambda: {f"k{n}": "x" * 1000 for n in range(50_000)},
    "nearly whole": lambda: {"a": ["x" * 90_000] * 10},
    "numbers": lambda: list(range(3_000_000)),
    "deep": lambda: [[["y" * 900] * 100] * 100] * 5,
    "tuple": lambda: ("x" * 500,) * 100_000,
    "bytes": lambda: b"x" * 50_000_000,
    "floats": lambda: tuple(n * 0.37 for n in range(40_000)),
    "wide texts": lambda: {f"key {n}": "\u4e2d" * 500 for n in range(300)},
    "wide text": lambda: "\u4e2d" * 250_000,
    "small dicts": lambda: [{"id": n, "name": f"\u00e9{n}", "x": n * 0.5} for n in range(9_000)],
    "keys": lambda: {n: "x" * 5 for n in range(20_000)},
    "objects": lambda: [Thing(n) for n in range(9_000)],
}[kind]()
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + int(headroom_mb * 1e6),) * 2)
ids = [logger.log_action("big", {"value": value}), logger.info("big", extra={"value": value})]
agent.act(value)
try:
    raise ValueError(value)
except ValueError:
    ids.append(logger.exception("big", extra={"value": value}))
del value, agent.field
after = logger.log_action("after")
dropped = health()["dropped"]
unnamed = dropped.get("a call could not be recorded", 0)  # of the traced action, which returns no id
assert ids.count("") == sum(dropped.values()) - unnamed and unnamed <= 1, (ids, health())
assert after
shutdown_logging()
print("alive")
"""
KINDS = (
    "text|escapes|list|escapes in a list|dict|nearly whole|numbers|deep|tuple|bytes|"
    "floats|wide texts|wide text|small dicts|keys|objects"
).split("|")


def outcome(place: Path, kind: str, headroom_mb: float) -> str:
    done = run_python(
        "-c",
        PROGRAM,
        str(place / "trace"),
        kind,
        str(headroom_mb),
        cwd=place,
        HOME=str(place),
        AGENT_TRACE_SESSION="",
    )
    return (
        "alive"
        if done.stdout.endswith("alive\n")
        else f"{kind}, {headroom_mb} MB: {done.returncode} {done.stderr}"
    )


@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
def test_a_large_value_does_not_end_a_process_with_little_memory(tmp_path, kind):
    assert outcome(tmp_path, kind, 5) == "alive"


@pytest.mark.integration
@pytest.mark.parametrize("headroom_mb", [2, 3, 4])
def test_a_walk_that_is_refused_memory_again_and_again_comes_to_an_end(tmp_path, headroom_mb):
    assert outcome(tmp_path, "objects", headroom_mb) == "alive"


@pytest.mark.slow
def test_a_hundred_large_values_end_no_process_with_5_to_200_mb_left(tmp_path):
    chance = random.Random(20261121)
    found = [outcome(tmp_path, KINDS[n % len(KINDS)], round(chance.uniform(5, 200), 1)) for n in range(100)]
    assert [each for each in found if each != "alive"] == []


CHECKPOINTS = """
import resource, sys
from Agent import setup_logging
from Agent.flight import LocalCheckpointStore, Recorder

session = setup_logging(trace_root=sys.argv[1])
state = {"words": [f"word{number}" for number in range(33_000)]}
with Recorder(agent="a").run() as run, LocalCheckpointStore(session.path) as store:
    store.save_checkpoint(run.run_id, "first", {"words": ["word"]})
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + int(float(sys.argv[2]) * 1e6),) * 2)
    try:
        store.save_checkpoint(run.run_id, "large", state)
        assert store.load_checkpoint(run.run_id, "large").state == state
        print("saved")
    except MemoryError:
        print("refused")
"""


@pytest.mark.integration
@pytest.mark.parametrize(("headroom_mb", "becomes"), [(20, "refused"), (60, "saved")])
def test_a_checkpoint_of_many_short_values_is_saved_or_refused_where_memory_is_short(
    tmp_path, headroom_mb, becomes
):
    program = ("-c", CHECKPOINTS, str(tmp_path / "trace"), str(headroom_mb))
    done = run_python(*program, cwd=tmp_path, HOME=str(tmp_path), AGENT_TRACE_SESSION="")
    assert (done.returncode, done.stdout.split()) == (0, [becomes]), done.stderr
