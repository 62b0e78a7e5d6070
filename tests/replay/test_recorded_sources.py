"""Chance, time and environment that were recorded: a re-drive reads them again, no more and no less."""

import sys

import pytest

from Agent.record.sources import sources
from Agent.replay.drive.source_results import RecordedDraws

MODULE = """
import asyncio, datetime, os, random, secrets, time, uuid
from random import random as bare_random
from time import time as bare_time
from Agent.flight import recorded_sources
from Agent.flight import recorder
from Agent.utils import trace_performance
{imports}

class Stamp(datetime.datetime):
    pass

def hidden(clock=time.monotonic):
    return clock()

RNG = recorder.adopt(random.Random(7))

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "reader"
        self.seen = []

    @trace_agent_action
    def act(self):
        value = {statement}
        self.seen.append(repr(value))
        return repr(value)

def build(spec):
    return Agent()

def main():
    agent = Agent()
    with recorded_sources():
        for _ in range(3):
            agent.act()
"""


def module(statement, imports=""):
    return MODULE.format(statement=statement, imports=imports)


READ = [
    "time.time()",
    "bare_time()",
    "time.perf_counter_ns()",
    "[time.monotonic(), time.time_ns(), time.process_time()]",
    "[time.strftime('%f %S'), time.localtime(), time.ctime()]",
    "datetime.datetime.now()",
    "datetime.datetime.now(datetime.UTC)",
    "datetime.datetime.now(tz=datetime.timezone(datetime.timedelta(hours=2)))",
    "datetime.datetime.utcnow()",
    "[datetime.date.today(), datetime.datetime.today()]",
    "Stamp.now()",
    "uuid.uuid4()",
    "uuid.uuid1()",
    "os.urandom(5)",
    "[secrets.token_hex(4), secrets.randbelow(1000), secrets.choice('abcdef')]",
    "random.SystemRandom().random()",
    "random.random()",
    "bare_random()",
    "[random.choice('abc'), random.gauss(0, 1), random.randint(1, 9), random.sample(range(99), 5)]",
    "[random.gauss(0, 1) for _ in range(3)]",
    "[RNG.random(), RNG.getrandbits(100), RNG.randbytes(3), RNG.shuffle(list('abc'))]",
    "os.environ.get('HOME')",
    "[os.getenv('NOT_THERE'), 'HOME' in os.environ, len(list(os.environ))]",
]


def test_what_was_recorded_is_read_again(toy):
    # all in one recording, each in actions of its own; `act` reads none
    actions = "".join(
        f"""
    @trace_agent_action
    def act_{number}(self):
        value = {statement}
        self.seen.append(repr(value))
        return repr(value)
"""
        for number, statement in enumerate(READ)
    )
    called = "".join(f"            agent.act_{number}()\n" for number in range(len(READ)))
    text = module("0").replace("\ndef build(spec)", f"{actions}\ndef build(spec)")
    report = toy.record(text.replace("            agent.act()\n", called)).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.sources == []
    assert report.outcome.counts.driven == 3 * len(READ)


def test_a_new_generator_that_nobody_adopted_and_that_c_seeds_proves_nothing(toy):
    report = toy.record(module("random.Random().random()")).replay()
    assert report.verdict == "UNVERIFIED", str(report)


@pytest.mark.further
def test_numpy_draws_are_drawn_again(toy):
    imports = (
        "import numpy\nfrom numpy.random import rand as bare_rand\n"
        "GENERATOR = recorder.adopt(numpy.random.default_rng(3))\n"
        "OLD = recorder.adopt(numpy.random.RandomState(3))\n"
        "OTHER = recorder.adopt(numpy.random.Generator(numpy.random.Philox(4)))"
    )
    statement = (
        "[GENERATOR.normal(size=3), GENERATOR.permutation(5), OLD.normal(), OTHER.integers(9), "
        "numpy.random.rand(2), bare_rand(), numpy.random.default_rng().random()]"
    )
    report = toy.record(module(statement, imports)).replay()
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after", "recorded"),
    [
        ("time.time()", "[time.time(), time.time()][0]", "1 reads of time.time"),
        ("[uuid.uuid4(), uuid.uuid4()][0]", "uuid.uuid4()", "2 reads of uuid.uuid4"),
        ("RNG.random()", "[RNG.random(), RNG.random()][0]", "2 words from a random.Random"),
        ("[RNG.random(), RNG.random()][0]", "RNG.random()", "4 words from a random.Random"),
        ("random.random()", "[random.random(), random.choice('ab')][0]", "2 words from a random.Random"),
    ],
)
def test_a_read_more_or_less_is_a_difference(toy, before, after, recorded):
    report = toy.record(module(before)).change(f"value = {before}", f"value = {after}").replay()
    assert (report.verdict, report.exit_code) == ("DIVERGED", 1), str(report)
    assert (report.divergence.step, report.divergence.field) == (1, "reads")
    assert report.divergence.recorded == recorded


