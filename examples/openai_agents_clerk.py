"""An agent of the OpenAI Agents SDK, recorded; replayed with `--target openai_agents_clerk:Clerk`."""

import agents

from Agent import trace_agent_action
from Agent.flight import recorded_model

agents.set_tracing_disabled(True)  # its own, which goes to its vendor


class Clerk(agents.Model):  # which is its own model, offline
    agent_id, stream_response = "clerk", None

    async def get_response(self, *args, **kwargs):
        said = {"id": "1", "type": "message", "role": "assistant", "status": "completed"}
        said["content"] = [{"type": "output_text", "text": "42", "annotations": []}]
        return agents.ModelResponse([agents.items.ResponseOutputMessage(**said)], agents.Usage(), None)

    @trace_agent_action
    def ask(self, asked):
        return agents.Runner.run_sync(agents.Agent("clerk", model=recorded_model(self)), asked).final_output


if __name__ == "__main__":
    print(Clerk().ask("How much is 6 times 7?"))
