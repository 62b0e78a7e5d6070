"""Objects of plain classes drive a replay: they are made again from everything that the record holds of them."""

from __future__ import annotations

PROGRAM = """
class Card:
    def __init__(self, suit, rank):
        self.suit, self.rank = suit, rank

class Hand:
    __slots__ = ("cards", "trump")

    def __init__(self, cards, trump):
        self.cards, self.trump = cards, trump

class Deck:
    def __init__(self):
        self.left = {("hearts", n): n for n in range(3)}
        self.dealt = []

class Player:
    def __init__(self, deck):
        self.agent_id, self.agent_role = "a", "player"
        self.deck = deck
        self.view = [deck.dealt, 0]
        self.take = lambda: deck.left.popitem()

    @trace_agent_action
    def play(self, hand):
        self.deck.dealt.append(self.take())
        best = max(hand.cards, key=lambda card: card.rank)
        return best.suit, best.rank + hand.trump["rank"], len(self.view[0])

def build(spec):
    return Player(Deck())

def main():
    deck = Deck()
    deck.left["joker"] = 50
    player = Player(deck)
    for n in range(3):
        player.play(Hand([Card("spades", n), Card("hearts", 2 - n)], {"rank": n}))
"""


def test_arguments_of_plain_classes_and_a_field_that_the_factory_made_otherwise(toy):
    report = toy.record(PROGRAM).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "factory made deck" in str(report)
    toy.change("best.rank + hand", "best.rank - hand")
    report = toy.replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 2), str(report)


def test_what_attributes_do_not_say_cannot_drive(toy):
    classes = {
        "a class that says how it is copied": "def __getstate__(self): return 1",
        "a class with an end": "def __del__(self): pass",
    }
    for what, line in classes.items():
        source = PROGRAM.replace('__slots__ = ("cards", "trump")', line)
        report = toy.record(source).replay()
        assert report.verdict == "UNVERIFIED", (what, str(report))
        assert "argument hand of play of a" in report.reasons[0], what


SHARED = """
class Settings:
    def __init__(self, rate):
        self.rate, self.steps = rate, []

USUAL = Settings(1)

class Agent:
    def __init__(self, agent_id):
        self.agent_id, self.agent_role, self.settings = agent_id, "user", USUAL

    @trace_agent_action
    def act(self):
        return self.settings.rate

def build(spec):
    return {agent_id: Agent(agent_id) for agent_id in spec.agent_ids}

def main():
    one, other = Agent("a"), Agent("b")
    other.settings = Settings(2)
    for _ in range(3):
        one.act(), other.act()
"""


def test_an_object_that_two_agents_begin_with_is_not_filled_for_one_of_them(toy):
    report = toy.record(SHARED).replay("last")
    assert report.verdict == "IDENTICAL", str(report)


MADE_OTHERWISE = """
from dataclasses import dataclass, field

@dataclass
class Limits:
    most: int = 3
    by_kind: dict = field(default_factory=lambda: {"tea": [1, 2]})

class Clerk:
    agent_id = "a"

    def __init__(self):
        self.limits = Limits()
        self.rest = None

    @trace_agent_action
    def work(self):
        return self.limits.most

def build(spec):
    return Clerk()

def main():
    clerk = Clerk()
    {before}
    clerk.work()
"""


def test_what_the_factory_made_otherwise_is_told_as_python(toy):
    toy.record(MADE_OTHERWISE.replace("{before}", "clerk.limits.most = 4"))
    assert "a: factory made limits.most=3, recorded 4" in str(toy.replay())
    toy.record(MADE_OTHERWISE.replace("{before}", "clerk.limits.by_kind['tea'][1] = 5"))
    assert "a: factory made limits.by_kind['tea'][1]=2, recorded 5" in str(toy.replay())


def test_an_object_that_the_factory_did_not_make_is_told_as_python(toy):
    toy.record(MADE_OTHERWISE.replace("{before}", "clerk.rest = iter([clerk])"))
    report = toy.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "made None; build it in the factory" in str(report)
    assert "{'tag'" not in str(report)
