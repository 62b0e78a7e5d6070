"""Small traced programs, made by seed: agents with state of many kinds, whose actions are put together by chance.

A program is Python text for one module. It is recorded as it stands; the oracle runs the same text with
`PLAIN_HEAD` in the place of `TRACED_HEAD`, so that nothing of this project takes part there. `SCRIPT` is what
is called on which agent, in order.
"""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass

TRACED_HEAD = """
import asyncio
import random
import time
from dataclasses import dataclass, field
from Agent import setup_logging, shutdown_logging, tick
from Agent.flight import record_tool, recorded_sources
from Agent.utils import AgentLogger, trace_agent_action, trace_learning_update
"""

PLAIN_HEAD = """
import asyncio
import random
from dataclasses import dataclass, field
from plain_doubles import (
    AgentLogger, record_tool, recorded_sources, setup_logging, shutdown_logging, tick, time,
    trace_agent_action, trace_learning_update,
)
"""

BODY = '''
RATE = {rate}

class Refused(ValueError):
    pass

@dataclass
class Order:
    name: str
    amount: int
    parts: list = field(default_factory=list)

def fee(price, amount):
    return round(price * amount * RATE, 3)

@record_tool
def quote(name, amount):
    if name == "salt":
        raise Refused(f"nobody sells {{name}}")
    return {{"price": len(name) * 1.5 + amount, "name": name}}

class {owner}:
    def __init__(self, agent_id, peer=None):
        self.agent_id, self.agent_role = agent_id, "trader"
        self.logger = AgentLogger(agent_id, "trader")
        self.rng = random.Random({seed})
        self.cash = {cash}
        self.level = 1
        self.mood = "calm"
        self.stock = {{}}
        self.seen = []
        self.tags = set()
        self.pairs = {{}}
        self.last = None
        self.ledger = {ledger}
        self.peer = peer

{methods}

class Neighbour:
    """Who is asked; where the target does not give it, the record answers."""

    def __init__(self, agent_id):
        self.agent_id, self.agent_role = agent_id, "neighbour"
        self.asked = 0
        self.purse = 10

    @trace_agent_action
    def offer(self, name, amount):
        self.asked += 1
        if amount > 2 and name.startswith("f"):
            raise Refused(f"{{amount}} are too many")
        return [name, amount + self.asked]

    @trace_agent_action
    def rest(self, share):
        self.purse += share
        return self.purse

def make(agent_ids):
    neighbour = Neighbour("b")
    made = {{"a": {owner}("a", neighbour), "b": neighbour}}
    return {{agent_id: made[agent_id] for agent_id in agent_ids}}

def build(spec):
    return make({given})

SCRIPT = {script}

def play(agents, after):
    for number, (agent_id, name, args) in enumerate(SCRIPT):
        with tick(number // 3):
            if name.startswith("="):
                setattr(agents[agent_id], name[1:], args[0])
                continue
            try:
                result = getattr(agents[agent_id], name)(*args)
                if asyncio.iscoroutine(result):
                    result = asyncio.run(result)
                ending = ("returned", result)
            except Exception as error:
                ending = ("raised", type(error).__name__, str(error))
        after(agents, number, ending)

def main(root):
    setup_logging(trace_root=root, {options})
    agents = make(["a", "b"])
    random.seed({seed})
    with {sources}:
        play(agents, lambda agents, number, ending: None)
    {end}
    shutdown_logging()
'''

LEARN = """
    @trace_learning_update(update_type="price")
    def learn(self, price):
        self.level = self.level * 2 % 7 + 1
        self.logger.info("learned", extra={"price": price})
        return price / 2
"""

STATEMENTS = [
    "self.cash = round(self.cash - price * amount, 2)",
    "self.cash = round(self.cash - fee(price, amount), 2)",
    "self.stock[name] = self.stock.get(name, 0) + amount",
    "self.seen.append((name, amount))",
    "self.seen = self.seen[-4:]",
    "self.tags.add(name[0])",
    "self.tags.discard(name[-1])",
    "self.pairs[(name, amount)] = len(self.seen)",
    "self.last = Order(name, amount, [price])",
    "self.last = Order(name, amount) if amount > 1 else None",
    "self.logger.info('bought', extra={'name': name, 'amount': amount})",
    "self.logger.log_decision('trade', {'name': name, 'price': price})",
    "self.logger.log_action('note', {'level': self.level})",
    "total += self.learn(price)",
    "self.learn(total)",
    "total += self.rng.randint(1, 3)",
    "name = self.rng.choice(['figs', 'rye', 'salt', 'tea'])",
    "if self.rng.random() < 0.5:\n    self.level += 1",
    "for item in sorted(self.stock):\n    total += self.stock[item]",
    "for number in range(amount):\n    total += number * 2\n    self.ledger.append(total)",
    "if self.cash < 40:\n    self.mood = 'poor'\nelse:\n    self.mood = 'calm'",
    "if self.cash < LIMIT:\n    raise Refused(f'no cash for {name}')",
    "try:\n    total += quote(name, amount)['price']\nexcept Refused as error:\n    self.mood = str(error)",
    "asked = quote(name, amount + 1) if name != 'salt' else {'price': 0}\nprice = asked['price']",
    "self.ledger.append(total)",
    "self.level = max(self.level, amount) + 1",
    "self.mood = f'{self.mood[:6]}-{amount}'",
    "total = total * 2 - amount",
    "amount = amount + 1 if name < 'm' else amount",
    "self.stock = {key: value for key, value in self.stock.items() if value < 9}",
    "total = self.scaled(total)",
]
PEER = [
    "total += self.peer.offer(name, 1)[1]",
    "try:\n    self.seen.append(tuple(self.peer.offer(name, amount)))\nexcept Refused:\n    self.level -= 1",
    "self.peer.rest(amount)",
]
READS = [
    "total += random.random()",
    "self.level += random.randint(0, 2)",
    "self.last = time.time()",
    "name = random.choice(['figs', 'rye'])",
]
WRITES = ["self.peer.purse += amount", "self.peer.asked = 0"]
RETURNS = [
    "return {'total': round(total, 3), 'cash': self.cash}",
    "return round(total, 3)",
    "return (name, amount)",
    "return None",
    "return [name, self.level, self.mood]",
    "return set(name)",
]
NAMES, PRICES = ("figs", "rye", "salt", "tea"), (1.5, 7.25, 10.0, 20.5)


