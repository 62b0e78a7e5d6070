"""The program whose recording stands in `before_content_digests`: an object without a codec is its result."""

import sys

from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action


class Plan:
    def __init__(self, steps):
        self.steps = steps


class Planner:
    agent_id, agent_role = "planner", "planner"

    def __init__(self):
        self.count = 0
        self.kept = Plan([])
        self.act = print

    @trace_agent_action
    def plan(self, number):
        self.count += 1
        return Plan([number])


def build(spec):
    return Planner()


def main():
    setup_logging(trace_root=sys.argv[1] if len(sys.argv) > 1 else None)
    planner = Planner()
    for number in range(3):
        planner.plan(number)
    shutdown_logging()


if __name__ == "__main__":
    main()
