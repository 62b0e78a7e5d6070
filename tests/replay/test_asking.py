"""A function of the user's answers about an agent as it was at a moment of a recording."""

import json

import pytest

from Agent.errors import AgentNotFound, EventNotFound, ReplayError, TargetNotFound, UsageError
from Agent.replay import ask_agent
from Agent.tree.read.reader import TreeReader

WALLET = """
import json, random
from pathlib import Path

class Wallet:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "wallet"
        self.coins, self.past, self.rng = 10, (), random.Random(name)

    @trace_agent_action
    def trade(self, amount):
        self.coins += amount + self.rng.randint(-3, 3)
        self.past = (*self.past, self.coins)
        return self.coins

    def worth(self):
        return sum(self.past) + self.coins

def build(spec):
    made = {name: Wallet(name) for name in spec.agent_ids}
    return made if spec.agent_id is None else made[spec.agent_id]

def worth_and_past(wallet):
    return [wallet.worth(), list(wallet.past)]

def next_draw(wallet):
    return wallet.rng.random()

def spend(wallet):
    print("spending")
    wallet.coins -= 1
    return wallet.coins

def fail(wallet):
    raise KeyError("no such coin")

def pair(wallet):
    return (wallet.coins, {"a"})

def main():
    from Agent import tick
    seen, wallets = [], [Wallet(name) for name in "ab"]
    for day in range(30):
        with tick(day):
            for wallet in wallets:
                wallet.trade(day % 4)
        seen.append(worth_and_past(wallets[0]))
    Path(__file__).with_name("seen.json").write_text(json.dumps(seen))
"""


@pytest.fixture
def wallets(toy):
    """Two recorded wallets, and a function that asks the first one."""
    toy.record(WALLET)

    def ask(function, at=None, run="last/a", **options):
        return ask_agent(run, f"{toy.name}:{function}", at, f"{toy.name}:build", toy.root, **options)

    ask.seen = json.loads((toy.directory / "seen.json").read_text())
    ask.root = toy.root
    return ask


def test_an_agent_answers_at_each_tick_what_the_program_saw_there(wallets):
    seen = wallets.seen
    assert [wallets("worth_and_past", day).value for day in (0, 3, 17, 29)] == [
        seen[day] for day in (0, 3, 17, 29)
    ]
    assert wallets("worth_and_past").value == seen[-1]


def test_a_generator_goes_on_from_its_place(wallets):
    assert wallets("next_draw", 5).value != wallets("next_draw", 6).value
    assert wallets("next_draw", 6).value == wallets("next_draw", 6).value


def test_a_moment_is_a_tick_a_time_or_an_event(wallets):
    (session,) = wallets.root.glob("session_*")
    events = [event for event in TreeReader(session).events("a") if event.kind == "agent_action"]
    asked = {at: wallets("worth_and_past", at).value for at in ("tick:7", events[7].id, events[7].timestamp)}
    assert list(asked.values()) == [wallets.seen[7]] * 3, asked


def test_a_function_that_writes_is_named_and_changes_only_its_copy(wallets):
    told = wallets("spend", 4)
    assert told.changed == ("coins",)
    assert "spending" in told.stdout
    assert wallets("spend", 4).value == told.value


def test_values_that_json_lacks_have_their_types(wallets):
    told = wallets("pair", 0)
    assert told.types == {"": "tuple", "/1": "set"}
    assert told.value[1] == ["a"]


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("fail",), ReplayError, "raised KeyError: 'no such coin'"),
        (("missing",), TargetNotFound, "has no 'missing'"),
        (("pair", "tick:-3"), EventNotFound, "the first is of tick 0"),
        (("pair", "nonsense"), EventNotFound, "nonsense"),
        (("pair", 3, "last/z"), AgentNotFound, "z"),
        (("pair", 3, "last"), UsageError, "name one, as SESSION/agent"),
    ],
)
def test_a_mistake_gets_one_error_that_names_it(wallets, arguments, error, words):
    with pytest.raises(error) as raised:
        wallets(*arguments)
    assert words in f"{raised.value} {raised.value.remedy}"
