"""What the record does not hold: chance, time and surroundings read unrecorded, opaque and hidden values."""

import pytest

from Agent.replay import replay_run

READER = """
import asyncio, datetime, functools, logging, os, random, secrets, socket, subprocess, threading, time, uuid
from random import random as bare_random
from time import time as bare_time
{imports}

class Stamp(datetime.datetime):
    pass

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "reader"
        self.count = 0

{methods}

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for name in {names}:
        getattr(agent, name)()
        getattr(agent, name)()
"""


def reader(statements, imports=""):
    """A module with an agent that has one action for each statement, and calls each twice."""
    methods = [
        f"    @trace_agent_action\n    def act_{number}(self):\n        {statement}\n"
        "        self.count += 1\n        return self.count\n"
        for number, statement in enumerate(statements)
    ]
    names = [f"act_{number}" for number in range(len(statements))]
    return READER.format(imports=imports, methods="\n".join(methods), names=names)


WATCHED = {
    "random.random()": "random",
    "random.choice([1, 2])": "random",
    "bare_random()": "random",
    "functools.partial(random.random)()": "random",
    "random.Random().random()": "a random.Random outside the exposed state",
    "random.SystemRandom().random()": "random.SystemRandom",
    "time.time()": "time.time",
    "bare_time()": "time.time",
    "time.perf_counter_ns()": "time.perf_counter_ns",
    "time.localtime()": "time.localtime",
    "time.strftime('%Y')": "time.strftime",
    "datetime.datetime.now()": "datetime.datetime.now",
    "Stamp.now()": "datetime.datetime.now",
    "datetime.date.today()": "time.time",
    "uuid.uuid4()": "uuid.uuid4",
    "os.urandom(4)": "os.urandom",
    "secrets.token_hex(4)": "secrets",
    "os.environ.get('HOME')": "os.environ",
    "os.getenv('HOME')": "os.environ",
    "'HOME' in os.environ": "os.environ",
    "threading.Thread(target=int).start()": "a thread that the action does not join",
}


def test_each_watched_source_that_is_read_is_named_with_its_place(toy):
    report = toy.record(reader(WATCHED)).replay()
    assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4), str(report)
    lines = toy.source.splitlines()
    found = {}
    for read in report.outcome.sources:
        if read.line:
            assert read.file == toy.path.name
            statement = lines[read.line - 1].strip()
            assert read.function == f"Agent.act_{list(WATCHED).index(statement)}"
        else:
            statement = "functools.partial(random.random)()"  # C code called it: only the state tells
        assert statement not in found
        found[statement] = (read.source, read.step)
    steps = {statement: 1 + 2 * number for number, statement in enumerate(WATCHED)}
    assert found == {statement: (source, steps[statement]) for statement, source in WATCHED.items()}
    assert "time.time read by Agent.act_6" in "\n".join(report.reasons)


UNWATCHED = [
    "random.Random(3).random()",
    "time.strftime('%Y', (2020, 1, 1, 0, 0, 0, 0, 1, 0))",
    "datetime.datetime.fromtimestamp(0, datetime.UTC)",
    "asyncio.run(asyncio.sleep(0))",
    "logging.getLogger('x').error('y')",
]


def test_a_read_in_a_method_that_dataclasses_wrote_is_named_by_who_makes_the_object(toy):
    made = (
        "import dataclasses\n@dataclasses.dataclass\nclass Sheet:\n"
        "    at: float = dataclasses.field(default_factory=time.time)\n"
    )
    report = toy.record(reader(["Sheet()"], imports=made)).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "time.time" in report.reasons[0] and "Agent.act_0" in report.reasons[0]


def test_what_reads_no_source_is_let_pass(toy):
    report = toy.record(reader(UNWATCHED)).replay()
    assert report.verdict == "IDENTICAL", str(report)


def test_numpy_is_watched(toy):
    statements = [
        "numpy.random.rand()",
        "bare_rand()",
        "numpy.random.default_rng()",
        "numpy.random.default_rng(3).random()",
    ]
    report = toy.record(
        reader(statements, "import numpy\nfrom numpy.random import rand as bare_rand")
    ).replay()
    assert report.verdict == "UNVERIFIED"
    assert [read.step for read in report.outcome.sources] == [1, 3, 5]


@pytest.mark.further
@pytest.mark.parametrize(
    ("statement", "source"),
    [
        ("socket.create_connection(('127.0.0.1', 9), 1)", "network"),
        ("subprocess.run(['true'])", "a new process"),
    ],
)
def test_network_and_processes_are_out_of_reach(toy, statement, source):
    toy.record(reader(["pass"]))
    report = toy.change(
        "        pass\n        self.count", f"        {statement}\n        self.count"
    ).replay()
    assert report.verdict == "UNVERIFIED"
    assert source in [read.source for read in report.outcome.sources]
    assert "to record what another program answers: `@record_tool`" in str(report)


