"""Writes to an agent between its actions, by others that are driven and by others that are not."""

import pytest

from Agent.replay import fork_run

SHARED = """
class Purse:
    def __init__(self):
        self.agent_id, self.agent_role = "purse", "purse"
        self.coins = 10
        self.looks = 0

    @trace_agent_action
    def look(self):
        self.looks += 1
        return self.looks

class Giver:
    def __init__(self, purse):
        self.agent_id, self.agent_role = "giver", "giver"
        self.purse = purse
        self.given = 0

    @trace_agent_action
    def give(self, amount):
        self.given += amount
        self.purse.coins += amount
        return self.given

def make():
    purse = Purse()
    return {"giver": Giver(purse), "purse": purse}

def build(spec):
    return make()

def main():
    agents = make()
    for amount in (1, 2, 3):
        agents["purse"].look()
        agents["giver"].give(amount)
        agents["purse"].look()
        {more}
"""
COINS = "self.purse.coins += amount"


def test_what_one_driven_agent_writes_to_another_is_not_put_in_over_it(toy):
    report = toy.record(SHARED.replace("{more}", "pass"), state="strict").replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(COINS, COINS + " + (amount == 2)").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 6), str(report)
    assert (report.divergence.agent_id, report.divergence.field) == ("purse", "state.coins")


def test_a_write_of_another_agent_that_comes_out_otherwise_diverges_where_no_code_changed(toy):
    source = "BONUS = 0\n" + SHARED.replace("{more}", "pass").replace(COINS, COINS + " + BONUS")
    report = toy.record(source, state="strict").change("BONUS = 0", "BONUS = 1").replay("last")
    assert report.verdict == "DIVERGED", str(report)
    assert (report.divergence.agent_id, report.divergence.field) == ("purse", "state.coins")


LETTERS = """
from collections import deque

class Reader:
    def __init__(self):
        self.agent_id, self.read, self.hp, self.rate = "reader", 0, 10, 1.0
        self.inbox, self.seen, self.notes, self.queue = [], set(), {}, deque()

    @trace_agent_action
    def open(self):
        self.read += self.rate
        return self.read

def tell(reader, number):
    pass
    # told

class Writer:
    def __init__(self, name, reader):
        self.agent_id, self.reader, self.count = name, reader, 0

    @trace_agent_action
    def write(self, number):
        self.count += 1
        tell(self.reader, number)
        {write}
        return self.count

    @trace_agent_action
    def ask(self):
        return self.reader.open()

def make():
    reader = Reader()
    return {"reader": reader, "one": Writer("one", reader), "two": Writer("two", reader)}

def build(spec):
    return make() if spec.agent_id is None else make()[spec.agent_id]

agents = make()

def main():
    reader = agents["reader"]
    for number in range({steps}):
        if number % 3 == 1:
            {outside}
        agents["one"].write(number)
        agents["two"].{second}
        {last}
"""
LETTER_WRITES = [
    "self.reader.hp -= 1",
    "self.reader.inbox.append(number)",
    "self.reader.seen.add(number)",
    "self.reader.notes[str(number)] = number",
    "self.reader.queue.append((number, self.count))",
    "self.reader.late = number",
]


def _letters(write="pass", outside="pass", second="ask()", last="reader.open()", steps=6):
    source = LETTERS.replace("{steps}", str(steps)).replace("{write}", write).replace("{outside}", outside)
    return source.replace("{second}", second).replace("{last}", last)


@pytest.mark.first_case
@pytest.mark.parametrize("write", LETTER_WRITES)
@pytest.mark.parametrize("last", ["reader.open()", "pass"], ids=["acts itself", "acts inside others"])
def test_a_write_to_another_agent_that_no_longer_happens_diverges(toy, write, last):
    toy.record(_letters(write, last=last))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert not report.proof["imposed"], str(report)
    report = toy.change(write + "\n        return", "pass\n        return").replay("last")
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.step <= 6, str(report)  # the first one is in the first state