HELD = "DICE = recorder.adopt(random.SystemRandom(), name='dice')"


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after", "recorded", "replayed"),
    [
        (
            "secrets.token_hex(4)",
            "secrets.token_hex(5)",
            "a read of 4 bytes from secrets",
            "a read of 5 bytes, by",
        ),
        ("os.urandom(16)", "os.urandom(8)", "a read of 16 bytes from os.urandom", "a read of 8 bytes, by"),
        (
            "secrets.randbits(8)",
            "secrets.randbits(64)",
            "a read of 1 byte from random.SystemRandom",
            "a read of 8",
        ),
        ("DICE.getrandbits(8)", "DICE.getrandbits(64)", "an integer of 8 bits", "an integer of 64 bits, by"),
        ("DICE.getrandbits(8)", "DICE.random()", "an integer of 8 bits", "a float, by"),
        ("DICE.random()", "DICE.getrandbits(8)", "a float", "an integer of 8 bits, by"),
    ],
)
def test_a_recorded_value_of_another_size_than_is_asked_for_is_a_difference(
    toy, before, after, recorded, replayed
):
    toy.record(module(before, HELD))
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change(f"value = {before}", f"value = {after}").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "reads"), str(report)
    assert report.divergence.recorded == recorded
    assert report.divergence.replayed.startswith(replayed)


def test_a_draw_whose_bits_an_earlier_version_did_not_record_has_at_most_those_asked_for():
    draws = RecordedDraws("draws", "draws@dice", "dice", [["0x1f", 0.5, "0x1f/8"]])
    draws.take(1, lambda _: None)
    assert draws.fits(5)
    assert draws.fits(64)
    assert not draws.fits(4)
    draws.take(1, lambda _: None)
    assert draws.fits(None)
    draws.take(1, lambda _: None)
    assert draws.fits(8)
    assert not draws.fits(5)


@pytest.mark.further
def test_numpy_calls_that_draw_another_number_of_values_are_a_difference(toy):
    imports = "import numpy\nG = recorder.adopt(numpy.random.default_rng(3))"
    toy.record(module("G.random(2)[0]", imports))
    report = toy.change("value = G.random(2)[0]", "value = G.random(3)[0]").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "reads")


def test_a_source_of_which_the_record_holds_nothing_is_unverified_by_its_place(toy):
    report = (
        toy.record(module("time.time()"))
        .change("value = time.time()", "value = time.time(); uuid.uuid4()")
        .replay()
    )
    assert report.verdict == "UNVERIFIED"
    assert [read.source for read in report.outcome.sources] == ["uuid.uuid4"]
    assert report.outcome.sources[0].function == "Agent.act"


@pytest.mark.further
def test_a_generator_that_is_seeded_otherwise_is_a_difference(toy):
    toy.record(module("[RNG.seed(5), RNG.random()]"))
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change("RNG.seed(5)", "RNG.seed(6)").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "reads")
    assert "seeded differently" in report.divergence.replayed


SHARED = """
import random
from Agent.flight import recorder

class Gambler:
    def __init__(self, name, rng):
        self.agent_id, self.agent_role = name, "gambler"
        self.rng = rng
        self.sum = 0.0

    @trace_agent_action
    def play(self, other=None):
        value = self.rng.random()
        if other is not None:
            other.play()
        value += self.rng.gauss(0, 1)
        self.sum += value
        return value

def build(spec):
    return Gambler(spec.agent_id, random.Random())

def build_adopted(spec):
    return Gambler(spec.agent_id, recorder.adopt(random.Random()))

def main():
    rng = recorder.adopt(random.Random(1))
    agents = [Gambler("a", rng), Gambler("b", rng)]
    for number in range(300):
        agents[0].play(agents[1] if number % 3 == 0 else None)
        rng.random()  # outside of any action
        agents[1].play()
"""


@pytest.mark.further
def test_one_agent_draws_again_from_a_generator_that_others_share(toy):
    toy.record(SHARED)
    for name, factory in (("a", "build"), ("b", "build"), ("b", "build_adopted")):
        report = toy.replay(f"last/{name}", factory=factory)
        assert report.verdict == "IDENTICAL", (name, str(report))
        assert report.outcome.counts.driven >= 300
        assert report.outcome.counts.full_states >= 1


