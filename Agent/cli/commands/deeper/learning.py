"""`learning`: rewards, exploration, what changed the policy, and which experience led to what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render

MAX_AGENTS = 8
MAX_CHANGES = 5
MAX_UPDATES = 4


@click.command(
    epilog=parameters.examples(
        "agent-trace learning",
        "agent-trace learning creator_001",
        "agent-trace learning creator_001 --by time --json",
    )
)
@click.argument("agent", metavar="[AGENT]", required=False, shell_complete=parameters.complete_agents)
@parameters.session_argument
@click.option(
    "--by",
    type=click.Choice(("tick", "time", "episode")),
    default=None,
    show_default=False,
    help="The x axis of the curves; default: ticks if the rewards have them, else time.",
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def learning(
    agent: str | None, run: str | None, by: str | None, session: str, as_json: bool, root: Path
) -> None:
    """Show how agents learned.

    Rewards and exploration over time, what changed the policy, and whether the rewards settled. For one
    agent, also which experience led to which update, and which later action used it. RUN is a session: an id,
    a unique prefix of one, a path, or last.
    """
    analyzer = parameters.analyzer_of(run, session, root, agent)
    found = analyzer.learning_report(agent, by)
    if agent is not None:
        found["lineage"] = analyzer.learning_lineage(agent)
    if as_json:
        render.emit_json(found)
        return
    if not any(found[key] for key in _COUNTS) and not found["changes"]["counts"]:
        render.note("no learning events; LearningLogger and trace_learning_update record them")
        return
    _print_sums(found)
    _print_curves(found["curves"])
    if agent is None:
        _print_agents(found["by_agent"])
    _print_changes(found["changes"])
    if agent is not None:
        _print_lineage(found["lineage"])


_COUNTS = ("total_training_steps", "reward_count", "exploration_count", "learning_updates", "policy_updates")


def _print_sums(found: dict[str, Any]) -> None:
    who = "everybody" if found["agent_id"] is None else found["agent_id"]
    render.emit(render.paint(render.clean(who), bold=True))
    rows: list[tuple[str, object]] = []
    if found["reward_count"]:
        rows.append(
            (
                "rewards",
                f"{found['reward_count']:,}, sum {_number(found['total_rewards'])}, mean "
                f"{_number(found['mean_reward'])}, {_number(found['min_reward'])} to "
                f"{_number(found['max_reward'])}",
            )
        )
    if found["exploration_count"]:
        epsilon = "" if found["epsilon"] is None else f", last epsilon {_number(found['epsilon'])}"
        rows.append(
            (
                "explored",
                f"{found['exploration_share']:.0%} of {found['exploration_count']:,} choices{epsilon}",
            )
        )
    updates = {
        name: found[key]
        for name, key in (("learning", "learning_updates"), ("policy", "policy_updates"))
        if found[key]
    }
    steps = found["total_training_steps"]
    told = [f"{count:,} of {name}" for name, count in updates.items()]
    told += [render.plural(steps, "training step")] if steps else []
    if told:
        rows.append(("updates", ", ".join(told)))
    render.pairs(rows, cut=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _print_curves(curves: dict[str, Any]) -> None:
    rewards, exploration = curves["rewards"], curves["exploration"]
    if len(rewards) > 1:
        span = f"{_place(rewards[0]['first'])} to {_place(rewards[-1]['last'])}"
        render.heading("Over time", f"by {curves['by']}, {span}")
        _print_curve("mean reward", [point["mean"] for point in rewards])
        _print_curve("moving mean", [point["moving_mean"] for point in rewards])
    if len(exploration) > 1:
        _print_curve("explored", [point["share"] for point in exploration])
    _print_state(curves)


def _print_curve(name: str, values: Sequence[float]) -> None:
    from Agent.analysis.text import sparkline

    render.emit(
        f"  {render.paint(name.ljust(12), dim=True)} {sparkline(values)}  "
        f"{_number(min(values))} to {_number(max(values))}"
    )


def _place(place: object) -> str:
    return str(place)[11:19] if isinstance(place, str) else str(place)


def _print_state(curves: dict[str, Any]) -> None:
    settled, shift = curves["convergence"], curves["shift"]
    if settled["state"] == "too few points":
        return
    if settled["converged"]:
        said = f"settled since {_place(settled['since'])} at {_number(settled['level'])}"
    elif settled["state"] == "unsettled":
        said = "not settled"
    else:
        said = f"still {settled['state']} at the end"
    render.emit(f"  {render.paint('rewards'.ljust(12), dim=True)} {said}  " + _dim(settled["method"]))
    if shift is not None:
        render.emit(
            f"  {render.paint('shift'.ljust(12), dim=True)} at {_place(shift['at'])} from "
            f"{_number(shift['before'])} to {_number(shift['after'])}  " + _dim(shift["method"])
        )


def _dim(text: str) -> str:
    return render.paint(f"({text})", dim=True)


def _print_agents(agents: dict[str, dict[str, Any]]) -> None:
    rewarded = [(name, row) for name, row in agents.items() if row["reward_count"]]
    if not rewarded:
        return
    ranked = sorted(rewarded, key=lambda pair: (-pair[1]["total_rewards"], pair[0]))
    few = len(ranked) <= MAX_AGENTS
    shown = ranked if few else [*ranked[: MAX_AGENTS // 2], *ranked[-MAX_AGENTS // 2 :]]
    render.heading("Agents", "" if few else f"most and least rewarded of {len(ranked):,}")
    render.table(
        ("AGENT", "REWARDS", "SUM", "MEAN", "EXPLORED", "UPDATES"),
        [
            (
                name,
                render.count(row["reward_count"]),
                _number(row["total_rewards"]),
                _number(row["mean_reward"]),
                "-" if row["exploration_share"] is None else f"{row['exploration_share']:.0%}",
                render.count(row["learning_updates"] + row["policy_updates"]),
            )
            for name, row in shown
        ],
        right=("REWARDS", "SUM", "MEAN", "EXPLORED", "UPDATES"),
    )


def _print_changes(changes: dict[str, Any]) -> None:
    if not changes["last"]:
        return
    counts = ", ".join(f"{name} {count:,}" for name, count in changes["counts"].items())
    render.heading("Policy and strategy changes", counts)
    for row in changes["last"][-MAX_CHANGES:]:
        tick = "" if row["tick"] is None else f"t{row['tick']}"
        step = _short(row["after"])
        if row["before"] is not None:
            step = f"{_short(row['before'])} -> {step}"
        head = f"  {row['timestamp'][11:23]}  {tick:>5}  {row['agent_id'] or '-'}  "
        room = render.width_of_page() - len(head) - len(row["id"]) - 2
        render.emit(f"{render.paint(head, dim=True)}{render.clip(step, max(room, 20))}  {row['id']}")


def _short(value: Any) -> str:
    import orjson

    return render.clean(value if isinstance(value, str) else orjson.dumps(value).decode())


def _print_lineage(lineage: dict[str, Any]) -> None:
    if not lineage["count"]:
        return
    render.heading(
        "From experience to use",
        f"{lineage['count']:,} updates, {lineage['with_recorded_experience']:,} with recorded experience, "
        f"{lineage['with_recorded_use']:,} with a recorded use",
    )
    for update in lineage["updates"][-MAX_UPDATES:]:
        tick = "" if update["tick"] is None else f"t{update['tick']}"
        render.emit(
            f"  {update['timestamp'][11:23]}  {tick:>5}  {render.clean(update['name'])}  {update['id']}"
        )
        _print_edges("from", update["experience"], update["experience_count"])
        _print_edges("used by", update["used_by"], len(update["used_by"]))


def _print_edges(word: str, edges: list[dict[str, Any]], count: int) -> None:
    if not edges:
        render.emit(f"      {word.ljust(8)} " + render.paint("none recorded", dim=True))
        return
    told = ", ".join(_edge(edge) for edge in edges[:3])
    more = f" and {count - 3:,} more" if count > 3 else ""
    source = edges[0]["source"] if edges[0]["source"] == "recorded" else f"inferred: {edges[0]['rule']}"
    render.emit(render.clip(f"      {word.ljust(8)} {told}{more}  ({source})", render.width_of_page()))


def _edge(edge: dict[str, Any]) -> str:
    if edge.get("event_type") == "reward":
        return f"reward {_number(edge['reward'])} {edge['id']}"
    return f"{edge.get('name', 'an event of another session')} {edge['id']}"