def test_a_write_in_code_that_is_not_compared_that_no_longer_happens_diverges(toy):
    source = _letters(second="write(number)").replace(
        "pass\n    # told", "reader.inbox.append(number)\n    # told"
    )
    report = toy.record(source).change("reader.inbox.append(number)\n    # told", "pass").replay("last")
    assert (report.verdict, report.divergence.agent_id) == ("DIVERGED", "reader"), str(report)
    assert "what one, two wrote to reader" in str(report)


def test_a_last_write_to_an_agent_that_acts_no_more_diverges_where_it_no_longer_happens(toy):
    source = _letters("self.reader.hp -= number", second="write(1)", last="number < 3 and reader.open()")
    toy.record(source)
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.reader.hp -= number", "self.reader.hp -= number if number < 4 else 0").replay(
        "last"
    )
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "outside", ["reader.rate += 1", "reader.inbox.append(number)", "reader.new = number"]
)
@pytest.mark.parametrize("last", ["reader.open()", "pass"], ids=["acts itself", "acts inside others"])
def test_what_code_outside_of_actions_writes_is_put_in_before_whoever_acts_next(toy, outside, last):
    write = "self.count += len(self.reader.inbox) + int(self.reader.rate)"
    toy.record(_letters(write, outside, last=last, steps=40))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.proof["imposed"], str(report)
    assert toy.replay("last/reader").verdict == "IDENTICAL"
    report = toy.change("self.read += self.rate", "self.read += self.rate + 1").replay("last")
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "late"])
def test_agents_and_code_outside_may_write_to_the_same_list(toy, late):
    outside = "number > 50 and reader.inbox.append('main')" if late else "reader.inbox.append('main')"
    write = "number % 2 or self.reader.inbox.append(number)"
    toy.record(_letters(write, outside, steps=70 if late else 12))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(write, "pass").replay("last")
    assert report.verdict == "DIVERGED", str(report)


def test_one_agent_alone_does_not_ask_whose_write_it_was(toy):
    toy.record(_letters("self.reader.inbox.append(number)", second="write(number)"))
    report = toy.change("self.reader.inbox.append(number)", "pass").replay("last/reader")
    assert report.verdict == "IDENTICAL", str(report)


def test_a_write_to_another_agent_that_the_record_does_not_hold_diverges(toy):
    toy.record(SHARED.replace("{more}", "pass"), state="strict")
    report = toy.change("return self.given", "self.purse.extra = amount; return self.given").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 3), str(report)
    assert (report.divergence.agent_id, report.divergence.field) == ("purse", "state.extra")
    assert report.divergence.recorded == "<not written>"


def test_a_strict_recording_repeats_writes_to_an_agent_that_acts_inside_another_or_behind_it(toy):
    nested = SHARED.replace("self.purse.coins += amount", "self.purse.coins += amount; self.purse.look()")
    for source in (
        nested.replace("{more}", "pass"),
        nested.replace("{more}", "agents['purse'].coins = 50"),
        SHARED.replace("{more}", "agents['purse'].coins = 50; agents['giver'].give(5)"),
    ):
        report = toy.record(source, state="strict").replay("last")
        assert report.verdict == "IDENTICAL", str(report)


def test_a_write_that_was_put_in_is_named(toy):
    toy.record(SHARED.replace("{more}", "agents['purse'].coins = 50"), state="strict")
    report = toy.replay("last/purse")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.proof["imposed"]["purse.coins"] >= 2
    assert "written from outside, repeated from the recording: purse.coins" in str(report)


LATE = """
class Trader:
    def __init__(self):
        self.agent_id, self.quotes, self.orders, self.said = "a", 0, [1, 2], 0

    @trace_agent_action
    def respond(self):
        self.said += 1
        return self.said

def build(spec):
    return Trader()

def main():
    trader = Trader()
    for number in range(20):
        trader.respond()
        {more}
"""


@pytest.mark.parametrize(
    "write",
    [
        "trader.quotes = number",
        "trader.orders.append(number)",
        "trader.orders[0] = number",
        "trader.new = number",
    ],
)
def test_a_field_that_is_first_written_from_outside_late_is_put_in(toy, write):
    toy.record(LATE.replace("{more}", f"if number > 12: {write}"))
    report = toy.replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording: a." in str(report)


