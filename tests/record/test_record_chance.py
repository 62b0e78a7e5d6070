"""Chance, time and environment: what is kept of reads, by whom, and that nothing of it stays behind."""

import asyncio
import copy
import datetime
import functools
import gc
import os
import pickle
import random
import secrets
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from random import choice as bound_choice
from random import random as bound_random
from time import time as bound_time

import orjson
import pytest

from Agent import trace_agent_action
from Agent.errors import ConfigurationError
from Agent.record.emit import installed
from Agent.record.sources import sources
from Agent.record.sources.generators import adopted_of, release_random
from Agent.record.sources.sources import adopt, adoption_of, recorded_sources

HERE = sys.modules[__name__]


def hidden(clock=time.monotonic):
    return clock()


class Agent:
    """Does what it is told in a traced action."""

    agent_id, agent_role = "a", "reader"

    @trace_agent_action
    def act(self, body):
        return body()

    @trace_agent_action
    async def act_async(self, body):
        return await body()


@pytest.fixture(autouse=True)
def nothing_stays_adopted():
    yield
    assert not sources.source_patches.are_installed


@pytest.fixture
def act(recorded):
    """Runs a body in an action, and gives (what it gave, the `reads` of the event)."""
    agent = Agent()

    def run(body):
        given = agent.act(body)
        return given, recorded.of("agent_action")[-1]["extra"].get("reads")

    return run


def places():
    """Everything that a block replaces."""
    found = {}
    for module in (time, random, os, uuid, HERE):
        found.update({(module.__name__, name): value for name, value in vars(module).items()})
    found.update({("environ", name): value for name, value in vars(type(os.environ)).items()})
    found.update(
        {("hidden", name): value for name, value in vars(random._inst).items() if name != "gauss_next"}
    )
    found["now"] = vars(datetime.datetime)["now"], vars(datetime.datetime)["utcnow"]
    return found


def differing(before, after):
    return [
        key
        for key in before.keys() | after.keys()
        if key != "now" and before.get(key, differing) is not after.get(key, differing)
    ]


READS = {
    "time.time": time.time,
    "time.perf_counter_ns": lambda: time.perf_counter_ns(),
    "datetime.datetime.now": lambda: datetime.datetime.now(),
    "uuid.uuid4": uuid.uuid4,
    "uuid.uuid1": uuid.uuid1,
    "os.urandom": lambda: os.urandom(4),
    "secrets": secrets.token_hex,
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "os.environ": lambda: os.environ.get("HOME"),
}


@pytest.mark.first_case
@pytest.mark.parametrize("source", READS)
def test_each_read_is_kept_under_its_source(act, source):
    # By attribute, as code does: what a test holds itself was bound before.
    body = {"time.time": lambda: time.time()}.get(source, READS[source])
    with recorded_sources():
        _, reads = act(body)
    assert list(reads) == [source]
    assert len(reads[source]) == 1


@pytest.mark.further
def test_nothing_is_kept_before_and_behind_a_block(act):
    assert act(lambda: (time.time(), random.random(), os.environ["PATH"]))[1] is None
    with recorded_sources():
        pass
    assert act(lambda: (time.time(), random.random(), os.environ["PATH"]))[1] is None
    assert installed.open_reads is None


@pytest.mark.further
def test_values_are_kept_as_they_were_given(act):
    def body():
        return [time.time(), datetime.datetime.now(), os.urandom(3), time.monotonic_ns()]

    with recorded_sources():
        (clock, now, entropy, monotonic), reads = act(body)
    assert reads == {
        "time.time": [clock],
        "datetime.datetime.now": [now.isoformat()],
        "os.urandom": [entropy.hex()],
        "time.monotonic_ns": [monotonic],
    }


@pytest.mark.further
def test_names_that_were_bound_before_are_recorded_too(act):
    with recorded_sources():
        _, reads = act(lambda: (bound_time(), bound_random(), bound_choice("abc")))
    (key,) = (key for key in reads if key.startswith("random@"))
    assert reads["time.time"]
    assert reads[key][0][1] >= 3  # two words of random(), one at least of choice()


