"""Places where a value can be: for each what the agent does with the value, and what is looked at afterwards.

In these texts `value(c)` makes the value, `leaf(value)` gives the leaf that changes, `at(n)` is 1 where a changed
program is at a step that changes, the last two, and `keep(value)` keeps what the oracle looks at when the program has ended.
"""

from __future__ import annotations

import importlib.util
import re
import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One place."""

    name: str
    body: str = "pass"
    """What the traced step does."""
    result: str = "n"
    """What it returns."""
    play: str = "agent.step(n)"
    """What drives it, once for each `n`."""
    parameters: str = "n"
    start: str = "pass"
    """What the agent's constructor does."""
    base: str = "Agent"
    head: str = ""
    """What stands in front of the agent's class."""
    given: str = "agent"
    """What the factory gives."""
    is_input: bool = False
    """Whether the value drives the replay, so that it has to be restored."""
    is_of_factory: bool = False
    """Whether the factory makes it: the recorded value takes its place, so that a green report must name the change."""
    is_hashed: bool = False
    """Whether only what can be hashed can be there."""
    needs: str = ""
    """The package without which there is no such place."""

    @property
    def lacking(self) -> str:
        """Why there can be no program here; "" where there can."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        return ""

    def text(self, number: str) -> str:
        """The classes and functions of the pair of that number."""
        text = _FORM.format(
            head=textwrap.dedent(self.head),
            base=self.base,
            slots='__slots__ = ("held",)' if self.base == "SlottedAgent" else "held = None",
            start=_indented(self.start),
            parameters=self.parameters,
            body=_indented(self.body),
            result=self.result,
            play=_indented(self.play),
            given=self.given,
        )
        text = re.sub(r"\b(value|leaf|play|given|ask)(?=\()", rf"\1_{number}", text)
        text = re.sub(r"\bkeep(_plain)?\(", rf'keep\1("p{number}", ', text)
        return re.sub(r"\b([PQpq])N\b", rf"\g<1>{number}", text)


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip(), "        ")


_FORM = """
{head}
class PN({base}):
    {slots}

    def __init__(self, agent_id):
        super().__init__(agent_id)
{start}

    @trace_agent_action
    def step(self, {parameters}):
        self.n += 1
{body}
        return {result}

    @trace_agent_action
    def inner(self, held):
        return self.n


def play(agent):
    for n in range(4):
{play}


def given():
    agent = PN("pN")
    return {given}
"""
_PEER = """
class QN(Agent):
    @trace_agent_action
    def take(self, held):
        self.n += 1
        return self.n
"""
_HELD = "held = value(at(n))\nkeep(held)\n"

PLACES = [
    Place(
        "argument",
        parameters="n, held",
        result="[repr(leaf(held)), at(n)]",
        play="keep_plain(agent.step(n, value(0)))",
        is_input=True,
    ),
    Place(
        "keyword argument",
        parameters="n, *, held",
        result="[repr(leaf(held)), at(n)]",
        play="keep_plain(agent.step(n, held=value(0)))",
        is_input=True,
    ),
    Place("argument of an inner call", _HELD + "self.inner(held)"),
    Place(
        "argument of a peer's call", _HELD + "self.peer.take(held)", head=_PEER, start='self.peer = QN("qN")'
    ),
    Place("result", result="value(at(n))", play="keep(agent.step(n))"),
    Place(
        "inside a result",
        result='{"plan": [n, {"at": (n, [value(at(n))])}]}',
        play='keep(agent.step(n)["plan"][1]["at"][1][0])',
    ),
    Place(
        "key of a result",
        result="{value(at(n)): n}",
        play="keep(next(iter(agent.step(n))))",
        is_hashed=True,
    ),
    Place(
        "field",
        "self.held = value(at(n))",
        play="agent.step(n)\nkeep(agent.held)",
        start="self.held = value(0)",
    ),
    Place(
        "field of the first state",
        play="agent.step(n)\nif n == 3:\n    keep(agent.held)",
        start="self.held = value(CHANGED)",
        is_of_factory=True,
    ),
    Place("new field", "self.new = value(at(n))", play="agent.step(n)\nkeep(agent.new)"),
    Place(
        "inside a field",
        'self.books[0]["kept"] = value(at(n))',
        play='agent.step(n)\nkeep(agent.books[0]["kept"])',
        start='self.books = [{"kept": None}]',
    ),
    Place(
        "inside an object in a field",
        "self.shelf.a = value(at(n))",
        play="agent.step(n)\nkeep(agent.shelf.a)",
        start="self.shelf = Box(None)",
    ),
    Place(
        "slot",
        "self.held = value(at(n))",
        play="agent.step(n)\nkeep(agent.held)",
        start="self.held = value(0)",
        base="SlottedAgent",
    ),
    Place(
        "class attribute",
        "type(self).held = value(at(n))",
        play="agent.step(n)\nkeep(vars(type(agent))['held'])",
    ),
    Place("closure", "self.act = closing_over(value(at(n)))", play="agent.step(n)\nkeep(agent.act())"),
    Place(
        "argument of a tool",
        _HELD + "answer = ask(held)",
        result="answer",
        head="@record_tool\ndef ask(held):\n    return 'fine'\n",
    ),
    Place(
        "answer of a tool",
        "answer = ask(n)",
        result="[repr(leaf(answer)), at(n)]",
        play="keep_plain(agent.step(n))",
        head="@record_tool\ndef ask(n):\n    return value(0)\n",
        is_input=True,
    ),
    Place("message to an agent", _HELD + 'send("qN", body=held)'),
    Place(
        "message to a model",
        _HELD + "answer = ask_model(self.model, held)",
        result="answer",
        start="self.model = recorded_model(FakeModel())",
        needs="smolagents",
    ),
    Place(
        "shared by two agents",
        "self.held = self.peer.held = value(at(n))\nself.peer.take(n)",
        play="agent.step(n)\nkeep(agent.peer.held)",
        head=_PEER,
        start='self.peer = QN("qN")\nself.peer.held = None',
        given='{"pN": agent, "qN": agent.peer}',
    ),
    Place(
        "error",
        'raise Failure("failed", value(at(n)))',
        play="""
        try:
            agent.step(n)
        except Failure as error:
            keep(error.detail)
        """,
    ),
    Place("event", _HELD + 'self.logger.log_decision("choose", {"held": held})'),
]
