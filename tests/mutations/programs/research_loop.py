"""A loop of a fake language model and tools."""

import json

from Agent import setup_logging, shutdown_logging, trace_agent_action
from Agent.flight import record_tool

PAGES = {"tea": "Tea grows in Assam.", "assam": "Assam is in India.", "india": "India's capital is Delhi."}


class ScriptedModel:
    """Answers from what it is asked, as a language model would."""

    def __init__(self):
        self.agent_id, self.agent_role = "model", "model"

    @trace_agent_action()
    def complete(self, messages):
        seen = " ".join(message["content"] for message in messages).lower()
        for word in ("assam", "india"):
            if word in seen and f"search({word})" not in seen:
                return {"role": "assistant", "content": f"search({word})"}
        return {"role": "assistant", "content": "final: Delhi" if "delhi" in seen else "search(tea)"}


@record_tool
def search(word):
    return PAGES.get(word, "nothing found")


class Researcher:
    agent_role = "researcher"

    def __init__(self):
        self.agent_id = "researcher"
        self.model = ScriptedModel()
        self.messages = []
        self.cost = 0.0

    @trace_agent_action()
    def turn(self, question=None):
        if question:
            self.messages = [{"role": "user", "content": question}]
        answer = self.model.complete(self.messages)
        self.messages.append(answer)
        self.cost = round(self.cost + len(json.dumps(answer)) * 0.001, 4)
        if answer["content"].startswith("search("):
            word = answer["content"][7:-1]
            self.messages.append({"role": "tool", "content": search(word)})
            return None
        return answer["content"].removeprefix("final: ")


def build(spec):
    return Researcher()


def main():
    setup_logging()
    researcher = Researcher()
    answer = researcher.turn("Where does tea come from?")
    while answer is None:
        answer = researcher.turn()
    shutdown_logging()
    print(answer, researcher.cost)


if __name__ == "__main__":
    main()