@pytest.fixture
def unanswered(monkeypatch):
    """Hidden clocks are noticed alone, as without the native part."""
    monkeypatch.setattr(sources, "answer_hidden_reads", lambda: None)


@pytest.mark.integration
@pytest.mark.skipif(sources.native is None, reason="built without its native part")
def test_a_clock_that_no_patch_reaches_is_kept_as_all_others(act):
    clock = functools.partial(time.time)  # bound before the patches are installed
    with recorded_sources() as block:
        (hid, ticks), reads = act(lambda: (hidden(), clock()))
    assert reads == {"time.monotonic": [hid], "time.time": [ticks]}
    assert block.unrecorded == ()
    assert act(lambda: hidden())[1] is None


@pytest.mark.further
@pytest.mark.usefixtures("unanswered")
@pytest.mark.parametrize("native", [sources.native, None])
def test_what_hides_from_the_patches_is_noticed_once_a_place_and_counted(act, recorded, monkeypatch, native):
    monkeypatch.setattr(sources, "native", native)
    with recorded_sources() as block:
        for _ in range(3):
            _, reads = act(lambda: hidden())
        found = [(read.source, read.function, read.file, read.count) for read in block.unrecorded]
    assert reads is None
    assert found == [("time.monotonic", "hidden", Path(__file__).name, 3)]
    first, last = recorded.of("source.read")
    assert (first["extra"]["call"], first["extra"]["line"]) == ("hidden", hidden.__code__.co_firstlineno + 1)
    assert "count" not in first["extra"] and last["extra"]["count"] == 3
    assert recorded.health.notes["a source was read past the recorder"] == 1


def test_an_instance_that_nobody_adopted_is_noticed(act):
    rng = random.Random(1)
    with recorded_sources() as block:
        act(lambda: rng.random())
        act(lambda: random.Random(3).random())  # seeded within: known
    assert [read.source for read in block.unrecorded] == ["a random.Random outside the exposed state"]


def test_adopting_one_generator_notices_others_but_no_clock(act, recorded):
    adopted, other = adopt(random.Random(1)), random.Random(2)
    act(lambda: (adopted.random(), hidden(), other.random()))
    assert [event["extra"]["source"] for event in recorded.of("source.read")] == [
        "a random.Random outside the exposed state"
    ]


def test_a_draw_past_an_adopted_generator_begins_a_new_base(act, recorded):
    rng = adopt(random.Random(1))
    _, first = act(lambda: rng.random())
    act(lambda: random.Random.random(rng))
    _, second = act(lambda: rng.random())
    assert first.keys() != second.keys()
    assert len(recorded.of("source.state")) == 2


@pytest.mark.integration
@pytest.mark.usefixtures("unanswered")
def test_notice_looks_at_some_calls_at_all_or_at_none(act):
    counts = {}
    for how in ("some", "all", "none"):
        with recorded_sources(notice=how) as block:
            for _ in range(100):
                act(lambda: hidden())
            counts[how] = sum(read.count for read in block.unrecorded)
    assert counts["all"] == 100 and counts["none"] == 0
    assert 32 <= counts["some"] < 40
    with pytest.raises(ConfigurationError, match="notice"):
        recorded_sources(notice="few")


def test_draws_are_a_position_and_a_count(act, recorded):
    rng = adopt(random.Random(3))
    _, first = act(lambda: (rng.random(), rng.getrandbits(33)))
    rng.random()  # outside of any action: it moves the position on
    _, second = act(lambda: [rng.random() for _ in range(3)])
    state = recorded.only("source.state")
    key = f"random@{state['id']}"
    assert (first, second) == ({key: [[0, 4]]}, {key: [[6, 6]]})
    assert state["extra"]["value"][1][-1] == 624


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.random(),
        lambda rng: [rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 1)],
        lambda rng: [rng.choice("abc"), rng.shuffle(list("abcdef")), rng.sample(range(99), 9)],
        lambda rng: [rng.randbytes(9), rng.getrandbits(0), rng.getrandbits(64), rng.randint(1, 10**30)],
        lambda rng: [
            rng.betavariate(1, 2),
            rng.normalvariate(0, 1),
            rng.triangular(),
            rng.choices("ab", k=4),
        ],
    ],
)
def test_an_adopted_generator_draws_what_it_would_have_drawn(act, draw):
    rng = adopt(random.Random(11))
    drawn, _ = act(lambda: draw(rng))
    assert drawn == draw(random.Random(11))


