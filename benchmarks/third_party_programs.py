"""Programs over simulations and frameworks of others, and what is changed in them to see what a replay says.

Each is the text of one module. Its head says whether it is traced: by this project, or by nobody, as it is
given to the peer. What is changed is one line of the others' or the agent's code, such that a known step does
something else, or a draw of chance that no recorder was told of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TRACED = """
from Agent import instrument, setup_logging, shutdown_logging, tick
from Agent.flight import record_tool, recorded_model, recorded_sources
from Agent.utils import trace_agent_action
"""
PLAIN = """
from contextlib import nullcontext

def instrument(*args, **kwargs): pass
def setup_logging(): pass
def shutdown_logging(): pass
def tick(number): return nullcontext()
def recorded_sources(): return nullcontext()
def record_tool(function): return function
def recorded_model(model): return model
def recorded_graph(graph): return graph
def trace_agent_action(function): return function
"""
EDITED = '''
import inspect, textwrap

def edited(function, old, new):
    """The function with one line changed, as if its file had been edited."""
    lines, first = inspect.getsourcelines(function)
    text = textwrap.dedent("".join(lines))
    assert text.count(old) == 1, (old, text)
    found = {}
    code = "\\n" * (first - 1) + text.replace(old, new)
    exec(compile(code, inspect.getsourcefile(function), "exec"), function.__globals__, found)
    made = found[function.__name__]
    made.__qualname__ = function.__qualname__
    made.__code__ = made.__code__.replace(co_qualname=function.__qualname__)
    return made
'''
BOLTZMANN = """
from mesa.examples.basic.boltzmann_wealth_model.agents import MoneyAgent
from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth

# edit
instrument(MoneyAgent, methods=["step", "give_money"], agent_id=lambda a: f"household_{a.unique_id}", agent_role="household")
instrument(BoltzmannWealth, methods=["step"], agent_id=lambda model: "model", agent_role="model")

def build(spec):
    return {"model": BoltzmannWealth(*spec.init.args, **spec.init.kwargs), **spec.nested}

def main():
    setup_logging()
    model = BoltzmannWealth(n=20, width=5, height=5, seed=42)
    for number in range(1, STEPS + 1):
        with tick(number):
            model.step()
    shutdown_logging()
    print([agent.wealth for agent in model.agents])
"""
SCHELLING = """
from mesa.examples.basic.schelling.agents import SchellingAgent
from mesa.examples.basic.schelling.model import Schelling

# edit
instrument(SchellingAgent, methods=["step", "assign_state"], agent_id=lambda a: f"resident_{a.unique_id}", agent_role="resident")
instrument(Schelling, methods=["step"], agent_id=lambda model: "model", agent_role="model")

def build(spec):
    # The residents look around once while the model is made, before its first step.
    init = spec.of("model").init
    inside = {agent_id: None for agent_id in spec.agent_ids if agent_id != "model"}
    return {"model": Schelling(*init.args, **init.kwargs), **inside}

def main():
    setup_logging()
    model = Schelling(height=6, width=6, density=0.8, homophily=0.6, seed=7)
    for number in range(1, STEPS + 1):
        with tick(number):
            model.step()
    shutdown_logging()
    print([(agent.happy, agent.cell.coordinate) for agent in model.agents])
"""
LANGGRAPH = """
import random
from typing import Annotated, TypedDict
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

class State(TypedDict):
    messages: Annotated[list, add_messages]
    asked: int

@record_tool
def weather(city):
    return f"{len(city)} degrees in {city}"

def answers():
    for number, city in enumerate(["Oslo", "Kyoto", "Lima"]):
        call = {"name": "weather", "args": {"city": city}, "id": f"call_{number}"}
        yield AIMessage("", id=f"model_{number}", tool_calls=[call])
    yield AIMessage("Kyoto is warmest", id="model_end")

def build(spec=None):
    model = recorded_model(GenericFakeChatModel(messages=answers()))

    def plan(state):
        message = model.invoke(state["messages"])
        return {"messages": [message], "asked": state["asked"] + 1}

    def look(state):
        (call,) = state["messages"][-1].tool_calls
        told = weather(call["args"]["city"])
        return {"messages": [ToolMessage(told, tool_call_id=call["id"], id=f"tool_{state['asked']}")]}

    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("look", look)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: "look" if state["messages"][-1].tool_calls else END)
    graph.add_edge("look", "plan")
    return recorded_graph(graph.compile())

def main():
    setup_logging()
    found = build().invoke({"messages": [HumanMessage("Where is it warmest?", id="user")], "asked": 0})
    shutdown_logging()
    print(found["messages"][-1].content, found["asked"])
"""
OPENAI_AGENTS = """
import asyncio
import random
import agents
from openai.types import responses

