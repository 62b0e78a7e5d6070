"""An agent of Pydantic AI with a tool, recorded; replayed with `--target pydantic_ai_clerk:Clerk`."""

from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from Agent import trace_agent_action
from Agent.flight import record_tool, recorded_model


class Clerk:
    agent_id = "clerk"

    @trace_agent_action
    def ask(self, question):
        return Agent(recorded_model(TestModel()), tools=[stock]).run_sync(question).output


@record_tool
def stock(product: str) -> int:
    return 3 * len(product)


if __name__ == "__main__":
    print(Clerk().ask("How much tea is left?"))