def test_the_position_is_where_the_generator_stands(act):
    rng = adopt(random.Random(11))
    for number in range(1, 40):
        _, reads = act(
            lambda number=number: (
                rng.random(),
                rng.getrandbits(number),
                rng.gauss(0, 1),
                rng.choice("abcde"),
            )
        )
    (((position, _, *_),),) = reads.values()
    mover = random.Random(11)
    mover.getrandbits(32 * position)
    before = random.Random(11)
    for number in range(1, 39):
        before.random(), before.getrandbits(number), before.gauss(0, 1), before.choice("abcde")
    assert mover.getstate()[1] == before.getstate()[1]


def test_seeding_begins_a_new_base_and_equal_ones_are_told_once(act, recorded):
    rng = adopt(random.Random(1))
    keys = set()
    for seed in (5, 6, 5, 5):
        _, reads = act(lambda seed=seed: (rng.seed(seed), rng.random()))
        keys.update(reads)
    state = rng.getstate()
    act(lambda: rng.setstate(state))
    assert len(keys) == len(recorded.of("source.state")) == 2


def test_adopting_twice_changes_nothing():
    rng = random.Random(1)
    assert adopt(rng) is rng
    methods = dict(vars(rng))
    assert adopt(rng) is rng
    assert vars(rng) == methods
    release_random(rng)
    assert list(vars(rng)) == ["gauss_next"]


def test_copies_and_pickles_of_an_adopted_generator_are_plain_ones_in_its_state(act):
    rng = adopt(random.Random(1))
    rng.random()
    for twin in (copy.copy(rng), copy.deepcopy(rng), pickle.loads(pickle.dumps(rng))):
        assert adoption_of(twin) is None
        assert twin.random() == pickle.loads(pickle.dumps(rng)).random()


class Loaded(random.Random):
    """Draws by a method of its own."""

    def random(self):
        return 0.25 + super().random() / 2


class Named(random.Random):
    """Has nothing of its own that draws."""

    name = "x"


@pytest.mark.further
def test_a_generator_with_methods_of_its_own_is_kept_by_value(act):
    rng, system = adopt(Loaded(1)), adopt(random.SystemRandom())
    with recorded_sources():
        (one, two, three), reads = act(lambda: (rng.random(), system.random(), system.getrandbits(70)))
    assert sorted(reads.values(), key=len) == [[[one]], [[two, f"{three:#x}/70"]]]
    assert all(key.startswith("draws@") for key in reads)
    assert type(adopted_of(adopt(Named(1)))).__name__ == "AdoptedRandom"


def test_what_cannot_be_adopted_comes_back_and_is_counted(recorded):
    thing = object()
    assert adopt(thing) is thing
    assert adopt(time) is time
    assert adopt(None) is None
    assert sum(count for note, count in recorded.health.notes.items() if "cannot be adopted" in note) == 3
    assert installed.open_reads is None


@pytest.mark.further
def test_leaving_puts_everything_back_exactly():
    before = places()
    with recorded_sources():
        assert time.time is not before["time", "time"]
        assert bound_time is time.time and bound_random is random.random
        HERE.bound_meanwhile = time.monotonic
        with recorded_sources():
            pass
        assert time.time is not before["time", "time"]
    assert HERE.bound_meanwhile is time.monotonic
    del HERE.bound_meanwhile
    assert differing(before, places()) == []
    assert before["now"] == places()["now"]


@pytest.mark.further
def test_an_exception_in_a_block_goes_on_and_everything_is_put_back(recorded):
    before = places()
    with pytest.raises(KeyError, match="mine"), recorded_sources():
        raise KeyError("mine")
    assert differing(before, places()) == []
    agent = Agent()
    with recorded_sources(), pytest.raises(ZeroDivisionError):
        agent.act(lambda: (time.time(), 1 / 0))
    assert "time.time" in recorded.of("agent_action")[-1]["extra"]["reads"]


