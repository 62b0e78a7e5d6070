"""Writer and critic subgraphs in LangGraph with a MemorySaver; a supervisor loops until the critic is happy."""
import os
import zlib
from typing import TypedDict

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

WORDS = "moon river stone light winter bird glass road iron salt ember leaf".split()


class Muse(BaseChatModel):
    """Picks words from the checksum of the prompt; deterministic, and sensitive to every letter."""
    width: int = 5

    @property
    def _llm_type(self):
        return "muse"

    def _generate(self, messages: list[BaseMessage], stop=None, run_manager=None, **kwargs):
        prompt = "|".join(m.type + str(m.content) for m in messages)
        seed = zlib.crc32(prompt.encode())
        words = []
        for _ in range(self.width):
            seed = (seed * 1103515245 + 12345) % 2 ** 31
            words.append(WORDS[(seed >> 16) % len(WORDS)])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=" ".join(words), id="muse"))])


class Draft(TypedDict, total=False):
    theme: str
    line: str
    marks: list
    rounds: int


class Writer:
    template = ChatPromptTemplate.from_messages([
        ("system", "You write one line of verse about {theme}."),
        ("human", "Improve: {line}. The critic says: {marks}"),
    ])

    def __init__(self, agent_id, width=5):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "writer")
        self.muse = Muse(width=width)
        self.favourites = {}
        self.drafts = 0
        self.best = ""

    @trace_agent_action()
    @watch
    def write(self, theme, line, marks):
        prompt = self.template.format_messages(theme=theme, line=line or "nothing yet", marks=", ".join(marks) or "fine")
        text = self.muse.invoke(prompt).content
        self.drafts += 1
        for word in text.split():
            self.favourites[word] = self.favourites.get(word, 0) + 1
        if len(set(text.split())) > len(set(self.best.split())):
            self.best = text
        if self.drafts == 40:
            self.favourites = dict(sorted(self.favourites.items(), key=lambda kv: -kv[1]))
        return text


class Critic:
    def __init__(self, agent_id="critic", patience=3):
        self.agent_id = agent_id
        self.patience = patience
        self.verdicts = {"pass": 0, "fail": 0, "tired": 0}
        self.banned = {"iron"}
        self.recent = []

    @trace_agent_action()
    @watch
    def judge(self, theme, line, rounds):
        marks = []
        words = line.split()
        if len(set(words)) < len(words):
            marks.append("repetition")
        for word in sorted(self.banned & set(words)):
            marks.append(f"no {word} please")
        if line in self.recent:
            raise ValueError(f"plagiarism on {theme!r}: {line[:12]}...")
        self.recent = (self.recent + [line])[-20:]
        if marks and rounds >= self.patience:
            self.verdicts["tired"] += 1
            marks = []
        else:
            self.verdicts["fail" if marks else "pass"] += 1
        if self.verdicts["pass"] % 6 == 5:
            self.banned.add(words[-1])
        return marks


def cast():
    return {a.agent_id: a for a in (Writer("sappho"), Writer("basho", 4), Critic())}


def build(spec):
    agents = cast()
    return agents if spec.agent_id is None else agents[spec.agent_id]


def make_graph(writer, critic):
    def write(state):
        return {"line": writer.write(state["theme"], state.get("line", ""), state.get("marks", [])),
                "rounds": state.get("rounds", 0) + 1}

    def judge(state):
        try:
            return {"marks": critic.judge(state["theme"], state["line"], state["rounds"])}
        except ValueError as error:
            return {"marks": [str(error)[:10]]}

    graph = StateGraph(Draft)
    graph.add_node("write", write)
    graph.add_node("judge", judge)
    graph.add_edge(START, "write")
    graph.add_edge("write", "judge")
    graph.add_conditional_edges("judge", lambda s: "write" if s["marks"] and s["rounds"] < 6 else END)
    return graph.compile(checkpointer=MemorySaver())


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    agents = cast()
    graphs = {name: make_graph(agents[name], agents["critic"]) for name in ("sappho", "basho")}
    for night in range(16):
        with tick(night):
            for name, graph in graphs.items():
                out = graph.invoke({"theme": WORDS[night % len(WORDS)]}, {"configurable": {"thread_id": f"{name}{night}"}})
                print(f"{night:2} {name:7} {out['line']:40} {out['rounds']} {out['marks']}")
    print(agents["critic"].verdicts, sorted(agents["critic"].banned), agents["sappho"].best)


if __name__ == "__main__":
    main()
