"""An agent of smolagents, recorded; replayed with `--target smolagents_clerk:Clerk`."""

import smolagents

from Agent import trace_agent_action
from Agent.flight import recorded_model


class Scripted(smolagents.Model):
    def generate(self, messages, **kwargs):
        return smolagents.ChatMessage(role="assistant", content="<code>\nfinal_answer(6 * 7)\n</code>")


class Clerk:
    agent_id = "clerk"

    @trace_agent_action
    def ask(self, question):
        return smolagents.CodeAgent([], recorded_model(Scripted()), verbosity_level=0).run(question)


if __name__ == "__main__":
    print(Clerk().ask("How much is 6 times 7?"))
