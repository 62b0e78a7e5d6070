"""An incident, from the complaint to the regression test: an agent that searches again and again.

Run it from any directory: `python examples/incident_response.py`. With `record` it stops before the
response, which docs/INCIDENT.md does by hand.
"""

import sys
from typing import Any

from Agent import (
    AgentLogger,
    LogAnalyzer,
    debug_issue,
    setup_logging,
    shutdown_logging,
    tick,
    trace_agent_action,
)
from Agent.flight import record_tool
from Agent.record.messages import Message
from Agent.replay import compare_runs, fork_run, play_run, remember_target, replay_run
from Agent.replay.golden.adding import add_golden

DOCUMENTS = {("refunds", "en"): ["refunds take five days"], ("prices", "en"): ["a seat is 12 euro"]}


@record_tool
def search_docs(query: str, language: str) -> dict[str, Any]:
    """Search the help pages; of most languages there are none."""
    return {"docs": DOCUMENTS.get((query, language), [])}


class Researcher:
    """Answers questions from the help pages; where it finds nothing it searches again."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "researcher", "support"
        self.log = AgentLogger(self.agent_id, self.agent_role)
        self.language = "en"
        self.patience = 8  # so many empty results until it asks in English instead
        self.answered = self.given_up = 0

    @trace_agent_action("answer")
    def answer(self, question: str, inbox: list[Message]) -> str | None:
        """Answer one question, with what came in before."""
        for message in inbox:
            self.log.receive(message)
            self.language = message.body.get("language", self.language)
        for number in range(8):
            language = self.language if number < self.patience else "en"
            found = search_docs(question, language)
            if found["docs"]:
                self.answered += 1
                return str(found["docs"][0])
        self.given_up += 1
        return None


def build(_spec: Any) -> Researcher:
    """What builds the agent again, for replays and forks."""
    return Researcher()


def record() -> str:
    """The production run: twelve questions, and before the seventh a setting with a slip of the pen."""
    session = setup_logging()
    remember_target("incident_response:build", "researcher")
    researcher, desk = Researcher(), AgentLogger("desk", "dispatcher")
    for number in range(12):
        with tick(number):
            inbox = []
            if number in {0, 3, 6}:
                inbox.append(desk.send("researcher", {"language": "ne" if number == 6 else "en"}))
            researcher.answer("refunds" if number % 2 else "prices", inbox)
    shutdown_logging()
    return session.session_id


def respond(session_id: str) -> None:
    """From the complaint to the test."""
    run = f"{session_id}/researcher"

    replayed = replay_run(run)
    print(f"2. replayed: {replayed.verdict}, so the recording is complete")

    report = debug_issue(
        "researcher calls search_docs again and again",
        session_id,
        test=True,
        live=["search_docs"],
        seeds=2,
    )
    print(f"3. inspected: {report.causes[0].title}")
    for edge in report.causes[0].edges:
        if edge.test is not None:
            print(f"   {edge.basis}: {edge.test}")
    looping = next(step for step in play_run(run).steps if step.result is None)
    fields = LogAnalyzer(session_id).state_at("researcher", "tick:6")["fields"]
    print(
        f"   {looping.action} number {looping.number} finds nothing; language is {fields['language']!r} then"
    )

    fork_id, fork = fork_run(run, "tick:6", {"patience": 2}, live=["search_docs"])
    print(f"4. forked with the fix: {fork_id}")
    print(
        f"   answered {fork.state['answered']} of 12 questions, {fields['answered']} by tick 6 before the fix"
    )

    print(f"5. compared: they differ at {compare_runs(run, fork_id).divergence}")

    fixed = f"{fork.session.name.removeprefix('session_')}/researcher"
    added = add_golden(fixed, name="looping-researcher", directory="golden_traces", replace_old=True)
    print(f"6. kept as a test: {added.golden.directory}, {added.report.report.verdict}")
    print("7. fix the code; 8. verify: agent-trace golden check --dir golden_traces; 9. deploy")


if __name__ == "__main__":
    recorded = record()
    print(f"1. located: {recorded}/researcher")
    if sys.argv[1:] != ["record"]:
        respond(recorded)