def test_somebody_who_replaces_a_function_meanwhile_keeps_it(monkeypatch):
    original = time.time
    try:
        with recorded_sources():
            time.time = mine = lambda: 1.0
        assert time.time is mine
    finally:
        time.time = original


@pytest.mark.further
def test_a_subclass_of_datetime_gives_its_own_and_a_patched_one_is_left_alone(act, monkeypatch):
    class Stamp(datetime.datetime):
        pass

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2000, 1, 1, tzinfo=tz)

    now = datetime.datetime.now
    with recorded_sources() as block:
        stamp, reads = act(Stamp.now)
        assert type(stamp) is Stamp and reads["datetime.datetime.now"] == [stamp.isoformat()]
        monkeypatch.setattr(datetime, "datetime", Fixed)
        fixed, reads = act(lambda: datetime.datetime.now())
        assert (fixed.year, reads) == (2000, None)
        monkeypatch.undo()
        given, reads = act(lambda: now())  # bound before
        is_answered = sources.native is not None
        assert reads == ({"datetime.datetime.now": [given.isoformat()]} if is_answered else None)
    assert [read.source for read in block.unrecorded] == ([] if is_answered else ["datetime.datetime.now"])
    assert pickle.loads(pickle.dumps(datetime.datetime.now())).year >= 2024


def test_what_the_event_loop_logging_and_this_package_read_does_not_count(act):
    import logging

    async def wait():
        await asyncio.sleep(0.001)

    with recorded_sources() as block:
        _, reads = act(lambda: (asyncio.run(wait()), logging.getLogger("x").debug("y"), Agent().act(int)))
    assert reads is None
    assert block.unrecorded == ()


@pytest.mark.further
def test_a_nested_action_keeps_its_own_reads(act, recorded):
    rng = adopt(random.Random(1))
    inner = Agent()
    with recorded_sources():
        _, outer = act(
            lambda: (time.time(), rng.random(), inner.act(lambda: (time.time(), rng.random())), rng.random())
        )
    (key,) = (key for key in outer if "@" in key)
    assert outer[key] == [[0, 2], [4, 2]]
    assert recorded.of("agent_action")[-2]["extra"]["reads"][key] == [[2, 2]]
    assert len(outer["time.time"]) == 1


@pytest.mark.first_case
@pytest.mark.parametrize("number", [1, 3, 20])
@pytest.mark.parametrize("has_spare", [False, True])
def test_counted_draws_stand_as_the_codec_writes_them(recorded, number, has_spare):
    """Few are written without it."""
    rngs = [adopt(random.Random(seed)) for seed in range(number)]
    inner = Agent()
    inner.agent_id = "inner"

    def body():
        for at, rng in enumerate(rngs):
            rng.getrandbits(32 * 10**at if at < 6 else 1)
            inner.act(rng.random)
            if has_spare:
                rng.gauss(0, 1)
            rng.random()

    with recorded_sources():
        Agent().act(body)
    for line in recorded.sink.lines:
        if b'"reads":' in line:
            reads = orjson.loads(line)["extra"]["reads"]
            assert b'"reads":%s,' % orjson.dumps(reads) in line
    assert len(reads) == number