class Scripted(agents.Model):
    model = "scripted-1"

    async def get_response(self, system_instructions, input, *args, **kwargs):
        asked = [input] if isinstance(input, str) else input
        if isinstance(asked[-1], dict) and asked[-1].get("type") == "function_call_output":
            content = [responses.ResponseOutputText(text=f"It is {asked[-1]['output']}.", type="output_text", annotations=[])]
            output = responses.ResponseOutputMessage(
                id="m1", content=content, role="assistant", status="completed", type="message"
            )
        else:
            output = responses.ResponseFunctionToolCall(
                id="f1", arguments='{"a": 2, "b": 3}', call_id="c1", name="add", type="function_call"
            )
        usage = agents.Usage(requests=1, input_tokens=10, output_tokens=4, total_tokens=14)
        return agents.ModelResponse(output=[output], usage=usage, response_id=None)

    async def stream_response(self, *args, **kwargs):
        raise NotImplementedError
        yield

@record_tool
def sum_of(a, b):
    return a + b

@agents.function_tool
async def add(a: int, b: int) -> int:
    return sum_of(a, b)

class Desk:
    def __init__(self):
        self.agent_id, self.agent_role = "desk", "clerk"
        self.model = recorded_model(Scripted())
        self.answered = 0

    @trace_agent_action
    async def ask(self, question):
        clerk = agents.Agent(name="clerk", tools=[add], model=self.model)
        silent = agents.RunConfig(tracing_disabled=True)
        given = await agents.Runner.run(clerk, question, run_config=silent)
        self.answered += 1
        return given.final_output

def build(spec=None):
    return Desk()

async def work():
    desk = build()
    for number in range(6):
        print(await desk.ask(f"How much is it, number {number}?"))

def main():
    setup_logging()
    with recorded_sources():
        asyncio.run(work())
    shutdown_logging()
"""


@dataclass(frozen=True)
class Change:
    """One change of a program, and what a replay must say of it."""

    old: str
    new: str
    step: int = 0
    """The step that does something else."""
    named: tuple[str, ...] = ()
    """What the answer must name: agent and field, or the place of the call."""


@dataclass(frozen=True)
class Subject:
    """One program.

    Args:
        needs: the packages that it imports.
        run: what is driven; "graph" for a run of LangGraph.
        changed: one line of the agent, so that a step does something else.
        drawn: a draw that no recorder was told of.
    """

    name: str
    needs: tuple[str, ...]
    run: str
    text: str
    changed: Change
    drawn: Change

    @property
    def module(self) -> str:
        """The name of its module."""
        return f"program_{self.name.lower().replace(' ', '_').replace('-', '_')}"

    def traced(self, change: Change | None = None) -> str:
        """The text as this project traces it."""
        head = TRACED
        if self.run == "graph":
            head += "from Agent.flight.recorded_graphs import recorded_graph\n"
        return head + EDITED + _changed(self.text, change)

    def plain(self, change: Change | None = None) -> str:
        """The text without any tracing, as it is given to the peer."""
        return PLAIN + EDITED + _changed(self.text, change) + '\nif __name__ == "__main__":\n    main()\n'

    def shorter(self, steps: int) -> Subject:
        """The same with another number of steps, for a simulation."""
        return replace(self, text=self.text.replace("STEPS", str(steps)))


def _changed(text: str, change: Change | None) -> str:
    if change is None:
        return text
    if text.count(change.old) != 1:
        raise ValueError(f"{change.old!r} stands {text.count(change.old)} times in the program")
    return text.replace(change.old, change.new)


def _edit(of: str, method: str, old: str, new: str, step: int, *named: str) -> Change:
    return Change("# edit", f"{of}.{method} = edited({of}.{method}, {old!r}, {new!r})", step, named)


STEPS = 200
SUBJECTS = (
    Subject(
        "Mesa Boltzmann", ("mesa",), "last", BOLTZMANN,
        _edit("MoneyAgent", "give_money", "self.wealth -= 1", "self.wealth -= 1 + (self.model.steps == 120)",
              120, "household_", "wealth"),
        _edit("MoneyAgent", "move", "self.cell = ", "__import__('random').random(); self.cell = ", 0,
              "random read by", "MoneyAgent.move (", "agents.py:"),
    ).shorter(STEPS),
    Subject(
        "Mesa Schelling", ("mesa",), "last", SCHELLING,
        _edit("SchellingAgent", "assign_state", "self.happy = True",
              "self.happy = (self.model.steps, self.unique_id) != (150, 9)", 150, "resident_9", "happy"),
        _edit("SchellingAgent", "assign_state", "neighbors = list",
              "__import__('random').random(); neighbors = list", 0, "random read by",
              "SchellingAgent.assign_state (", "agents.py:"),
    ).shorter(STEPS),
    Subject(
        "LangGraph", ("langgraph", "langchain_core"), "graph", LANGGRAPH,
        Change('state["asked"] + 1', 'state["asked"] + (2 if state["asked"] == 2 else 1)', 5, ("plan", "asked")),
        Change("        (call,) =", "        random.random()\n        (call,) =", 0, ("random read by", "look (")),
    ),
    Subject(
        "openai-agents", ("agents",), "last/desk", OPENAI_AGENTS,
        Change("self.answered += 1", "self.answered += 2 if '3' in question else 1", 4, ("desk", "answered")),
        Change("        self.answered += 1", "        random.random()\n        self.answered += 1", 0,
               ("random", "Desk.ask (")),
    ),
)  # fmt: skip
