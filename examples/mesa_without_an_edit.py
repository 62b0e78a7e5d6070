"""A simulation of another library, traced without editing it: Schelling's model from Mesa's examples.

Needs `mesa` and `networkx`. Run it from any directory: `python examples/mesa_without_an_edit.py`.
"""

from mesa.examples.basic.schelling.agents import SchellingAgent
from mesa.examples.basic.schelling.model import Schelling

from Agent import LogAnalyzer, instrument, setup_logging, shutdown_logging, tick


def main() -> None:
    """Run fifty steps of a small town and ask who moved."""
    session = setup_logging()
    instrument(
        SchellingAgent,
        methods=["step"],
        agent_id=lambda agent: f"resident_{agent.unique_id}",
        agent_role="resident",
    )
    model = Schelling(width=12, height=12)
    for number in range(50):
        with tick(number):
            model.step()
    shutdown_logging()

    analyzer = LogAnalyzer(session=session.session_id, root=session.root)
    print(analyzer.session_summary()["total_events"], "events in", session.path)
    print(len(analyzer.trace_agent_journey("resident_1")), "events of resident_1")


if __name__ == "__main__":
    main()