AGENTS = ["a", "b"]


@dataclass(frozen=True)
class Program:
    """One program: its text, what of it is driven, and how it was put together."""

    seed: int
    body: str
    run: str
    """What is replayed, as a command line names it."""
    answered: frozenset[str]
    """Classes and functions whose bodies a replay answers instead of running them."""
    traits: tuple[str, ...]

    @property
    def name(self) -> str:
        """The module's name."""
        return f"program_{self.seed}"

    @property
    def traced(self) -> str:
        """The text that is recorded and driven."""
        return TRACED_HEAD + self.body


def make_program(seed: int) -> Program:
    """The program of that seed."""
    chance = random.Random(seed)
    traits = {
        trait
        for trait, share in {
            "peers": 0.5, "whole": 0.4, "async": 0.25, "reads": 0.35, "strict": 0.3, "kept": 0.7,
            "large": 0.15, "writes": 0.3, "outside": 0.5,
        }.items()
        if chance.random() < share
    }  # fmt: skip
    if "peers" not in traits:
        traits -= {"whole", "writes"}
    if "whole" not in traits:
        traits.discard("writes")
    if "strict" not in traits:
        traits.discard("outside")  # only then such writes are recorded as what they are
    statements = [*STATEMENTS]
    if "peers" in traits:
        statements += PEER * 3
    if "reads" in traits:
        statements += READS * 3
    if "writes" in traits:
        statements += WRITES * 4
    names = ["trade", "review", "settle"][: chance.randint(1, 3)]
    methods = LEARN + _scaled(chance) + "".join(_method(name, statements, traits, chance) for name in names)
    script = [
        ("a", chance.choice(names), (chance.choice(NAMES), chance.choice(PRICES), chance.randint(1, 3)))
        for _ in range(chance.randint(4, 9))
    ]
    if "whole" in traits:
        for _ in range(3):
            script.insert(chance.randrange(len(script)), ("b", "rest", (chance.randint(1, 5),)))
    if "outside" in traits:
        for name, value in (("=cash", 60.0), ("=mood", "told")):
            script.insert(chance.randrange(1, len(script)), ("a", name, (value,)))
    options = {"state": "strict"} if "strict" in traits else {}
    body = BODY.format(
        rate=chance.choice([0.01, 0.05]),
        owner="Trader",
        seed=seed,
        cash=chance.choice([100.0, 250.0]),
        ledger="[0] * 3000" if "large" in traits else "[]",
        methods=methods,
        given='["a", "b"]' if "whole" in traits else '["a"]',
        script=script,
        options=", ".join(f"{name}={value!r}" for name, value in options.items()),
        sources="recorded_sources()" if "reads" in traits else "tick(0)",
        end="pass" if "kept" in traits else "del agents",
    )
    answered = {"quote"} | (set() if "whole" in traits else {"Neighbour"})
    run = "last" if "whole" in traits else "last/a"
    return Program(seed, body, run, frozenset(answered), tuple(sorted(traits)))


def _method(name: str, statements: list[str], traits: set[str], chance: random.Random) -> str:
    lines = ["total = 0.0", *chance.sample(statements, chance.randint(4, 9)), chance.choice(RETURNS)]
    is_async = "async" in traits and chance.random() < 0.6
    if is_async:
        lines.insert(chance.randrange(1, len(lines)), "await asyncio.sleep(0)")
    text = "\n".join(lines).replace("LIMIT", str(chance.choice([0, 20, 80])))
    head = f"@trace_agent_action\n{'async ' if is_async else ''}def {name}(self, name, price, amount):"
    return "\n" + textwrap.indent(f"{head}\n{textwrap.indent(text, '    ')}\n", "    ")


def _scaled(chance: random.Random) -> str:
    """A method that is not traced, so it happens inside those that are."""
    return f"""
    def scaled(self, value):
        if value > {chance.choice([5, 50])}:
            self.level += 1
            return value / 2
        return value + {chance.choice([0.5, 2])}
"""
