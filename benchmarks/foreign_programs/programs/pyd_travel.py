"""Travel agents on Pydantic AI. A FunctionModel plays the language model: it calls a tool, then concludes."""
import asyncio
import json
import os
from dataclasses import dataclass, field

from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart, RetryPromptPart
from pydantic_ai.models.function import FunctionModel

from agent_trace import setup_logging, tick, trace_agent_action
from oracle import watch

PRICES = {("Oslo", "Bergen"): 420, ("Oslo", "Riga"): 890, ("Riga", "Vilnius"): 260, ("Bergen", "Riga"): 1130,
          ("Vilnius", "Oslo"): 940, ("Lodz", "Oslo"): 770}


class Trip(BaseModel):
    origin: str
    goal: str
    people: int = 1


@dataclass
class Wallet:
    budget: int
    bookings: list[tuple] = field(default_factory=list)
    quotes: dict = field(default_factory=dict)


def plan(messages, info):
    """The scripted model."""
    last = messages[-1].parts[-1]
    if isinstance(last, ToolReturnPart):
        if not str(last.content).startswith("{"):  # the tool asked for a retry
            return ModelResponse(parts=[TextPart("skip 0")])
        quote = json.loads(last.content)
        verdict = "book" if quote["total"] <= quote["left"] else "skip"
        return ModelResponse(parts=[TextPart(f"{verdict} {quote['total']}")])
    if isinstance(last, RetryPromptPart):
        return ModelResponse(parts=[TextPart("skip 0")])
    words = last.content.split()
    args = {"origin": words[-3], "goal": words[-2], "people": int(words[-1])}
    return ModelResponse(parts=[ToolCallPart("quote", args, tool_call_id=f"call-{len(messages)}")])


def make_planner():
    planner = Agent(FunctionModel(plan), deps_type=Wallet, system_prompt="You plan cheap trips.")

    @planner.tool
    def quote(ctx: RunContext[Wallet], origin: str, goal: str, people: int) -> str:
        """Price of a trip."""
        price = PRICES.get((origin, goal)) or PRICES.get((goal, origin))
        if price is None:
            raise ModelRetry(f"no connection from {origin} to {goal}")
        total = price * people * (90 if people >= 3 else 100) // 100
        ctx.deps.quotes[f"{origin}-{goal}"] = total
        return json.dumps({"total": total, "left": ctx.deps.budget})

    return planner


class TravelAgent:
    planner = make_planner()

    def __init__(self, agent_id, budget):
        self.agent_id = agent_id
        self.wallet = Wallet(budget)
        self.requests = []
        self.skipped = 0

    @trace_agent_action()
    @watch
    async def plan_trip(self, trip: dict):
        wish = Trip(**trip)
        prompt = f"Please plan {wish.origin} {wish.goal} {wish.people}"
        self.requests.append(prompt)
        result = await self.planner.run(prompt, deps=self.wallet)
        word, amount = result.output.split()
        if word == "book":
            self.wallet.budget -= int(amount)
            self.wallet.bookings.append((wish.origin, wish.goal, int(amount)))
        else:
            self.skipped += 1
        return result.output

    @trace_agent_action()
    @watch
    def review(self, month):
        if self.skipped > 2 * len(self.wallet.bookings):
            self.wallet.budget += 1500
            self.skipped = 0
        self.wallet.bookings.sort(key=lambda b: (-b[2], b[0]))
        top = self.wallet.bookings[0] if self.wallet.bookings else None
        return {"month": month, "top": top, "left": self.wallet.budget}


BUDGETS = {"iris": 9000, "jonas": 5200}


def build(spec):
    if spec.agent_id is None:
        return {name: TravelAgent(name, budget) for name, budget in BUDGETS.items()}
    return TravelAgent(spec.agent_id, BUDGETS[spec.agent_id])


async def season(agents):
    towns = ["Oslo", "Bergen", "Riga", "Vilnius", "Lodz"]
    for month in range(9):
        with tick(month):
            for k, agent in enumerate(agents):
                for j in range(3):
                    origin = towns[(month + j) % 5]
                    goal = towns[(month * 2 + j + k + 1) % 5]
                    print(agent.agent_id, origin, goal, await agent.plan_trip(
                        {"origin": origin, "goal": goal, "people": 1 + (month + j * k) % 4}))
                print(agent.review(month))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(season([TravelAgent(name, budget) for name, budget in BUDGETS.items()]))


if __name__ == "__main__":
    main()