def test_a_write_before_a_periodic_state_is_recorded_and_put_in(toy):
    source = """
class Counter:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "counter"
        self.count = 0

    @trace_agent_action
    def act(self):
        self.count += 1
        return self.count

def build(spec):
    return Counter()

def main():
    counter = Counter()
    for number in range(260):
        if number == 256:
            counter.count = 1000
        counter.act()
"""
    report = toy.record(source, state="strict").replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.full_states >= 1


LARGE = """
import random

class Keeper:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "keeper"
        self.rng = random.Random(3)
        self.rows = [0] * 3000

    @trace_agent_action
    def act(self, number):
        self.rows.append(number)
        return number

def build(spec):
    return Keeper()

KEPT = []

def main():
    keeper = Keeper()
    {keep}
    for number in range(3):
        keeper.act(number)
"""


@pytest.mark.process
def test_fields_that_no_full_state_shows_at_the_end_are_named_in_the_first_line(toy):
    from support.processes import run_python

    killed = LARGE.replace("{keep}", "pass") + "    import os\n    os.kill(os.getpid(), 9)\n"
    toy.write(killed)
    script = f"import sys; sys.path.insert(0, {str(toy.directory)!r})\nimport {toy.name} as toy\ntoy.main()\n"
    assert run_python("-c", script, cwd=toy.directory, AGENT_TRACE_ROOT=str(toy.root)).returncode == -9
    report = toy.replay()
    assert (report.verdict, report.scope) == ("IDENTICAL", "prefix"), str(report)
    assert report.unseen_at_end == ("rng", "rows")
    assert str(report).splitlines()[0].endswith("not seen as they ended: rng, rows")


def test_where_the_agent_is_still_there_at_the_end_they_are_compared(toy):
    report = toy.record(LARGE.replace("{keep}", "KEPT.append(keeper)")).replay()
    assert (report.verdict, report.unseen_at_end) == ("IDENTICAL", ()), str(report)
    report = toy.change("self.rows.append(number)", "self.rows.append(number + (number == 2))").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.rows"), str(report)


INSIDE = """
class Inner:
    def __init__(self):
        self.agent_id, self.agent_role = "inner", "inner"
        self.rows = [0] * 3000

    @trace_agent_action
    def act(self, number):
        self.rows.append(number)

class Outer:
    def __init__(self):
        self.agent_id, self.agent_role = "outer", "outer"
        self.inner = Inner()
        self.count = 0

    @trace_agent_action
    def step(self):
        self.count += 1
        self.inner.act(self.count)

def build(spec):
    return {"outer": Outer(), **spec.nested}

KEPT = []

def main():
    outer = Outer()
    KEPT.append(outer)
    for _ in range(3):
        outer.step()
"""


def test_agents_inside_others_are_compared_as_they_ended_too(toy):
    report = toy.record(INSIDE).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.rows.append(number)", "self.rows.append(number + (number == 3))").replay("last")
    assert report.verdict == "DIVERGED", str(report)
    assert (report.divergence.step, report.divergence.agent_id) == (3, "inner")
    assert report.divergence.field == "state.rows"


def test_agents_with_ids_of_one_letter_keep_their_first_state(toy):
    # Recording knows an agent by the text that is its id, and a restored text is another object.
    source = SHARED.replace('"purse", "purse"', '"p", "purse"').replace('"purse": purse', '"p": purse')
    source = source.replace('agents["purse"]', 'agents["p"]').replace("{more}", "pass")
    report = toy.record(source).replay("last")
    assert report.verdict == "IDENTICAL", str(report)


LEARNER = """
from collections import defaultdict

class Trail(list):
    pass

class World:
    def __init__(self):
        self.at, self.seen, self.limits = 0, Trail(), [3, 4]

    def move(self, to):
        self.at = to
        self.seen.append([to] * 40)

class Learner:
    def __init__(self, world):
        self.agent_id, self.agent_role = "a", "learner"
        self.world = world
        self.values = defaultdict(lambda: [0.0] * len(world.limits))

    @trace_agent_action
    def choose(self, at):
        return self.values[at].index(max(self.values[at])) + {reads}

    @trace_agent_action
    def learn(self, at, choice, gain):
        self.values[at][choice] += gain

def build(spec):
    return Learner(World())

def main():
    world = World()
    world.move(1)
    learner = Learner(world)
    for number in range(12):
        choice = learner.choose(world.at)
        world.move((world.at + number) % 3)
        learner.learn(world.at, choice % 2, 0.5 * number - 2)
"""


