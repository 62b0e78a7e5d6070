"""Two agents of AutoGen, recorded; replayed with `--target autogen_agents:AssistantAgent`."""

import asyncio

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.replay import ReplayChatCompletionClient

from Agent import instrument
from Agent.flight import recorded_sources

instrument(AssistantAgent, methods=["run"], agent_id="name")
if __name__ == "__main__":
    with recorded_sources():
        for name, says in (("writer", "tea, steam"), ("critic", "too long")):
            agent = AssistantAgent(name, ReplayChatCompletionClient([says, says]))
            print(asyncio.run(agent.run(task="a haiku")).messages[-1].content)