def test_a_difference_behind_an_unrecorded_read_proves_nothing(toy):
    toy.record(reader(["self.count = time.time()"]))
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert report.divergence is not None
    assert any("may be why the replay differs" in reason for reason in report.reasons)


@pytest.mark.further
def test_a_generator_that_is_shared_is_named(toy):
    toy.record("""
import random

class Gambler:
    def __init__(self, name, rng):
        self.agent_id, self.agent_role = name, "gambler"
        self.rng = rng

    @trace_agent_action
    def play(self):
        return self.rng.random()

def build(spec):
    return Gambler(spec.agent_id, random.Random())

def build_all(spec):
    rng = random.Random()
    return {name: Gambler(name, rng) for name in spec.agent_ids}

def main():
    rng = random.Random(1)
    agents = [Gambler("a", rng), Gambler("b", rng)]
    for _ in range(3):
        for agent in agents:
            agent.play()
    """)
    for name in ("a", "b"):
        report = toy.replay(f"last/{name}")
        assert report.verdict == "UNVERIFIED", name
        assert "a generator that others also draw from" in report.reasons[0]
    # Driven together, every draw happens again.
    assert toy.replay("last", factory="build_all").verdict == "IDENTICAL"


def test_a_generator_outside_the_state_is_named(toy):
    toy.record("""
import random
CHANCE = {"dice": random.Random(7)}

class Gambler:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "gambler"

    @trace_agent_action
    def play(self):
        return CHANCE["dice"].random()

def build(spec):
    return Gambler()

def main():
    Gambler().play()
    """)
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert "a random.Random outside the exposed state" in report.reasons[0]


OPAQUE = """
class Connection:
    def __init__(self):
        self.socket = object()

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "user"
        self.connection = Connection()
        self.count = 0

    @trace_agent_action
    def act(self, step):
        self.count += step
        return self.count

    @trace_agent_action
    def use(self, connection):
        self.count += 1
        return self.count

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent.act(1)
    agent.use({use})
"""


def test_an_opaque_argument_is_unverified_by_name(toy):
    report = toy.record(OPAQUE.format(use="Connection()")).replay()
    assert report.verdict == "UNVERIFIED"
    assert "argument connection of use of a" in report.reasons[0]
    assert "register_codec" in report.reasons[0]
    assert report.outcome.counts.covered == 1


@pytest.mark.further
def test_fields_that_cannot_be_seen_stand_in_the_first_line(toy):
    held = "import ctypes; self.text = ctypes.pointer(ctypes.c_int(1))"
    toy.record(
        OPAQUE.format(use="None").replace("        self.count = 0\n", f"        self.count = 0; {held}\n")
    )
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert report.unseen == ("text",)
    assert str(report).splitlines()[0].endswith("not seen: text")
    assert "--ignore text" in report.reasons[0]
    assert replay_run("last/a", f"{toy.name}:build", toy.root, ignore=["text"]).verdict == "IDENTICAL"


SECRETIVE = """
class Agent:
    def __init__(self, password):
        self.agent_id, self.agent_role = "a", "user"
        self.password = password
        self.count = 0

    @trace_agent_action
    def log_in(self, password):
        self.count += 1
        return {"ok": True, "password": password}

def build(spec):
    return Agent("another")

def main():
    Agent("correct horse").log_in("correct horse")
"""


def test_hidden_values_compare_as_equivalent(toy):
    report = toy.record(SECRETIVE).replay()
    assert (report.verdict, report.exit_code) == ("EQUIVALENT", 0), str(report)
    assert "redacted" in str(report)


@pytest.mark.further
def test_a_difference_behind_a_hidden_input_proves_nothing(toy):
    report = toy.record(SECRETIVE).change('"ok": True', '"ok": password == "correct horse"').replay()
    assert report.verdict == "UNVERIFIED"
    assert any("is redacted" in reason for reason in report.reasons)
    assert report.divergence.path == "/ok"


OUTSIDE = """
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "worker"
        self.budget = 10
        self.note = "x"

    @trace_agent_action
    def spend(self, amount):
        self.budget -= amount
        return self.budget

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent.spend(1)
    agent.budget = 100
    del agent.note
    agent.spend(1)
"""


def test_a_write_from_outside_is_imposed_where_it_was_recorded(toy):
    report = toy.record(OUTSIDE, state="strict").replay()
    assert report.verdict == "IDENTICAL", str(report)


def test_the_first_actions_look_for_writes_from_outside_and_each_does_once_there_were(toy):
    early = OUTSIDE + "    for step in range(20):\n        agent.budget = 50\n        agent.spend(1)\n"
    report = toy.record(early).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "a.budget" in str(report)


