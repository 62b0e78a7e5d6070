"""A debate club on AutoGen AgentChat. The chat client is local: it argues from a word list, and calls a fact tool first."""
import asyncio
import os
import zlib
from collections import Counter
from typing import Any, Mapping, Sequence

from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall
from autogen_core.models import (ChatCompletionClient, CreateResult, FunctionExecutionResultMessage, ModelFamily, ModelInfo,
                                 RequestUsage)

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

MOTIONS = ["homework should be optional", "cities need fewer cars", "robots may vote", "tea beats coffee",
           "exams are unfair", "zoos must close", "night trains are the future"]
REASONS = ["because people asked for it", "as history shows", "since it is cheaper", "and children agree", "by all evidence"]


def evidence(topic: str) -> str:
    """Number of studies on a topic."""
    return str(zlib.crc32(topic.encode()) % 40)


class Sophist(ChatCompletionClient):
    component_type = "model"

    def __init__(self, stance):
        self.stance = stance

    async def create(self, messages: Sequence[Any], *, tools: Sequence[Any] = (), **kwargs: Any) -> CreateResult:
        usage = RequestUsage(prompt_tokens=1, completion_tokens=1)
        last = messages[-1]
        if isinstance(last, FunctionExecutionResultMessage):
            n = last.content[0].content
            whole = "".join(str(m.content) for m in messages if isinstance(m.content, str))
            text = f"I am {self.stance}: {n} studies, {REASONS[zlib.crc32(whole.encode()) % 5]}"
            return CreateResult(finish_reason="stop", content=text, usage=usage, cached=False)
        topic = str(last.content).split(":")[-1].split()[-1]
        return CreateResult(finish_reason="function_calls", usage=usage, cached=False,
                            content=[FunctionCall(id="c1", name="evidence", arguments='{"topic": "%s"}' % topic)])

    async def create_stream(self, *args: Any, **kwargs: Any):
        yield await self.create(*args, **kwargs)

    async def close(self) -> None:
        pass

    def actual_usage(self):
        return RequestUsage(prompt_tokens=0, completion_tokens=0)

    total_usage = actual_usage

    def count_tokens(self, messages, *, tools=()):
        return 1

    remaining_tokens = count_tokens

    @property
    def capabilities(self):
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN,
                         structured_output=False)


class Debater:
    def __init__(self, agent_id, stance):
        self.agent_id = agent_id
        self.stance = stance
        self.points = Counter()
        self.said = []
        self.doubt = 0.0

    def _assistant(self):
        return AssistantAgent(self.agent_id, Sophist(self.stance), tools=[evidence], reflect_on_tool_use=True,
                              system_message=f"You argue {self.stance} the motion.")

    @trace_agent_action()
    @watch
    async def argue(self, motion, against):
        task = f"Motion: {motion}" if not against else f"Reply to {against!r} on: {motion}"
        result = await self._assistant().run(task=task)
        text = result.messages[-1].content
        if text in self.said:
            self.doubt = round(self.doubt + 0.25, 2)
        self.said.append(text)
        self.points[text.split()[-1]] += 1
        if len(self.said) > 8:
            self.said = self.said[2:]
        return text

    @trace_agent_action()
    @watch
    def concede(self, motion):
        if self.doubt < 1:
            raise RuntimeError(f"{self.agent_id} never concedes ({motion})")
        self.doubt -= 1
        self.stance = "against" if self.stance == "for" else "for"
        return self.stance


TEAMS = {"pro": "for", "contra": "against"}


def build(spec):
    if spec.agent_id is None:
        return {name: Debater(name, s) for name, s in TEAMS.items()}
    return Debater(spec.agent_id, TEAMS[spec.agent_id])


async def evening():
    debaters = [Debater(*row) for row in TEAMS.items()]
    for n in range(14):
        motion = MOTIONS[n % len(MOTIONS)]
        with tick(n):
            last = ""
            for turn in range(2):
                for debater in debaters:
                    last = await debater.argue(motion, last)
                    print(n, debater.agent_id, last)
            for debater in debaters:
                try:
                    print(debater.concede(motion))
                except RuntimeError as error:
                    print(error)
    for debater in debaters:
        print(debater.agent_id, dict(debater.points), debater.doubt)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(evening())


if __name__ == "__main__":
    main()
