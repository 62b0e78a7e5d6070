"""A check of the check itself: none of these one-line changes of an agent may come out as identical."""

import pytest

pytestmark = pytest.mark.integration

AGENT = """
import random

class Trader:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "trader"
        self.logger = AgentLogger("a", "trader")
        self.rng = random.Random(1)
        self.cash, self.stock, self.history = 100.0, {}, []

    @trace_agent_action
    def trade(self, name, price):
        self.logger.log_decision("trade", {"name": name})
        amount = self.rng.randint(1, 3)
        if price * amount > self.cash:
            raise ValueError(f"no cash for {name}")
        self.cash -= price * amount
        self.stock[name] = self.stock.get(name, 0) + amount
        self.history.append((name, amount))
        self.learn(price)
        return {"amount": amount, "left": round(self.cash, 2)}

    @trace_learning_update(update_type="price")
    def learn(self, price):
        self.logger.info("price seen", extra={"price": price})
        return price / 2

    @trace_agent_action
    def close(self):
        self.stock.clear()

def build(spec):
    return Trader()

def main():
    agent = Trader()
    for price in (10.0, 7.5, 20.25, 60.0, 3.0):
        try:
            agent.trade("x" if price > 8 else "y", price)
        except ValueError:
            pass
    agent.close()
"""

MUTATIONS = [
    ("self.rng.randint(1, 3)", "self.rng.randint(1, 2)"),
    ("price * amount > self.cash", "price * amount > self.cash + 1000"),
    ("self.stock.get(name, 0) + amount", "amount"),
    ("self.history.append((name, amount))", "self.history.append([name, amount])"),
    ("self.history.append((name, amount))", "pass"),
    ("self.learn(price)", "self.learn(price); self.learn(price)"),
    ("round(self.cash, 2)", "round(self.cash, 1) + 0.0001"),
    ('f"no cash for {name}"', 'f"not enough cash for {name}"'),
    ("raise ValueError", "raise TypeError"),
    ("return price / 2", "return price // 2"),
    ('"price seen"', '"price noted"'),
    ("self.stock.clear()", "self.stock.popitem()"),
    ("self.logger.info", "self.logger.warning"),
    ('extra={"price": price}', 'extra={"price": int(price)}'),
]


def test_the_agent_itself_is_identical_and_no_changed_line_is(toy):
    assert toy.record(AGENT).replay().verdict == "IDENTICAL"
    original = toy.source
    for old, new in MUTATIONS:
        report = toy.change(old, new).replay()
        assert report.verdict == "DIVERGED", (old, new, str(report))
        assert repr(report.divergence.recorded) != repr(report.divergence.replayed)
        toy.source = original