@pytest.mark.further
def test_changed_code_over_a_shared_generator_diverges(toy):
    toy.record(SHARED)
    report = toy.change("value = self.rng.random()", "value = self.rng.random() * 2").replay("last/b")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


CALLS = """
import random, time
from Agent.flight import record_tool, recorded_sources

@record_tool
def look_up(name):
    return [name, time.time(), random.random()]

class Peer:
    agent_id, agent_role = "peer", "peer"

    @trace_agent_action
    def answer(self):
        return [time.time(), random.random()]

class Agent:
    def __init__(self, peer):
        self.agent_id, self.agent_role = "a", "caller"
        self.peer = peer
        self.last = None

    @trace_agent_action
    def act(self):
        before = [time.time(), random.random()]
        self.last = [before, look_up("x"), random.random(), self.peer.answer(), random.gauss(0, 1), time.time()]
        return self.last

def build(spec):
    return Agent(spec.peer("peer"))

def build_both(spec):
    peer = Peer()
    return {"a": Agent(peer), **spec.nested, "peer": peer}

def main():
    agent = Agent(Peer())
    with recorded_sources():
        for _ in range(3):
            agent.act()
"""


def test_what_tools_and_answered_peers_read_is_not_read_again(toy):
    toy.record(CALLS)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.replay("last", factory="build_both")
    assert report.verdict == "IDENTICAL", str(report)


TASKS = """
import asyncio, random, time, uuid
from Agent.flight import recorded_sources

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "async"
        self.last = None

    async def part(self, number):
        await asyncio.sleep(0)
        return [number, random.random(), time.time(), str(uuid.uuid4())]

    @trace_agent_action
    async def act(self):
        async with recorded_sources():
            self.last = await asyncio.gather(*(self.part(number) for number in range(4)))
        return self.last

def build(spec):
    return Agent()

async def run():
    agent = Agent()
    async with recorded_sources():
        for _ in range(2):
            await agent.act()

def main():
    asyncio.run(run())
"""


@pytest.mark.further
def test_tasks_of_one_action_read_again_what_they_read(toy):
    report = toy.record(TASKS).replay()
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_hidden_variable_makes_the_verdict_equivalent(toy, monkeypatch):
    monkeypatch.setenv("SERVICE_API_KEY", "correct horse battery")
    toy.record(module("len(os.environ['SERVICE_API_KEY']) > 3"))
    assert "correct horse" not in "".join(p.read_text() for p in toy.root.rglob("*.log"))
    monkeypatch.delenv("SERVICE_API_KEY")
    report = toy.replay()
    assert report.verdict == "EQUIVALENT", str(report)
    assert "SERVICE_API_KEY" in str(report)


@pytest.mark.further
def test_a_variable_has_the_recorded_value_whatever_the_process_has(toy, monkeypatch):
    monkeypatch.setenv("SHOP_MODE", "fast")
    toy.record(module("os.environ.get('SHOP_MODE')"))
    monkeypatch.setenv("SHOP_MODE", "slow")
    assert toy.replay().verdict == "IDENTICAL"


@pytest.mark.further
def test_a_state_that_is_missing_in_the_record_is_unverified(toy):
    toy.record(module("RNG.random()"))
    (log,) = toy.root.glob("session_*/system.log")
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "source.state" not in line))
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert any("not in the recording" in reason for reason in report.reasons)


@pytest.mark.further
def test_the_factory_is_told_what_was_recorded(toy):
    toy.record(module("[time.time(), time.time(), RNG.random()]"))
    toy.change(
        "def build(spec):\n",
        "def build(spec):\n    assert dict(spec.sources) == {'time.time': 6, 'random': 3}\n",
    )
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_numpys_generators_that_others_share_draw_again(toy):
    source = SHARED.replace("import random\n", "import numpy\n").replace("self.rng.gauss", "self.rng.normal")
    source = source.replace("random.Random(", "numpy.random.default_rng(")
    source = source.replace("return Gambler(spec.agent_id, numpy", "return Gambler(spec.agent_id, numpy")
    toy.record(source)
    report = toy.replay("last/b", factory="build_adopted")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.replay("last/b", factory="build")
    assert report.verdict == "UNVERIFIED", str(report)
    assert any("recorder.adopt()" in reason for reason in report.reasons)


@pytest.mark.further
def test_what_is_kept_as_a_shape_cannot_be_read_again(toy):
    toy.record(
        module("secrets.token_hex(8)"), captures={"field:secrets": "metadata", "field:result": "metadata"}
    )
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert [read.source for read in report.outcome.sources] == ["secrets"]


