"""Help desk: each clerk is a LangGraph graph (classify -> tool -> answer) around a scripted chat model."""
import operator
import os
import re
import zlib
from typing import Annotated, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

ORDERS = {f"A{n}": {"item": item, "days": n % 9, "price": 10 + 3 * n} for n, item in
          enumerate(["kettle", "toaster", "lamp", "fan", "scale", "mixer", "radio", "clock"] * 3)}


@tool
def lookup_order(order_id: str) -> str:
    """Find an order."""
    row = ORDERS.get(order_id)
    return f"{row['item']}|{row['days']}|{row['price']}" if row else "none"


class ScriptedModel(GenericFakeChatModel):
    """Answers by rules, so that the desk can run without a network."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        prompt = "\n".join(str(m.content) for m in messages)
        last = str(messages[-1].content).lower()
        if "classify" in prompt:
            label = "refund" if "money" in last or "refund" in last else "status" if "where" in last else "other"
            self.messages = iter([AIMessage(content=label, id="c")])
        else:
            tone = ["Certainly", "Of course", "Sure", "With pleasure"][zlib.crc32(prompt.encode()) % 4]
            self.messages = iter([AIMessage(content=f"{tone}. {str(messages[-1].content)[-60:]}", id="a")])
        return super()._generate(messages, stop, run_manager, **kwargs)


class Ticket(TypedDict):
    text: str
    label: str
    facts: dict
    trail: Annotated[list, operator.add]
    answer: str


class Clerk:
    def __init__(self, agent_id, refund_days=5):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "clerk")
        self.refund_days = refund_days
        self.model = ScriptedModel(messages=iter([]))
        self.done = {}
        self.refunded = 0
        self.last_prompt = None
        self.escalations = []
        self.graph = self._compile()

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k not in ("graph", "model")}

    def _compile(self):
        graph = StateGraph(Ticket)
        graph.add_node("classify", self._classify)
        graph.add_node("facts", self._facts)
        graph.add_node("reply", self._reply)
        graph.add_edge(START, "classify")
        graph.add_conditional_edges("classify", lambda s: "facts" if s["label"] != "other" else "reply")
        graph.add_edge("facts", "reply")
        graph.add_edge("reply", END)
        return graph.compile()

    def _classify(self, state):
        prompt = [SystemMessage("You classify tickets into refund, status or other."), HumanMessage(state["text"])]
        label = self.model.invoke(prompt).content
        return {"label": label, "trail": [("label", label)]}

    def _facts(self, state):
        found = re.search(r"\bA\d+\b", state["text"])
        raw = lookup_order.invoke({"order_id": found.group(0) if found else "?"})
        if raw == "none":
            return {"facts": {}, "trail": [("facts", None)]}
        item, days, price = raw.split("|")
        return {"facts": {"item": item, "days": int(days), "price": int(price)}, "trail": [("facts", item)]}

    def _reply(self, state):
        facts = state.get("facts") or {}
        if state["label"] == "refund" and facts:
            ok = facts["days"] <= self.refund_days
            line = f"{facts['item']}: refund of {facts['price']} " + ("granted" if ok else "is too late")
            if ok:
                self.refunded += facts["price"]
        elif facts:
            line = f"your {facts['item']} is {facts['days']} days away"
        else:
            line = "a colleague will call you"
        self.last_prompt = f"Write one friendly line: {line}"
        answer = self.model.invoke([SystemMessage("You are a clerk."), HumanMessage(self.last_prompt)]).content
        return {"answer": answer, "trail": [("reply", len(answer))]}

    @trace_agent_action()
    @watch
    def handle(self, number, text):
        if not text.strip():
            raise ValueError(f"ticket {number} is empty")
        out = self.graph.invoke({"text": text, "trail": []})
        self.done[number] = {"label": out["label"], "steps": len(out["trail"]), "facts": out.get("facts", {})}
        if out["label"] == "other":
            self.escalations.append(number)
        return out["answer"]


def desk():
    return {c.agent_id: c for c in (Clerk("mina"), Clerk("otto", refund_days=3))}


def build(spec):
    clerks = desk()
    return clerks if spec.agent_id is None else clerks[spec.agent_id]


TEXTS = ["Where is my order A{}?", "I want my money back for A{}", "Your shop is lovely ({})", "refund A{} please",
         "where did A{} go", " "]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    clerks = list(desk().values())
    for n in range(48):
        with tick(n):
            clerk = clerks[n % 2]
            text = TEXTS[n * 5 // 2 % 6].format(n % 27)
            try:
                print(n, clerk.agent_id, clerk.handle(n, text))
            except ValueError as error:
                print(n, "error", error)
    for clerk in clerks:
        print(clerk.agent_id, clerk.refunded, clerk.escalations)


if __name__ == "__main__":
    main()
