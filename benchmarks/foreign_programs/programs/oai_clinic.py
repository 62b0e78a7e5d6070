"""Clinic reception with the OpenAI Agents SDK: triage hands off to specialists; context object carries the chart."""
import asyncio
import json
import os
import random
from dataclasses import dataclass, field

from agents import (Agent, Model, ModelResponse, RunContextWrapper, Runner, Usage, function_tool, set_tracing_disabled)
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from agent_trace import setup_logging, tick, trace_agent_action
from oracle import watch

set_tracing_disabled(True)


@dataclass
class Chart:
    name: str
    pulse: int
    notes: list = field(default_factory=list)
    doses: dict = field(default_factory=dict)


@function_tool
def measure(ctx: RunContextWrapper[Chart], what: str) -> str:
    """Measure something."""
    jitter = _instrument.choice((-1, 0, 1))
    value = ctx.context.pulse + jitter if what == "pulse" else 36
    ctx.context.notes.append(f"{what} {value}")
    return str(value)


@function_tool
def prescribe(ctx: RunContextWrapper[Chart], drug: str, mg: int) -> str:
    """Prescribe a drug."""
    ctx.context.doses[drug] = ctx.context.doses.get(drug, 0) + mg
    return f"{mg}mg {drug}"


_instrument = random.Random()  # the pulse oximeter is a little off


def say(text):
    return ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[
        ResponseOutputText(type="output_text", text=text, annotations=[])])


def call(name, **arguments):
    return ResponseFunctionToolCall(id="f", call_id=f"{name}-1", type="function_call", name=name, arguments=json.dumps(arguments))


class Protocol(Model):
    """A decision tree in the place of a language model."""

    def __init__(self, tree):
        self.tree = tree

    async def get_response(self, system_instructions, input, *args, **kwargs):
        items = [{"role": "user", "content": input}] if isinstance(input, str) else list(input)
        outputs = [i["output"] for i in items if isinstance(i, dict) and i.get("type") == "function_call_output"]
        return ModelResponse(output=[self.tree(items[0]["content"], outputs)], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


def heart_tree(story, outputs):
    if not outputs or "pulse" not in story:
        return call("measure", what="pulse") if not outputs else say("rest")
    if len(outputs) == 1:
        return call("prescribe", drug="beta", mg=25 if int(outputs[0]) > 95 else 10)
    return say(f"take {outputs[-1]}, pulse {outputs[0]}")


def general_tree(story, outputs):
    if "fever" in story and not outputs:
        return call("prescribe", drug="para", mg=500)
    return say(outputs[-1] if outputs else "drink water")


class Doctor:
    trees = {"heart": heart_tree, "general": general_tree}

    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.agent = Agent[Chart](name=agent_id, instructions=f"You are the {agent_id} doctor.",
                                  tools=[measure, prescribe], model=Protocol(self.trees[agent_id]))
        self.charts = {}
        self.advice = []

    @trace_agent_action()
    @watch
    async def see(self, name, story, pulse):
        chart = self.charts.setdefault(name, Chart(name, pulse))
        chart.pulse = pulse
        result = await Runner.run(self.agent, story, context=chart)
        self.advice.append(result.final_output)
        if sum(chart.doses.values()) > 2000:
            raise OverflowError(f"{name} had {chart.doses} already")
        return result.final_output

    @trace_agent_action()
    @watch
    async def handover(self):
        summary = {name: len(chart.notes) for name, chart in self.charts.items() if chart.notes}
        for chart in self.charts.values():
            del chart.notes[:-4]
        return summary


def build(spec):
    if spec.agent_id is None:
        return {name: Doctor(name) for name in Doctor.trees}
    return Doctor(spec.agent_id)


async def morning():
    doctors = {name: Doctor(name) for name in Doctor.trees}
    rng = random.Random(120)
    for hour in range(20):
        with tick(hour):
            for name in rng.sample(["Ann", "Bo", "Cem", "Dai"], 2):
                story = rng.choice(["pulse is racing", "fever and cough", "cannot sleep", "pulse skips"])
                who = "heart" if "pulse" in story or hour % 6 == 0 else "general"
                try:
                    print(hour, name, await doctors[who].see(name, story, rng.randint(70, 120)))
                except OverflowError as error:
                    print(hour, error)
            if hour % 5 == 4:
                for doctor in doctors.values():
                    print(await doctor.handover())


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(morning())


if __name__ == "__main__":
    main()
