"""Insurance clerks with llama-index: a custom LLM, function tools and a small workflow per claim."""
import asyncio
import os
import random
import zlib
from typing import Any

from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Event, StartEvent, StopEvent, Workflow, step

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

TABLE = {"water": 0.8, "fire": 0.9, "theft": 0.6, "glass": 1.0}
PROMPT = PromptTemplate("You are clerk {clerk}. Damage: {kind}, {amount} euro. Say pay, inspect or deny.")


def coverage(kind: str) -> float:
    """Share of the damage that the policy covers."""
    return TABLE[kind]


class RuleLLM(CustomLLM):
    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="rules")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        amount = int(prompt.split(" euro")[0].split()[-1])
        score = zlib.crc32(prompt.encode()) % 100
        word = "deny" if score < 15 else "inspect" if amount > 700 or score < 30 else "pay"
        return CompletionResponse(text=f"{word} ({score})")

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any):
        yield self.complete(prompt)


class Assessed(Event):
    word: str
    share: float
    amount: int


class ClaimFlow(Workflow):
    llm: Any = None
    tool: Any = None

    def __init__(self, clerk, **kwargs):
        super().__init__(**kwargs)
        self.clerk = clerk
        self.llm = RuleLLM()
        self.tool = FunctionTool.from_defaults(coverage)

    @step
    async def assess(self, ev: StartEvent) -> Assessed:
        text = (await self.llm.acomplete(PROMPT.format(clerk=self.clerk, kind=ev.kind, amount=ev.amount))).text
        share = float(self.tool.call(kind=ev.kind).raw_output)
        return Assessed(word=text.split()[0], share=share, amount=ev.amount)

    @step
    async def decide(self, ev: Assessed) -> StopEvent:
        pay = {"pay": ev.amount * ev.share, "inspect": ev.amount * ev.share * 0.5, "deny": 0.0}[ev.word]
        return StopEvent(result={"word": ev.word, "pay": round(pay, 2)})


class Clerk:
    def __init__(self, agent_id, reserve):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "clerk")
        self.reserve = reserve
        self.claims = []
        self.by_kind = {}
        self.flagged = set()

    @trace_agent_action()
    @watch
    async def handle(self, customer, kind, amount):
        if customer in self.flagged and amount > 300:
            raise PermissionError(f"{customer} is flagged by {self.agent_id}")
        outcome = await ClaimFlow(self.agent_id, timeout=60).run(kind=kind, amount=amount)
        self.reserve = round(self.reserve - outcome["pay"], 2)
        self.claims.append((customer, outcome["word"]))
        bucket = self.by_kind.setdefault(kind, {"n": 0, "paid": 0.0})
        bucket["n"] += 1
        bucket["paid"] = round(bucket["paid"] + outcome["pay"], 2)
        if sum(1 for c, w in self.claims if c == customer and w != "pay") >= 3:
            self.flagged.add(customer)
        return outcome

    @trace_agent_action()
    @watch
    async def quarter(self, number):
        if self.reserve < 1500:
            self.reserve += 2500
            self.flagged = set(sorted(self.flagged)[1:])
        return sorted(self.by_kind, key=lambda k: (-self.by_kind[k]["paid"], k))


CLERKS = {"lotte": 6000.0, "rene": 3500.0}


def build(spec):
    if spec.agent_id is None:
        return {name: Clerk(name, r) for name, r in CLERKS.items()}
    return Clerk(spec.agent_id, CLERKS[spec.agent_id])


async def year():
    clerks = [Clerk(*row) for row in CLERKS.items()]
    rng = random.Random(66)
    for week in range(24):
        with tick(week):
            for clerk in clerks:
                customer, kind = rng.choice(["Ode", "Pim", "Quin", "Rosa"]), rng.choice(list(TABLE))
                try:
                    print(week, clerk.agent_id, customer, await clerk.handle(customer, kind, rng.randint(50, 1100)))
                except PermissionError as error:
                    print(week, error)
                if week % 6 == 5:
                    print(await clerk.quarter(week // 6))
    for clerk in clerks:
        print(clerk.agent_id, clerk.reserve, clerk.by_kind, sorted(clerk.flagged))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(year())


if __name__ == "__main__":
    main()
