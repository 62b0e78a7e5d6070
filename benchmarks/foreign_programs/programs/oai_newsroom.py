"""A newsroom on the OpenAI Agents SDK: an editor hands over to desks; the model is a local class."""
import asyncio
import os
import zlib
from collections import Counter

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool, handoff, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

import Agent as agent_trace
from oracle import watch

set_tracing_disabled(True)
WIRE = [("storm", "sports final delayed by storm"), ("bank", "bank lifts rates again"), ("cup", "cup semifinal tonight"),
        ("vote", "parliament vote on rates"), ("zoo", "baby panda at the zoo"), ("match", "late goal wins match"),
        ("oil", "oil price slips"), ("rain", "rain for the weekend match")]
SPORT = {"sports", "cup", "match", "goal"}


@function_tool
def archive(topic: str) -> str:
    """How often we wrote about a topic."""
    return f"{topic} was covered {zlib.crc32(topic.encode()) % 7} times"


class HouseModel(Model):
    def __init__(self, style):
        self.style = style

    def _message(self, text):
        return ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[
            ResponseOutputText(type="output_text", text=text, annotations=[])])

    async def get_response(self, system_instructions, input, *args, **kwargs):
        items = [input] if isinstance(input, str) else input
        outputs = [i for i in items if isinstance(i, dict) and i.get("type") == "function_call_output"]
        story = input if isinstance(input, str) else items[0]["content"]
        if not outputs:
            topic = story.split(":")[0]
            out = ResponseFunctionToolCall(id="f", call_id="c1", type="function_call", name="archive",
                                           arguments='{"topic": "%s"}' % topic)
        else:
            headline = story.split(":")[1].strip().title()
            times = outputs[-1]["output"].split()[-2]
            out = self._message(f"{headline}{self.style} [{times}/{len(system_instructions or '')}]")
        return ModelResponse(output=[out], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


class Desk:
    def __init__(self, agent_id, instructions, style="."):
        self.agent_id = agent_id
        self.instructions = instructions
        self.agent = Agent(name=agent_id, instructions=instructions, tools=[archive], model=HouseModel(style))
        self.printed = []
        self.words = Counter()

    @agent_trace.trace_agent_action()
    @watch
    async def write(self, topic, lead):
        run = await Runner.run(self.agent, f"{topic}: {lead}", max_turns=4)
        self.printed.append(run.final_output)
        self.words.update(w for w in lead.split() if len(w) > 3)
        if len(self.printed) > 6:
            self.printed.pop(0)
        return run.final_output

    @agent_trace.trace_agent_action()
    @watch
    async def front_page(self, slots):
        await asyncio.sleep(0)
        ranked = sorted(self.printed, key=len, reverse=True)
        if len(ranked) < slots:
            raise IndexError(f"{self.agent_id} has {len(ranked)} stories for {slots} slots")
        return ranked[:slots], self.words.most_common(2)


def newsroom():
    return {d.agent_id: d for d in (Desk("sport", "Write with passion.", "!"), Desk("news", "Be neutral and short."))}


def build(spec):
    desks = newsroom()
    return desks if spec.agent_id is None else desks[spec.agent_id]


async def shift():
    desks = newsroom()
    for hour in range(14):
        with agent_trace.tick(hour):
            for k in range(3):
                topic, lead = WIRE[(hour * 3 + k * 2) % len(WIRE)]
                desk = desks["sport" if SPORT & set(lead.split()) else "news"]
                print(hour, desk.agent_id, await desk.write(topic, lead))
            for desk in desks.values():
                try:
                    print(await desk.front_page(1 + hour // 4))
                except IndexError as error:
                    print(error)


def main():
    agent_trace.setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(shift())


if __name__ == "__main__":
    main()
