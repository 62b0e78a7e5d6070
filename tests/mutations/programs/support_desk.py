"""Pydantic models handed between a planner and two workers."""

from typing import Literal

from pydantic import BaseModel, Field

from Agent import receive, send, setup_logging, shutdown_logging, tick, trace_agent_action


class Ticket(BaseModel):
    number: int
    text: str
    priority: Literal["low", "high"] = "low"
    history: list[str] = Field(default_factory=list)


class Resolution(BaseModel):
    ticket: Ticket
    answer: str
    minutes: float


class Worker:
    def __init__(self, name, skill):
        self.agent_id, self.agent_role = name, "worker"
        self.skill = skill
        self.done: dict[int, Resolution] = {}

    @trace_agent_action()
    def solve(self, message):
        receive(message)
        ticket = message.body
        minutes = len(ticket.text) / (2 if self.skill in ticket.text else 1)
        resolution = Resolution(ticket=ticket, answer=f"{self.skill} fixed", minutes=minutes)
        self.done[ticket.number] = resolution
        return resolution


class Planner:
    def __init__(self, workers):
        self.agent_id, self.agent_role = "planner", "planner"
        self.workers = workers
        self.open: list[Ticket] = []
        self.minutes = 0.0

    @trace_agent_action()
    def handle(self, ticket):
        if "urgent" in ticket.text:
            ticket = ticket.model_copy(update={"priority": "high"})
        worker = next((w for w in self.workers if w.skill in ticket.text), self.workers[0])
        resolution = worker.solve(send(worker.agent_id, body=ticket))
        self.minutes += resolution.minutes
        return resolution.model_dump()


def make():
    workers = [Worker("wim", "printer"), Worker("nan", "network")]
    return {"planner": Planner(workers), **{worker.agent_id: worker for worker in workers}}


def build(spec):
    return make()


def main():
    setup_logging()
    planner = make()["planner"]
    texts = [
        "urgent: printer smokes",
        "network is slow",
        "printer jams",
        "mouse is dead",
        "network down, urgent",
    ]
    for number, text in enumerate(texts):
        with tick(number):
            planner.handle(Ticket(number=number, text=text))
    shutdown_logging()
    print(planner.minutes)


if __name__ == "__main__":
    main()
