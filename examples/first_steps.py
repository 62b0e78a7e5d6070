"""A small agent: record it, query the log, and replay it.

Run it from any directory: `python examples/first_steps.py`.
"""

import random
import sys
from pathlib import Path

from Agent import AgentLogger, LogAnalyzer, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.replay import Spec, replay_run


class Forager:
    """Looks for berries at two bushes and learns which one pays."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "forager")
        self.rng = random.Random(agent_id)  # its own generator, so that it can be replayed alone
        self.values = {"left": 0.0, "right": 0.0}
        self.basket = 0

    @trace_agent_action()
    def choose(self, daylight: float) -> str:
        """The bush for today: the better one, or any where the light is poor."""
        explores = self.rng.random() > daylight
        best = max(self.values, key=lambda bush: self.values[bush])
        bush = self.rng.choice(["left", "right"]) if explores else best
        self.logger.log_decision("bush", {"bush": bush}, reasoning="explores" if explores else "best so far")
        return bush

    @trace_agent_action()
    def pick(self, bush: str, berries: int) -> int:
        """Take the berries and remember how many there were."""
        self.values[bush] += 0.3 * (berries - self.values[bush])
        self.basket += berries
        return self.basket


def forager(spec: Spec) -> Forager:
    """Return a fresh agent; replay restores the recorded state onto it."""
    return Forager(spec.agent_id)


def main() -> None:
    """Record ten days, and look at them."""
    session = setup_logging()
    agent = Forager("forager_1")
    weather = random.Random(3)
    for day in range(10):
        with tick(day):
            bush = agent.choose(daylight=round(weather.random(), 2))
            agent.pick(bush, berries=weather.randrange(5 if bush == "left" else 9))
    shutdown_logging()

    analyzer = LogAnalyzer(session=session.session_id, root=session.root)
    print(analyzer.analyze_agent_activity("forager_1")["action_counts"])
    print("after day 4 it believed", analyzer.state_at("forager_1", when=4)["fields"]["values"])

    sys.path.insert(0, str(Path(__file__).parent))  # replay imports the factory by its name
    report = replay_run(f"{session.session_id}/forager_1", target="first_steps:forager", root=session.root)
    print(report)
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main()