WITHOUT_NATIVE = "import Agent.record.sources.sources as watch\nwatch.native = None\nimport asyncio"


@pytest.mark.further
def test_a_read_that_went_round_when_it_was_recorded_casts_doubt_on_a_difference(toy, monkeypatch):
    monkeypatch.setattr(sources, "native", sources.native)  # the module takes it away, here and in the child
    toy.record(module("hidden() > 0").replace("import asyncio", WITHOUT_NATIVE))
    report = toy.change("value = hidden() > 0", "value = False").replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert any("time.monotonic was read unrecorded by hidden" in reason for reason in report.reasons)


@pytest.mark.further
def test_without_the_native_part_a_clock_that_no_seam_reaches_is_noticed_by_its_place(toy, monkeypatch):
    monkeypatch.setattr(sources, "native", sources.native)  # as above
    source = module("[hidden(), random.Random().random()]").replace("import asyncio", WITHOUT_NATIVE)
    report = toy.record(source).replay()
    assert report.verdict == "UNVERIFIED"
    found = {(read.source, read.function) for read in report.outcome.sources}
    assert ("time.monotonic", "hidden") in found
    assert {source for source, _ in found} == {"time.monotonic", "a random.Random outside the exposed state"}


HIDDEN_CLOCKS = """
import dataclasses, functools, time
from datetime import datetime
from time import perf_counter_ns
from Agent.flight import recorded_sources

@dataclasses.dataclass
class Stamp:
    ticks: int = dataclasses.field(default_factory=perf_counter_ns)
    made: object = dataclasses.field(default_factory=datetime.now)
    cpu: object = dataclasses.field(default_factory=functools.partial(time.process_time))

class Clock:
    def __init__(self): self.now = time.monotonic
CLOCK, TABLE = Clock(), {"ns": time.time_ns}

def closed(clock=time.thread_time): return lambda: clock()
READ = closed()
def default(now=time.time, moment=datetime.utcnow): return now(), moment()

class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self): self.stamps = []
    @trace_agent_action
    def act(self):
        self.stamps.append(Stamp())
        mapped = list(map(lambda read: read(), [time.time, datetime.now]))
        return [CLOCK.now(), TABLE["ns"](), READ(), default(), mapped, next(iter(time.perf_counter, None))]

def build(spec): return Agent()
def main():
    agent = Agent()
    with recorded_sources():
        for _ in range(3):
            agent.act()
"""


