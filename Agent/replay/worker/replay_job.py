"""A replay in the worker process: isolates itself, builds the target's objects, replays, and reports."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from Agent.event.codec import decode_line
from Agent.event.model import Event
from Agent.replay.compare.comparison import OLDER, Difference
from Agent.replay.compare.emitted_events import EffectDifference, describe, event_difference
from Agent.replay.compare.outcome import Divergence, redacted_texts
from Agent.replay.drive.agent_stubs import MADE_OTHERWISE, doubt_what_was_built
from Agent.replay.plan.actions import DrivenAction, Plan, groups_of, make_plan, ran_in_one_loop
from Agent.replay.plan.recording import ACTION_KINDS
from Agent.replay.plan.target import TargetFailed, TargetNotImported, objects_in, target_not_found
from Agent.replay.sources.field_reads import FieldReads, classes_of_agents
from Agent.replay.worker.workbench import Prepared, Workbench, turn_recording_away


def replay(request: dict[str, Any], prepared: Prepared | None = None) -> dict[str, Any]:
    """Replay what a request of `rerun.py` names; the outcome as JSON, without secrets of exceptions' texts.

    Raises:
        TargetNotFound: the target cannot be imported.
    """
    bench = Workbench(request, prepared)
    try:
        replay_on(bench)
    except TargetNotImported as error:
        raise target_not_found(str(error)) from error
    told: dict[str, Any] = redacted_texts(bench.outcome.to_object(), bench.redactor)
    return told


def replay_on(bench: Workbench) -> None:
    """Do everything; failures of the target become reasons of the outcome.

    Raises:
        TargetNotImported: it cannot be imported.
    """
    turn_recording_away(bench.directory)
    bench.install()
    _note_record(bench)
    try:
        field_reads = _build(bench)
    except TargetNotImported:
        raise
    except TargetFailed as error:
        bench.outcome.reason(str(error))
        bench.outcome.agents = [bench.agent_id] if bench.agent_id is not None else []
        return
    built = list(bench.sink.lines)
    _drive(bench)
    _judge_what_was_built(bench, built)
    _conclude(bench, field_reads)


def _note_record(bench: Workbench) -> None:
    recording, outcome = bench.recording, bench.outcome
    outcome.scope = "whole" if recording.is_complete else "prefix"
    if recording.lost:
        outcome.reason(f"{recording.lost} events of the session are missing from the recording")
    if recording.dropped:
        outcome.reason(f"{recording.dropped} events were not written when the session was recorded")
    for damage in recording.damage[:3]:
        outcome.reason(f"the recording is damaged at {damage}")
    for event in recording.events:
        if event.kind == "source.read" and "count" not in event.extra:
            extra = event.extra
            outcome.doubts.append(
                f"while it was recorded, {extra.get('source')} was read unrecorded by "
                f"{extra.get('call')} ({extra.get('file')}:{extra.get('line')})"
            )
    outcome.environment = {
        "python": sys.version.split()[0],
        "hash_seed": os.environ.get("PYTHONHASHSEED", ""),
        "state": str(recording.configuration("state", "exit")),
        "recorded_python": "" if recording.info is None else recording.info.python,
    }


def _build(bench: Workbench) -> FieldReads | None:
    """Take what the target gives; what notices reads of fields, where the request asks for that."""
    bench.objects = objects_in(bench.build(), bench.agent_id, frozenset(bench.recording.agents))
    only = bench.request.get("agents")
    if only is not None:
        bench.objects = {name: obj for name, obj in bench.objects.items() if name in only}
    bench.install()  # whatever the target set up
    if not bench.request.get("look_at_fields"):
        return None
    whole = bench.read(None)
    reads = FieldReads(whole, frozenset(bench.objects), lambda: bench.watch.is_on, bench.objects)
    reads.watch(classes_of_agents(whole, bench.decoder.find_class))
    return reads


def _drive(bench: Workbench) -> None:
    outcome = bench.outcome
    live = frozenset(bench.objects)
    plan = make_plan(bench.recording, frozenset(bench.given), live)
    outcome.agents = sorted(bench.given)
    _count(bench, plan, live)
    driver = bench.driver_for(plan)
    beside = [group for group in groups_of(plan.actions) if len(group) > 1]
    apart = [group for group in beside if not ran_in_one_loop(group)]
    if apart:
        outcome.doubts.append(_beside(apart[0][0]))
    else:
        near = [group for group in groups_of(plan.actions, is_loose=True) if ran_in_one_loop(group)]
        outcome.beside = near[0][0].number if near else 0
    driver.run()
    if beside and outcome.is_same_code and _share(bench, beside):
        outcome.doubts.append(_beside(beside[0][0]))


def _share(bench: Workbench, groups: Sequence[Sequence[DrivenAction]]) -> bool:
    """Whether agents whose actions ran concurrently hold each other, or an object that others hold."""
    for agent_id in {action.agent_id for group in groups for action in group}:
        facts = bench.recording.agents[agent_id]
        first = facts.first_state
        holds_agents = first is not None and "agent" in (first.types or {}).values()
        if holds_agents or facts.shared_objects or facts.shared_with:
            return True
    return False


def _count(bench: Workbench, plan: Plan, live: frozenset[str]) -> None:
    outcome = bench.outcome
    outcome.notes = plan.notes
    outcome.counts.actions = len(plan.actions) + plan.functions
    if plan.functions:
        outcome.remarks.append(
            f"{plan.functions} actions are calls of functions, not of methods of the agent: not replayed"
        )
    if bench.agent_id is not None:
        return
    outcome.undriven = plan.undriven
    outcome.counts.actions += sum(plan.undriven.values())
    left = sorted(name for name in plan.undriven if name and name not in live)
    if left:
        named = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
        outcome.reason(
            f"the run has actions of {len(left)} agents that the target did not give ({named}): give "
            "them, or replay one agent as SESSION/agent_id"
        )
    inside = sum(count for name, count in plan.undriven.items() if name in live)
    if inside:
        outcome.remarks.append(f"{inside} actions of agents inside others happened outside replayed actions")
    if plan.undriven.get(""):
        outcome.remarks.append(f"{plan.undriven['']} actions belong to no agent and were not replayed")


def _judge_what_was_built(bench: Workbench, lines: Sequence[bytes]) -> None:
    """Where changed code of an agent ran in the factory, what it did there is the first difference."""
    outcome = bench.outcome
    if not lines or not any(MADE_OTHERWISE in reason for reason in outcome.reasons):
        return
    if bench.watch.built_by_chance():
        return
    mark = bench.comparison.mark()
    found = _first_difference_built(bench, map(decode_line, lines))
    bench.comparison.go_back(mark)
    if found is None:
        return
    outcome.reasons[:] = [reason for reason in outcome.reasons if MADE_OTHERWISE not in reason]
    outcome.divergence = found
    outcome.remark("the factory called the action that differs; the object that it made follows from that")


def _first_difference_built(bench: Workbench, replayed: Iterable[Event]) -> Divergence | None:
    """The first difference while the factory ran, if changed code made it of what began as recorded."""
    recorded: dict[str, Iterator[Event]] = {}
    for other in replayed:
        if other.kind != "state" and other.kind not in ACTION_KINDS:
            continue
        agent_id = str(other.agent_id)
        if agent_id not in recorded:
            recorded[agent_id] = _states_and_actions(bench, agent_id)
        one = next(recorded[agent_id], None)
        if one is None or describe(one) != describe(other):
            return None
        difference = event_difference(one, other, bench.comparison)
        if difference is not None:
            is_outcome = _is_outcome(difference, one, other)
            return _divergence_built(bench, one, other, difference) if is_outcome else None
    return None


def _states_and_actions(bench: Workbench, agent_id: str) -> Iterator[Event]:
    kinds = {"state", *ACTION_KINDS}
    return (each for each in bench.recording.events if each.agent_id == agent_id and each.kind in kinds)


def _is_outcome(difference: Difference, one: Event, other: Event) -> bool:
    is_begin = one.kind == "state" or difference.path.startswith("/args")
    return not is_begin and None not in {one.code, other.code} and one.code != other.code


def _divergence_built(bench: Workbench, one: Event, other: Event, difference: Difference) -> Divergence:
    agent_id, action = str(one.agent_id), str(one.extra.get("action_type"))
    bench.outcome.code[f"{agent_id}.{action}"] = {"recorded": str(one.code), "replayed": str(other.code)}
    field, _, path = EffectDifference("", difference, agent_id).field.partition("/")
    return Divergence(
        step=0,
        event_id=one.id,
        action=action,
        agent_id=agent_id,
        field=field or "effects",
        recorded=difference.recorded,
        replayed=difference.replayed,
        path=f"/{path}" if path else "",
        place="what the factory did",
        tick=one.tick,
    )


def _conclude(bench: Workbench, field_reads: FieldReads | None) -> None:
    outcome, agreement = bench.outcome, bench.comparison.agreement
    outcome.counts.redacted, outcome.counts.identifiers = agreement.redacted, agreement.identifiers
    if agreement.redacted:
        outcome.normalisers.append(f"{agreement.redacted} redacted values, hidden on both sides")
    if agreement.identifiers:
        outcome.normalisers.append(f"{agreement.identifiers} ids of events, which are others in every run")
    outcome.normalisers += bench.comparison.overlooked.told()
    outcome.reasons = [_with_command(bench, reason) for reason in outcome.reasons]
    outcome.unseen = _listed(bench, "unseen")
    for names, key in ((outcome.ignored, "ignored"), (outcome.handles, "handles")):
        names += [name for name in _listed(bench, key) if name not in names]
    if field_reads is not None:
        outcome.doubts += field_reads.doubts(is_same_code=outcome.is_same_code)
    outcome.divergence = outcome.divergence or outcome.by_code_alone
    if outcome.divergence is None:
        for reason in outcome.changed_inside.values():
            outcome.reason(reason)
    doubt_what_was_built(outcome, bench.watch.built_by_chance())
    bench.watch.tell(outcome, bench.comparison.overlooked.excuses)
    if outcome.divergence is not None and outcome.answered and len(bench.objects) > 0:
        nested = [name for name in outcome.answered if name not in bench.peers.asked_for]
        if nested and bench.agent_id is None:
            outcome.remarks.append(
                f"calls of {len(nested)} agents returned recorded responses; if they are part of what "
                "is replayed, return them as well: {...} | spec.nested"
            )


def _with_command(bench: Workbench, reason: str) -> str:
    """A reason, with the command that records again what is too old to be compared."""
    info = bench.recording.info
    if OLDER not in reason or info is None or not info.argv:
        return reason
    return f"{reason}: {shlex.join(['python', *info.argv])}"


def _listed(bench: Workbench, key: str) -> list[str]:
    """Fields that full states list as `unseen`, `ignored` or `handles`."""
    names: dict[str, None] = {}
    driven, inside = bench.outcome.agents, bench.outcome.inside
    for event in bench.recording.events:
        if event.kind != "state" or (event.agent_id not in driven and event.agent_id not in inside):
            continue
        # Of many agents of one role inside others each field is named once.
        owner = event.agent_id if event.agent_id in driven else f"each {event.agent_role}"
        for field in event.extra.get(key) or ():
            if not bench.fields.leaves_out(str(event.agent_id), str(field)):
                names[str(field) if driven == [owner] else f"{owner}.{field}"] = None
    return list(names)


def _beside(action: DrivenAction) -> str:
    return (
        f"step {action.number} ran beside another driven action, and their order is not imposed: replay each "
        "agent alone"
    )
