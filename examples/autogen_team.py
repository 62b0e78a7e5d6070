"""A team of AutoGen, recorded by the method that runs it; replayed with `--target autogen_team:Panel`."""

import asyncio

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.replay import ReplayChatCompletionClient

from Agent import trace_agent_action
from Agent.flight import recorded_sources


class Panel:
    agent_id = "panel"

    @trace_agent_action
    async def write(self, task):
        team = [AssistantAgent(name, ReplayChatCompletionClient([f"{name}: tea"])) for name in ("ann", "bob")]
        return (await RoundRobinGroupChat(team, max_turns=2).run(task=task)).messages[-1].content


if __name__ == "__main__":
    with recorded_sources():
        print(asyncio.run(Panel().write("a haiku")))