def learner(reads="0"):
    return LEARNER.replace("{reads}", reads)


def test_an_object_that_the_program_changes_between_the_actions_is_compared_by_name(toy):
    report = toy.record(learner()).replay()
    assert (report.verdict, report.proof["references"]) == (
        "IDENTICAL",
        ["a.world (changed between its actions)"],
    ), str(report)
    assert "seen by name: world" in report.headline and "all fields seen" not in report.headline


def test_a_change_beside_such_an_object_is_found(toy):
    report = toy.record(learner()).change("+= gain", "+= gain + 1").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 2)


@pytest.mark.further
def test_a_difference_behind_a_read_of_such_an_object_proves_nothing(toy):
    report = toy.record(learner("self.world.seen[-1][0]")).replay()
    assert report.verdict == "UNVERIFIED"
    assert "seen of a.world by Learner.choose" in report.reasons[0]
    report = toy.change("+ self.world.seen[-1][0]", "+ self.world.seen[-1][0] + 1").replay()
    assert report.verdict == "DIVERGED"
    assert toy.record(learner("self.world.at")).replay().verdict == "IDENTICAL"
    assert toy.change("+ self.world.at", "+ self.world.at + 1").replay().verdict == "DIVERGED"


@pytest.mark.further
@pytest.mark.parametrize("held", ["lambda: self.world.at", "[self.world]", "Holder(self.world)"])
def test_an_object_counts_in_the_field_where_it_stands_and_by_its_name_in_others(toy, held):
    source = (
        learner()
        + "\nclass Holder:\n    def __init__(self, held):\n        self.held, self.more = held, {}\n"
    )
    source = source.replace("self.world = world\n", f"self.world = world\n        self.other = {held}\n")
    report = toy.record(source).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(f"self.other = {held}", "self.other = World()").replay()
    assert report.verdict in {"DIVERGED", "UNVERIFIED"}, str(report)


def test_a_fork_keeps_what_it_patched_whatever_was_written_there_from_outside(toy):
    toy.record(SHARED.replace("{more}", "agents['purse'].coins = amount"))
    names = {"target": f"{toy.name}:build", "root": toy.root}
    result = fork_run("last/purse", "step_1", {"looks": 0}, **names)[1]
    assert result.state["coins"] == 5
    result = fork_run("last/purse", "step_1", {"coins": 500}, **names)[1]
    assert result.state["coins"] == 500


@pytest.mark.further
def test_what_is_written_behind_the_last_action_is_repeated_and_compared(toy):
    source = SHARED.replace("{more}", "agents['giver'].purse.coins += amount")
    report = toy.record(source).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert toy.replay("last/purse").verdict == "IDENTICAL"
    alone = SHARED.replace('agents["purse"].look()\n        {more}', "KEPT.append(agents)") + "KEPT = []\n"
    report = toy.record(alone).change(COINS, COINS + " + (amount == 3)").replay("last")
    assert report.verdict == "DIVERGED", str(report)


DRAWS = """
class Dealer:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "dealer"
        self.chance = {generator}
        self.dealt = 0

    @trace_agent_action
    def deal(self):
        self.dealt += 1
        return self.dealt + {draw}

def build(spec):
    return Dealer()

def main():
    dealer = Dealer()
    for _ in range(12):
        dealer.chance.random()
        dealer.deal()
"""


@pytest.mark.further
@pytest.mark.parametrize("generator", ["random.Random(3)", "np.random.default_rng(3)"])
def test_a_generator_that_the_program_draws_from_between_the_actions_stands_where_it_stood(toy, generator):
    source = "import random\nimport numpy as np\n" + DRAWS.replace("{generator}", generator)
    report = toy.record(source.replace("{draw}", "0")).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording: a.chance" in str(report)
    report = toy.record(source.replace("{draw}", "self.chance.random()")).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert toy.change("self.chance.random()", "round(self.chance.random(), 3)").replay().verdict == "DIVERGED"