@pytest.mark.further
def test_threads_and_tasks_keep_what_their_own_actions_read(recorded):
    def read(number):
        with recorded_sources():
            for _ in range(50):
                Agent().act(lambda: [rng.random() for _ in range(number)])

    rng = adopt(random.Random(1))
    threads = [threading.Thread(target=read, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drawn = {}
    for event in recorded.of("agent_action"):
        ((_, segments),) = event["extra"]["reads"].items()
        for begin, count in segments:
            drawn.update({begin + word: None for word in range(count)})
        assert sum(count for _, count in segments) == 2 * len(event["extra"]["result"])
    assert sorted(drawn) == list(range(2 * 50 * 6))  # each word was drawn by one of them

    async def tasks():
        async def body():
            before = time.time()
            await asyncio.sleep(0)
            return [before, time.time()]

        async with recorded_sources():
            return await asyncio.gather(*(Agent().act_async(body) for _ in range(3)))

    given = asyncio.run(tasks())
    kept = [event["extra"]["reads"]["time.time"] for event in recorded.of("agent_action")[-3:]]
    assert sorted(kept) == sorted(given)


@pytest.mark.further
@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_goes_on_from_the_same_base(act, recorded):
    rng = adopt(random.Random(1))
    act(lambda: rng.random())
    reading, writing = os.pipe()
    with recorded_sources():
        pid = os.fork()
        if pid == 0:
            with recorded_sources():
                _, reads = act(lambda: (rng.random(), time.time()))
            os.write(
                writing,
                repr(sorted((key.partition("@")[0], len(value)) for key, value in reads.items())).encode(),
            )
            os._exit(0)
        os.waitpid(pid, 0)
    assert os.read(reading, 1000) == b"[('random', 1), ('time.time', 1)]"


def test_a_generator_of_an_earlier_recording_is_told_anew():
    from record_kit import recording

    rng = adopt(random.Random(1))
    for _ in range(2):
        with recording() as recorded:
            Agent().act(lambda: rng.random())
            assert len(recorded.of("source.state")) == 1
            ((_, segments),) = recorded.only("agent_action")["extra"]["reads"].items()
            assert segments == [[0, 2]]


@pytest.mark.further
def test_names_of_variables_stand_in_clear_and_secrets_do_not(act, recorded, monkeypatch):
    monkeypatch.setenv("SERVICE_API_KEY", "correct horse battery")
    monkeypatch.setenv("SHOP_MODE", "fast")
    with recorded_sources():
        _, reads = act(
            lambda: [
                os.environ["SERVICE_API_KEY"][:0],
                os.getenv("SHOP_MODE"),
                os.getenv("NOT_THERE"),
                "SHOP_MODE" in os.environ,
            ]
        )
        _, whole = act(lambda: len(dict(os.environ)))
    assert reads["os.environ"].keys() == {"SERVICE_API_KEY", "SHOP_MODE", "NOT_THERE"}
    assert reads["os.environ"]["NOT_THERE"] is None
    assert reads["os.environ"]["SHOP_MODE"] == [["fast", 2]] or reads["os.environ"]["SHOP_MODE"] == "fast"
    assert set(whole["os.environ"]) == {*os.environ, "*"}
    assert "correct horse" not in recorded.text


def test_a_variable_that_changes_within_an_action_is_kept_in_order(act, monkeypatch):
    def body():
        monkeypatch.setenv("SHOP_MODE", "slow")
        first = os.environ["SHOP_MODE"]
        monkeypatch.setenv("SHOP_MODE", "fast")
        return [first, os.environ["SHOP_MODE"]]

    with recorded_sources():
        _, reads = act(body)
    assert [value for value, _ in reads["os.environ"]["SHOP_MODE"]][-2:] == ["slow", "fast"]


def test_errors_of_the_functions_themselves_are_their_own(act):
    rng = adopt(random.Random(1))
    with recorded_sources():
        for wrong in (
            lambda: time.time(1),
            lambda: os.urandom("x"),
            lambda: os.environ[3],
            lambda: rng.getrandbits("x"),
            lambda: rng.getrandbits(-1),
            lambda: time.localtime("x"),
            lambda: datetime.datetime.now("x"),
        ):
            with pytest.raises((TypeError, ValueError)):
                act(wrong)
        with pytest.raises(KeyError, match="NOT_THERE"):
            act(lambda: os.environ["NOT_THERE"])


@pytest.mark.further
def test_times_without_an_argument_read_the_clock_and_those_with_one_do_not(act):
    with recorded_sources():
        _, reads = act(
            lambda: [time.strftime("%Y", (2020, 1, 1, 0, 0, 0, 0, 1, 0)), time.gmtime(0), time.ctime(5)]
        )
        assert reads is None
        given, reads = act(lambda: time.gmtime())
    assert time.gmtime(reads["time.gmtime"][0]) == given


@pytest.mark.further
@pytest.mark.usefixtures("unanswered")
def test_a_profiler_that_is_at_work_is_left_alone(act, recorded):
    def profiler(*_):
        return None

    sys.setprofile(profiler)
    try:
        with recorded_sources() as block:
            act(lambda: hidden())
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    # Only a profile hook of our own would be in its way.
    has_hook = sources.touch_notice() is None
    assert bool(block.unrecorded) is not has_hook
    assert any("a profiler is at work" in note for note in recorded.health.notes) is has_hook


@pytest.mark.further
@pytest.mark.usefixtures("unanswered")
def test_a_clock_that_c_code_calls_is_noticed_by_the_native_watch_alone(act):
    clock = functools.partial(time.time)
    with recorded_sources() as block:
        _, reads = act(lambda: clock())  # bound before the patches were installed
    assert reads is None
    assert [read.source for read in block.unrecorded] == (["time.time"] if sources.touch_notice() else [])


@pytest.mark.further
@pytest.mark.process
def test_without_numpy_nothing_of_it_is_loaded():
    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "from Agent.flight import recorded_sources, recorder\n"
        "import random\n"
        "with recorded_sources(): recorder.adopt(random); recorder.adopt(object())\n"
        "assert 'numpy.random' not in sys.modules; print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "fine\n"


def test_numpy_generators_come_back_as_recorded_ones_over_the_same_stream(act, recorded):
    numpy = pytest.importorskip("numpy")
    plain = numpy.random.default_rng(3)
    rng = adopt(plain)
    assert isinstance(rng, numpy.random.Generator) and adoption_of(rng) is not None and adopt(rng) is rng
    assert rng.bit_generator is plain.bit_generator
    drawn, reads = act(lambda: [rng.random(), rng.permutation(4).tolist(), rng.normal(size=2).tolist()])
    twin = numpy.random.default_rng(3)
    assert drawn == [twin.random(), twin.permutation(4).tolist(), twin.normal(size=2).tolist()]
    (((state, calls, mark),),) = reads.values()
    assert (state[0], calls) == ("PCG64", 3)
    assert int(state[1], 16) == numpy.random.default_rng(3).bit_generator.state["state"]["state"]
    assert mark == twin.bit_generator.state["state"]["state"] % 2**32
    assert adoption_of(copy.deepcopy(rng)) is None and adoption_of(pickle.loads(pickle.dumps(rng))) is None


def test_numpys_old_generators_and_its_module_are_recorded(act, recorded):
    numpy = pytest.importorskip("numpy")
    old = adopt(numpy.random.RandomState(3))
    rand = numpy.random.rand
    with recorded_sources():
        drawn, reads = act(lambda: [old.rand(), numpy.random.rand(), numpy.random.default_rng().random() * 0])
        assert drawn[0] == numpy.random.RandomState(3).rand()
    assert numpy.random.rand is rand
    assert sorted(key.partition("@")[0] for key in reads) == ["numpy", "numpy", "random.SystemRandom"]
    assert len(recorded.of("source.state")) == 2


@pytest.mark.further
def test_adopted_modules_stay_adopted_behind_a_block(act):
    sources.release_random_module()
    before = places()
    try:
        adopt(random)
        with recorded_sources():
            pass
        _, reads = act(lambda: (random.random(), time.time()))
        assert [key.partition("@")[0] for key in reads] == ["random"]
    finally:
        sources.release_random_module()
    assert differing(before, places()) == []


def test_a_state_with_an_adopted_generator_is_exposed_as_before(recorded):
    numpy = pytest.importorskip("numpy")

    class Holder(Agent):
        def __init__(self):
            self.rng = adopt(random.Random(1))
            self.numbers = adopt(numpy.random.default_rng(1))

    Holder().act(int)
    event = recorded.of("state")[0]
    assert event["types"]["/extra/fields/rng"] == "random.Random"
    assert event["types"]["/extra/fields/numbers"] == "numpy.Generator"
    assert "unseen" not in event["extra"]


@pytest.mark.further
def test_a_callback_of_the_garbage_collector_reads_on_nobodys_behalf(act):
    def collected(_phase, _info, clock=time.perf_counter):
        clock()

    with recorded_sources(notice="all") as block:
        gc.callbacks.append(collected)
        try:
            act(lambda: gc.collect() and None)
        finally:
            gc.callbacks.remove(collected)
    assert block.unrecorded == ()