@pytest.mark.further
@pytest.mark.skipif(sources.native is None, reason="built without its native part")
def test_clocks_in_default_arguments_closures_factories_and_c_code_give_what_was_recorded(toy):
    report = toy.record(HIDDEN_CLOCKS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("default(), mapped", "default(), mapped, TABLE['ns']() and 1").replay()
    assert report.verdict == "DIVERGED"


OWN = """
import random
from Agent.flight import recorder

class Odd(random.Random):
    def random(self):
        return super().random() / 2

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "owner"
        self.rng = {adopted}
        self.count = 0

    @trace_agent_action
    def count_up(self):
        self.count += 1{first}
        return self.count

    @trace_agent_action
    def draw(self):
        return {draw}

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for _ in range(3):
        agent.count_up()
        agent.draw()
"""
ADOPTED = {
    "random": ("recorder.adopt(random.Random(1))", "self.rng.random()"),
    "odd": ("recorder.adopt(Odd(1))", "self.rng.random()"),
    "numpy": ("recorder.adopt(__import__('numpy').random.default_rng(1))", "self.rng.random()"),
    "old": ("recorder.adopt(__import__('numpy').random.RandomState(1))", "self.rng.rand()"),
}


@pytest.mark.first_case
@pytest.mark.parametrize("kind", ADOPTED)
def test_a_draw_in_an_action_that_drew_nothing_is_never_green(toy, kind):
    adopted, draw = ADOPTED[kind]
    toy.record(OWN.format(adopted=adopted, draw=draw, first=""))
    assert toy.replay().verdict == "IDENTICAL"
    # It changes what every later draw gives, though each of those is put where the record has it.
    report = toy.change("self.count += 1", f"self.count += 1; {draw}").replay()
    assert report.verdict in {"UNVERIFIED", "DIVERGED"}, str(report)
    assert "Agent.count_up" in str(report)


@pytest.mark.first_case
@pytest.mark.further
@pytest.mark.parametrize("kind", ["random", "odd", "old"])
def test_another_seed_is_a_difference_though_it_is_drawn_from_in_a_later_action(toy, kind):
    adopted, draw = ADOPTED[kind]
    toy.record(OWN.format(adopted=adopted, draw=draw, first="; self.rng.seed(5)"))
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change("self.rng.seed(5)", "self.rng.seed(6)").replay()
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.further
def test_a_generator_that_was_not_adopted_keeps_to_its_agents_state_beside_one_that_was(toy):
    source = OWN.format(
        adopted="recorder.adopt(random.Random(1))", draw="[self.own.random(), self.rng.random()]", first=""
    )
    toy.record(
        source.replace(
            "        self.count = 0\n", "        self.own = random.Random(2)\n        self.count = 0\n"
        )
    )
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(
        "[self.own.random(), self.rng.random()]",
        "[self.own.random(), self.rng.random(), self.own.random()][:2]",
    ).replay()
    assert report.verdict == "DIVERGED", str(report)


TWO = """
import random
from Agent.flight import recorder
{top}

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "owner"

    def trace_state(self):
        return dict(x=1)

    @trace_agent_action
    def draw(self):
        return [A.random(), B.random()]

def fill({given}):
    global A, B
    A, B = {first}, {second}

def build(spec):
    {build}
    return Agent()

def main():
    fill()
    agent = Agent()
    for _ in range(3):
        agent.draw()
"""


def two(
    top="",
    given="",
    first="recorder.adopt(random.Random(1))",
    second="recorder.adopt(random.Random(2))",
    build="fill()",
):
    return TWO.format(top=top, given=given, first=first, second=second, build=build)


@pytest.mark.further
def test_generators_that_change_places_are_never_green(toy):
    toy.record(two())
    assert toy.replay().verdict == "IDENTICAL"
    toy.change("[A.random(), B.random()]", "[B.random(), A.random()]")
    report = toy.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result"), str(report)


@pytest.mark.further
def test_another_generator_in_the_place_of_one_is_never_green(toy):
    toy.record(two().replace("[A.random(), B.random()]", "[A.random(), 1]"))
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change("[A.random(), 1]", "[B.random(), 1]").replay()
    assert report.verdict == "UNVERIFIED", str(report)


def test_generators_that_cannot_be_told_apart_prove_nothing_until_they_are_named(toy):
    elsewhere = "global A, B; A, B = recorder.adopt(random.Random(1)), recorder.adopt(random.Random(2))"
    report = toy.record(two(build=elsewhere)).replay()
    assert report.verdict == "UNVERIFIED"
    assert any("name=" in reason for reason in report.reasons)
    named = "recorder.adopt(random.Random({0}), 'g{0}')"
    one, other = named.format(1), named.format(2)
    toy.record(two(first=one, second=other, build=f"global A, B; B, A = {other}, {one}"))
    assert toy.replay().verdict == "IDENTICAL"


def test_one_generator_that_the_target_adopts_elsewhere_is_the_one(toy):
    source = two(build="global A, B; A = B = recorder.adopt(random.Random(9))").replace(
        "[A.random(), B.random()]", "[A.random(), 1]"
    )
    report = toy.record(source).replay()
    assert report.verdict == "IDENTICAL", str(report)


COMPILED_IDS = """
import sys, types
from Agent.flight import recorded_sources

class UUID:
    def __init__(self, int): self.int = int

def entropy():
    with open("/dev/urandom", "rb") as source:
        return int.from_bytes(source.read(16))

library = types.ModuleType("uuid_utils")
library.UUID, library._uuid7_int = UUID, lambda *_: entropy()
library.uuid4 = lambda: UUID(int=entropy())
sys.modules["uuid_utils"] = library
from uuid_utils import _uuid7_int

class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self): self.seen = []
    @trace_agent_action
    def act(self, number):
        self.seen += [_uuid7_int(None, None), library.uuid4().int]
        return number * 2

def build(spec): return Agent()

def main():
    agent = Agent()
    with recorded_sources():
        for number in range(3): agent.act(number)
"""


@pytest.mark.further
def test_ids_that_a_compiled_library_makes_are_recorded_and_answered(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "uuid_utils", None)
    report = toy.record(COMPILED_IDS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("number * 2", "number * 3").replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", 2, "result")
    report = toy.change("_uuid7_int(None, None)", "_uuid7_int(None, None) or _uuid7_int()").replay()
    assert report.verdict == "DIVERGED", str(report)


def test_unrecorded_ids_of_a_compiled_library_do_not_count_where_nothing_keeps_them(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "uuid_utils", None)
    source = COMPILED_IDS.replace("with recorded_sources():", "if True:").replace("self.seen +=", "_ =")
    report = toy.record(source).replay()
    assert report.verdict == "IDENTICAL", str(report)