INBOXES = """
import asyncio

class Person:
    def __init__(self, name, people):
        self.agent_id, self.agent_role = name, "person"
        self.inbox = asyncio.Queue()
        self.people = people
        self.heard = []

    @trace_agent_action
    def talk(self, number):
        while not self.inbox.empty():
            self.heard.append(self.inbox.get_nowait())
        for person in self.people.values():
            if person is not self:
                person.inbox.put_nowait(self.agent_id + str(number))
        return len(self.heard)

def make():
    people = {}
    for name in ("ann", "bob", "cy"):
        people[name] = Person(name, people)
    return people

def build(spec):
    made = make()
    return made if spec.agent_id is None else made[spec.agent_id]

def main():
    people = make()
    for number in range(12):
        for person in people.values():
            person.talk(number)
"""


@pytest.mark.further
def test_a_queue_of_one_agent_that_others_fill_is_compared_in_a_whole_replay(toy):
    report = toy.record(INBOXES).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert not report.outcome.references, str(report)
    report = toy.replay("last/bob")  # nobody fills it there
    assert (report.verdict, report.agent_id) == ("IDENTICAL", "bob"), str(report)
    report = toy.change("str(number)", "str(number + (number == 7))").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 23), str(report)
    toy.record(INBOXES)
    toy.change("return len(self.heard)", "return len(self.heard) + (self.agent_id == 'ann')")
    report = toy.replay("last/bob")  # which does as before; what differs is another agent's
    assert report.verdict == "IDENTICAL", str(report)


FILLED_BY_BOTH = INBOXES.replace(
    """            person.talk(number)
""",
    """            person.inbox.put_nowait("main")
            person.heard.append("main")
            person.talk(number)
""",
)


@pytest.mark.further
def test_a_queue_that_agents_and_the_program_fill_gives_no_false_difference(toy):
    report = toy.record(FILLED_BY_BOTH).replay("last")
    assert report.verdict != "DIVERGED", str(report)
    report = toy.change("return len(self.heard)", "return len(self.heard) + (number == 7)").replay("last")
    assert report.verdict in {"DIVERGED", "UNVERIFIED"}, str(report)
    assert report.divergence is None or "not written" not in str(report), str(report)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "outside", ["reader.inbox.append('x' * 90)", "reader.inbox.pop()", "reader.inbox[:1] = [1, 2]"]
)
def test_a_large_field_that_code_outside_of_actions_changes_is_put_in_whole(toy, outside):
    source = _letters("self.count += len(self.reader.inbox)", outside, last="pass", steps=90)
    toy.record(
        source.replace("self.inbox, self", "self.inbox, self").replace(
            "= [], set()", "= ['y' * 90] * 80, set()"
        )
    )
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.proof["imposed"]["reader.inbox"], str(report)


@pytest.mark.integration
def test_what_the_action_around_wrote_takes_the_whole_session_where_one_agent_is_replayed(toy):
    source = _letters(second="write(1)", last="agents['two'].ask()")
    source = source.replace(
        "return self.reader.open()", "self.reader.hp += 1\n        return self.reader.open()"
    )
    toy.record(source)
    assert toy.replay("last").verdict == "IDENTICAL"
    report = toy.replay("last/reader")
    assert report.verdict == "IDENTICAL", str(report)
    assert "reader alone proves nothing" in str(report)


def test_changed_code_before_an_agent_first_acts_leaves_the_question_who_made_its_first_state(toy):
    toy.record(_letters("number or self.reader.inbox.append(self.agent_id)", second="write(1)"))
    assert toy.replay("last").verdict == "IDENTICAL"
    report = toy.change("number or self.reader.inbox.append(self.agent_id)", "pass").replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "inbox of reader differs from the recording" in report.reasons[0]


