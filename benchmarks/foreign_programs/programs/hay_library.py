"""Librarians answer questions with a Haystack pipeline: BM25 over an in-memory store, a prompt and a scripted generator."""
import os
import zlib
from collections import OrderedDict

from haystack import Document, Pipeline, component
from haystack.components.builders import PromptBuilder
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

SHELF = [
    "Bees build wax combs and dance to tell the way to flowers.",
    "Glaciers grind stone into flour that colours lakes turquoise.",
    "The abacus was used for trade long before written numerals spread.",
    "Tides follow the moon; spring tides come with a full moon.",
    "Sourdough rises because wild yeast and bacteria ferment flour.",
    "Owls turn their heads far because their eyes cannot move.",
    "Lighthouses once burned coal and whale oil behind glass lenses.",
]
QUESTIONS = ["how do bees dance", "why is the lake turquoise", "what makes flour rise", "moon and tides", "owls eyes",
             "coal in a lighthouse", "dragons", "numerals for trade", "glass"]
TEMPLATE = """Answer for a {{ reader }}.
{% for d in documents %}- {{ d.content }}
{% endfor %}Question: {{ question }}"""


@component
class Extractor:
    """Returns the first clause of the best document; a checksum of the prompt decides on the opening."""

    openings = ("Well,", "In short:", "Look,", "You see,")

    @component.output_types(replies=list[str])
    def run(self, prompt: str):
        facts = [line[2:] for line in prompt.splitlines() if line.startswith("- ")]
        if not facts:
            return {"replies": ["I do not know."]}
        opening = self.openings[zlib.crc32(prompt.encode()) % 4]
        return {"replies": [f"{opening} {facts[0].split(';')[0]}"]}


def make_pipeline(top_k):
    store = InMemoryDocumentStore()
    store.write_documents([Document(id=f"d{k}", content=text) for k, text in enumerate(SHELF)])
    pipe = Pipeline()
    pipe.add_component("find", InMemoryBM25Retriever(store, top_k=top_k))
    pipe.add_component("prompt", PromptBuilder(TEMPLATE, required_variables=["reader", "documents", "question"]))
    pipe.add_component("llm", Extractor())
    pipe.connect("find.documents", "prompt.documents")
    pipe.connect("prompt.prompt", "llm.prompt")
    return pipe


class Librarian:
    def __init__(self, agent_id, top_k, reader):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "librarian")
        self.pipeline = make_pipeline(top_k)
        self.reader = reader
        self.cache = OrderedDict()
        self.stats = {"hits": 0, "misses": 0, "sources": {}}
        self.unanswered = set()

    @trace_agent_action()
    @watch
    def answer(self, question):
        if question in self.cache:
            self.cache.move_to_end(question)
            self.stats["hits"] += 1
            return self.cache[question]
        self.stats["misses"] += 1
        result = self.pipeline.run({"find": {"query": question}, "prompt": {"question": question, "reader": self.reader}},
                                   include_outputs_from={"find"})
        for document in result["find"]["documents"]:
            if document.score and document.score > 0.5:
                self.stats["sources"][document.id] = self.stats["sources"].get(document.id, 0) + 1
        reply = result["llm"]["replies"][0]
        if not self.stats["sources"] or "not know" in reply:
            self.unanswered.add(question)
        self.cache[question] = reply
        if len(self.cache) > 5:
            self.cache.popitem(last=False)
        return reply

    @trace_agent_action()
    @watch
    def close_day(self, day):
        top = max(self.stats["sources"].items(), key=lambda kv: (kv[1], kv[0]), default=("none", 0))
        if day > 6 and self.reader == "child":
            self.reader = "pupil"
        return {"day": day, "top": top, "cached": list(self.cache)}


CREW = {"agnes": (1, "child"), "boris": (3, "scholar")}


def build(spec):
    if spec.agent_id is None:
        return {name: Librarian(name, *args) for name, args in CREW.items()}
    return Librarian(spec.agent_id, *CREW[spec.agent_id])


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    crew = [Librarian(name, *args) for name, args in CREW.items()]
    for day in range(12):
        with tick(day):
            for k, librarian in enumerate(crew):
                for j in range(3):
                    question = QUESTIONS[(day * (k + 2) + j * j) % len(QUESTIONS)]
                    print(day, librarian.agent_id, librarian.answer(question))
                librarian.close_day(day)
    for librarian in crew:
        print(librarian.agent_id, librarian.stats, sorted(librarian.unanswered))


if __name__ == "__main__":
    main()