@pytest.mark.further
def test_a_late_write_from_outside_is_repeated(toy):
    late = OUTSIDE.replace(
        "    agent.spend(1)\n    agent.budget", "    [agent.spend(1) for _ in range(9)]\n    agent.budget"
    )
    report = toy.record(late).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording: a.budget" in str(report)


def test_a_restored_state_that_differs_ends_the_replay(toy):
    report = (
        toy.record(OUTSIDE, state="strict")
        .change('self.note = "x"', 'self.note = "x"; self.extra = 1')
        .replay()
    )
    assert report.verdict == "UNVERIFIED"
    assert "the restored state of a differs" in report.reasons[0]
    assert "extra" in report.reasons[0]


NOTES = """
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "noter"
        self.logger = AgentLogger("a", "noter")

    def act(self):
        self.logger.log_action("act", dict(x=1))

    @trace_agent_action
    def idle(self):
        pass

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent.act()
    agent.act()
    {more}
"""


def test_an_agent_with_only_notes_is_unverified_and_they_are_counted(toy):
    report = toy.record(NOTES.format(more="")).replay()
    assert report.verdict == "UNVERIFIED"
    assert "2 notes" in report.reasons[0]
    assert report.proof["notes"] == {"a": 2}


def test_actions_that_say_nothing_prove_nothing(toy):
    report = toy.record(NOTES.format(more="agent.idle()")).replay()
    assert report.verdict == "UNVERIFIED"
    assert "nothing informative" in report.reasons[0]
    assert report.outcome.counts.driven == 1


@pytest.mark.further
def test_hash_order_does_not_pass_as_identical(toy):
    toy.record("""
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "picker"

    @trace_agent_action
    def pick(self, names):
        return list(set(names))

def build(spec):
    return Agent()

def main():
    Agent().pick([f"name {number}" for number in range(40)])
    """)
    report = toy.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result")


@pytest.mark.further
def test_the_entropy_that_numpy_draws_beside_a_seed_is_no_chance(toy):
    calls = {
        "constant": "np.random.RandomState(5)",
        "local": "RandomState(\n            seed=SEED\n        )",
        "attribute": "RandomState(self.seed)",
        "sum": "RandomState(self.seed + self.n)",
        "none": "RandomState(self.nothing)",
        "bare": "RandomState()",
        "default": "np.random.default_rng()",
    }
    methods = "".join(f"    def {name}(self):\n        return {call}\n" for name, call in calls.items())
    toy.record(f"""
import numpy as np
from numpy.random import RandomState
from Agent import setup_logging, shutdown_logging
SEED = 4
class Drawer:
    agent_role = "drawer"
    def __init__(self, agent_id): self.agent_id, self.n, self.seed, self.nothing = agent_id, 0, 3, None
{methods}
    @trace_agent_action
    def step(self):
        drawn = getattr(self, self.agent_id)()
        self.n += int(drawn.bytes(2)[0])
        return self.n
def build(spec): return Drawer(spec.agent_id)
def main():
    for name in {list(calls)}: Drawer(name).step()
""")
    verdicts = {name: str(toy.replay(f"last/{name}").verdict) for name in calls}
    known = dict.fromkeys(["constant", "local", "attribute", "sum"], "IDENTICAL")
    assert verdicts == known | dict.fromkeys(["none", "bare", "default"], "UNVERIFIED")


PROGRESS = """
import time
from tqdm import tqdm

class Agent:
    agent_id, agent_role = "a", "r"
    @trace_agent_action
    def act(self, number): return sum(tqdm(range(number)))
    @trace_agent_action
    def timed(self): return [time.time() > 0 for _ in tqdm(range(2))]

def build(spec): return Agent()

def main():
    agent = Agent()
    for number in range(1, 4): agent.act(number)
"""


def test_clocks_that_a_progress_bar_reads_are_no_reason_and_those_of_the_program_are(toy):
    pytest.importorskip("tqdm")
    report = toy.record(PROGRESS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.record(PROGRESS.replace("agent.act(number)", "agent.timed()")).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert [read.source for read in report.outcome.sources] == ["time.time"], str(report)


TEMPORARY = """
import tempfile
from pathlib import Path

class Clerk:
    agent_id, agent_role = "a", "clerk"
    def __init__(self): self.pages = 0
    @trace_agent_action
    def write(self, text):
        with tempfile.TemporaryDirectory() as place:
            Path(place, "page").write_text(text)
            self.pages += 1
            return len(Path(place, "page").read_text())
def build(spec): return Clerk()
def main():
    tempfile.tempdir = None
    Clerk().write("a page")
"""


def test_names_of_temporary_files_count_only_where_the_program_keeps_them(toy):
    report = toy.record(TEMPORARY).replay()
    assert (report.verdict, report.outcome.sources) == ("IDENTICAL", []), str(report)
    kept = TEMPORARY.replace("self.pages += 1", "self.pages = place")
    report = toy.record(kept).replay()
    assert report.verdict == "UNVERIFIED", str(report)