def test_nothing_is_told_of_fields_that_nobody_else_wrote(toy):
    toy.record(_letters(second="write(number)"))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert not report.proof["imposed"], str(report)
    lines = [path.read_text() for path in toy.root.rglob("*.log")]
    assert lines
    assert not any('"trigger":"outside"' in text for text in lines)


CALLBACK = """
class Shop:
    def __init__(self):
        self.agent_id, self.sold, self.on_sale, self.order = "shop", 0, None, []

    @trace_agent_action
    def sell(self, number):
        self.sold += number
        if self.on_sale and number > 2:
            self.on_sale(number)
        return self.sold

def build(spec):
    return Shop()

shop = Shop()

def main():
    seen = []
    shop.on_sale = lambda number: {does}
    for number in range({steps}):
        shop.sell(number)
"""


def _callback(does: str, steps: int) -> str:
    return CALLBACK.replace("{does}", does).replace("{steps}", str(steps))


@pytest.mark.first_case
@pytest.mark.parametrize("steps", [2, 6], ids=["never called", "called"])
def test_a_function_that_the_program_gave_has_a_stand_in(toy, steps):
    toy.record(_callback("seen.append(number)", steps))
    report = toy.replay("last/shop")
    assert report.verdict == "IDENTICAL", str(report)
    assert "ignored: on_sale" in str(report)
    assert "does nothing replaces it" in str(report)
    report = toy.change("return self.sold", "return 0 + self.sold").replay("last/shop")
    assert report.verdict == ("IDENTICAL" if steps == 2 else "UNVERIFIED"), str(report)


def test_a_difference_behind_a_call_of_a_stand_in_proves_nothing(toy):
    toy.record(_callback("setattr(shop, 'sold', shop.sold + 1)", 6))
    report = toy.replay("last/shop")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "was called, and its effect is not replayed" in str(report)


def test_texts_that_differ_in_addresses_alone_agree(toy):
    source = CALLBACK.replace("return self.sold", "self.order = [repr(object())]; return self.sold")
    toy.record(source.replace("{does}", "None").replace("{steps}", "3").replace("shop.on_sale =", "other ="))
    report = toy.replay("last/shop")
    assert report.verdict == "IDENTICAL", str(report)


def test_fields_that_full_states_alone_show_are_named_where_actions_lie_between(toy):
    toggles = """
    def __init__(self):
        self.agent_id = "keeper"
        self.world = {"rows": [0] * 3000, "is_day": True}
    @trace_agent_action
    def act(self, number):
        self.world["is_day"] = not self.world["is_day"]
        return number
"""
    program = f"class Keeper:{toggles}\ndef build(spec):\n    return Keeper()\n\n"
    program += (
        "def main():\n    keeper = Keeper()\n    for number in range(TIMES):\n        keeper.act(number)\n"
    )
    report = toy.record(program.replace("TIMES", "6")).replay("last")
    assert report.at_full_states == ("world",), str(report)
    # Behind actions of an even number the flag is what it was, and all full states stand there or before.
    assert str(report).splitlines()[0].endswith("all fields seen; at full states only: world")
    report = toy.record(program.replace("TIMES", "1")).replay("last")
    assert (report.verdict, report.at_full_states) == ("IDENTICAL", ()), str(report)


def test_that_a_shared_object_was_written_to_is_no_effect_of_the_action_in_which_that_is_found(toy):
    program = """
class World:
    def __init__(self):
        self.rows = [0] * 3000

class Worker:
    def __init__(self, name, world):
        self.agent_id, self.world, self.peer, self.x = name, world, None, 0
    @trace_agent_action
    def note(self, number):
        self.x += number
        return self.x
    @trace_agent_action
    def act(self, number):
        return self.peer.note(number)

def make():
    world = World()
    made = Worker("a", world), Worker("b", world)
    made[0].peer, made[1].peer = made[1], made[0]
    return world, made

def build(spec):
    return {each.agent_id: each for each in make()[1]}

def main():
    world, made = make()
    for number in range(6):
        for each in made:
            if number > 1:
                world.rows = [number] + world.rows[1:]
            each.act(number)
"""
    report = toy.record(program, state="strict").replay("last")
    assert report.verdict == "IDENTICAL", str(report)
