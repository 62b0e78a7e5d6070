"""A replay in the worker process: isolates itself, builds the target's objects, replays, and reports."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from Agent.errors import RecordingMiss
from Agent.event.kinds import LEVEL_OFF, LEVELS
from Agent.event.model import Event
from Agent.event.values.content import name_script
from Agent.record.emit import installed
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.levels import LIMITS
from Agent.record.emit.memory_sink import LineSink
from Agent.record.emit.pipeline import Pipeline, RecordOptions
from Agent.record.emit.player import current_player
from Agent.record.encode.redaction import Redactor
from Agent.record.state.large_fields import count_as_script
from Agent.replay.compare.comparison import OLDER, Comparison
from Agent.replay.compare.emitted_events import Identifiers
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.compare.outcome import ReplayOutcome, ReplayStopped, redacted_texts
from Agent.replay.drive.agent_stubs import ConstructorArguments, Peers, Spec
from Agent.replay.drive.concurrency import groups_of, ran_in_one_loop
from Agent.replay.drive.constructors import constructor_arguments, doubt_what_was_built, what_the_spec_lacks
from Agent.replay.drive.fields import FieldRules
from Agent.replay.drive.player import RecordedPlayer
from Agent.replay.drive.recorded_results import AnswerBook
from Agent.replay.drive.states import restorable
from Agent.replay.drive.tool_results import ActionTools
from Agent.replay.judging.judge import ActionJudge
from Agent.replay.plan.actions import DrivenAction, Plan, make_plan
from Agent.replay.plan.recorded_script import script_module, script_name
from Agent.replay.plan.recording import Recording, RecordingParts, read_recording
from Agent.replay.plan.target import (
    FactoryRaised,
    TargetFailed,
    TargetNotImported,
    build,
    import_target,
    objects_in,
    target_not_found,
)
from Agent.replay.plan.values import Decoder
from Agent.replay.sources.field_reads import FieldReads, classes_of_agents
from Agent.replay.sources.source_results import SourceAnswers, recorded_counts
from Agent.replay.sources.watched import SourceWatch
from Agent.replay.worker.driver import Driver, Equipment

D = TypeVar("D", bound=Driver)


def replay(request: dict[str, Any], prepared: Prepared | None = None) -> dict[str, Any]:
    """Replay what a request of `rerun.py` names; the outcome as JSON, without secrets of exceptions' texts.

    Raises:
        TargetNotFound: the target cannot be imported.
    """
    redrive = Redrive(request, prepared)
    try:
        redrive.run()
    except TargetNotImported as error:
        raise target_not_found(str(error)) from error
    return redrive.redacted_outcome()


@dataclass(frozen=True, slots=True)
class Prepared:
    """The work done once for many replays of a session: reading it, and importing the target."""

    recordings: RecordingParts
    factory: Callable[..., Any]
    watch: SourceWatch


class Redrive:
    """One replay, from the request to the outcome.

    Args:
        request: the request of `rerun.py`.
        prepared: the work that this process did before it forked; without it everything is done here.
    """

    def __init__(self, request: dict[str, Any], prepared: Prepared | None = None) -> None:
        self.outcome = ReplayOutcome()
        self._request = request
        self._prepared = prepared
        self._agent_id: str | None = request["agent_id"]
        self._recording = self._read(self._agent_id)
        recording = self._recording
        self._sink = LineSink("replayed")
        self._redactor = Redactor(
            os.urandom(32), enabled=bool(recording.configuration("redact", default=True))
        )
        self._pipeline = Pipeline(
            self._sink,
            session_id=recording.session.name.removeprefix("session_"),
            redactor=self._redactor,
            options=RecordOptions(
                strict_state=recording.configuration("state", default="exit") == "strict",
                entry_looks=0,  # what was written from outside is in the recording
                probes=0,
                gone_states=False,
            ),
        )
        self._identifiers = Identifiers()
        self._fields = FieldRules(self.outcome, request.get("ignore") or ())
        self._comparison = Comparison(
            None,
            self._same_id,
            Normaliser.from_object(request.get("normalise") or {}),
            fields=self._fields,
        )
        self._objects: dict[str, Any] = {}
        self._watch = SourceWatch() if prepared is None else prepared.watch
        self._watch.reachable = frozenset({"network"} if request.get("network") else ())
        self._watch.files.is_refusing = bool(request.get("no_writes"))
        self.outcome.opened_for_writing = self._watch.files.opened
        self._decoder = Decoder(self._find_agent)
        self._peers = Peers(recording, self._player_now, self._refuse)
        self._player: RecordedPlayer | None = None
        self._driver: Driver | None = None
        self._field_reads: FieldReads | None = None

    def run(self) -> None:
        """Do everything; failures of the target become reasons of the outcome."""
        turn_recording_away(Path(self._request["outcome_path"]).parent)
        self._install()
        self._note_record()
        try:
            self._build()
        except TargetNotImported:
            raise
        except TargetFailed as error:
            self.outcome.reason(str(error))
            self.outcome.agents = [self._agent_id] if self._agent_id is not None else []
            return
        self._drive()
        self._conclude()

    def prepare(self) -> Prepared | None:
        """Import the target for forks of this process; None where the import did what each has to see itself.

        Raises:
            TargetNotImported: it cannot be imported.
        """
        turn_recording_away(Path(self._request["outcome_path"]).parent)
        self._install()
        factory = self._imported()
        if self._sink.lines or self.outcome != ReplayOutcome():
            return None
        return Prepared(RecordingParts(self._recording), factory, self._watch)

    def _read(self, agent_id: str | None) -> Recording:
        if self._prepared is not None:
            return self._prepared.recordings.of(agent_id)
        return read_recording(Path(self._request["session"]), agent_id)

    @property
    def recording(self) -> Recording:
        """The run as it was read."""
        return self._recording

    @property
    def objects(self) -> dict[str, Any]:
        """What the target gave, by agent; None for those that are inside others."""
        return self._objects

    def redacted_outcome(self) -> dict[str, Any]:
        """The outcome as a JSON object, secrets that an exception's text brought in replaced."""
        told: dict[str, Any] = redacted_texts(self.outcome.to_object(), self._redactor)
        return told

    def _install(self) -> None:
        """Send what is recorded from here on into memory, at the levels of the recording."""
        install_pipeline(self._pipeline)
        overall = _level(self._recording.configuration("level", "DEBUG"))
        levels = self._recording.configuration("levels", {})
        for category, limit in LIMITS.items():
            own = levels.get(category, "DEBUG") if isinstance(levels, dict) else "DEBUG"
            limit.value = max(overall, _level(own))

    def _note_record(self) -> None:
        recording, outcome = self._recording, self.outcome
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

    def _build(self) -> None:
        given = self._given()
        self._objects = objects_in(given, self._agent_id, frozenset(self._recording.agents))
        only = self._request.get("agents")
        if only is not None:
            self._objects = {name: obj for name, obj in self._objects.items() if name in only}
        self._install()  # whatever the target set up
        if self._request.get("look_at_fields"):
            whole = self._read(None)
            live = frozenset(self._objects)
            self._field_reads = FieldReads(whole, live, lambda: self._watch.is_on, self._objects)
            self._field_reads.watch(classes_of_agents(whole, self._decoder.find_class))

    def _given(self) -> Any:
        """What the target's factory gives."""
        recording = self._recording
        name: str = self._request["target"]
        factory = self._imported()
        self._watch.put_in_seams()  # what the factory builds may hold functions that read sources
        module = script_module(name.partition(":")[0], recording.session, recording.info)
        if module is not None:
            count_as_script(module)
            for name_of_script in (module, "__main__"):  # a text may say `__main__` here, too
                name_script(name_of_script, script_name(recording.session, recording.info))
            self._decoder = Decoder(self._find_agent, module)
            self._comparison.main_module = module
        spec = self._spec()
        try:
            with self._watch.building():
                return build(factory, spec, name)
        except FactoryRaised as error:
            raise TargetFailed(f"{error}{what_the_spec_lacks(spec)}") from error

    def _imported(self) -> Callable[..., Any]:
        self._make_player(frozenset())
        if self._prepared is not None:
            return self._prepared.factory
        with self._watch.importing():
            return import_target(self._request["target"])

    def _spec(self) -> Spec:
        if self._agent_id is not None or self._request.get("agents") is not None:
            return self._spec_of(self._agent_id or self._request["asked_for"])
        acting = [facts for facts in self._recording.agents.values() if facts.entries]
        # Where all others acted inside one agent's actions, that one is what the run is replayed through.
        roots = [facts for facts in acting if facts.roots]
        return self._spec_of(roots[0].agent_id if len(roots) == 1 else None)

    def _spec_of(self, agent_id: str | None) -> Spec:
        recording = self._recording
        facts = recording.agents.get(agent_id) if agent_id is not None else None
        if agent_id is not None and facts is None:
            raise RecordingMiss(f"the run has no agent {agent_id!r}")
        acting = [facts for facts in recording.agents.values() if facts.entries]
        first = facts.first_state if facts is not None else None
        return Spec(
            agent_id=agent_id,
            agent_role=facts.role if facts is not None else None,
            agent_ids=tuple(each.agent_id for each in acting if self._agent_id in {None, each.agent_id}),
            init=self._init(first),
            state={} if first is None else restorable(first, self._decoder).fields,
            nested={} if self._agent_id is not None else {f.agent_id: None for f in acting if not f.roots},
            peer=self._peers,
            of=self._spec_of,
            sources=recorded_counts(recording, agent_id),
        )

    def _init(self, first: Event | None) -> ConstructorArguments | None:
        if first is None or not isinstance(first.extra.get("init"), dict):
            return None
        return constructor_arguments(first.extra["init"], first.types or {}, self._decoder)

    def _drive(self) -> None:
        outcome = self.outcome
        given = frozenset(name for name, obj in self._objects.items() if obj is not None)
        live = frozenset(self._objects)
        plan = make_plan(self._recording, given, live)
        outcome.agents = sorted(given)
        self._count(plan, live)
        driver = self._driver_for(plan, Driver)
        beside = [group for group in groups_of(plan.actions) if len(group) > 1]
        apart = [group for group in beside if not ran_in_one_loop(group)]
        if apart:
            outcome.doubts.append(_beside(apart[0][0]))
        else:
            near = [group for group in groups_of(plan.actions, is_loose=True) if ran_in_one_loop(group)]
            outcome.beside = near[0][0].number if near else 0
        driver.run()
        if beside and outcome.is_same_code and self._share(beside):
            outcome.doubts.append(_beside(beside[0][0]))

    def _share(self, groups: Sequence[Sequence[DrivenAction]]) -> bool:
        """Whether agents whose actions ran concurrently hold each other, or an object that others hold."""
        for agent_id in {action.agent_id for group in groups for action in group}:
            facts = self._recording.agents[agent_id]
            first = facts.first_state
            holds_agents = first is not None and "agent" in (first.types or {}).values()
            if holds_agents or facts.shared_objects or facts.shared_with:
                return True
        return False

    def _driver_for(self, plan: Plan, kind: type[D]) -> D:
        """What carries out a plan, with everything that it works with."""
        recording, outcome = self._recording, self.outcome
        live = frozenset(self._objects)
        self._fields.begin(recording.agents, live)
        player = self._make_player(live)
        judge = ActionJudge(
            self._comparison,
            self._identifiers,
            outcome,
            live,
            self._errors(),
            self._fields,
            is_whole=recording.is_complete,
        )
        sources = SourceAnswers(recording, player, self._watch, self._decoder, outcome)
        installed.source_player = sources
        self._driver = driver = kind(
            plan,
            {name: obj for name, obj in self._objects.items() if obj is not None},
            recording.agents,
            outcome,
            player,
            Equipment(
                self._pipeline,
                self._sink,
                self._decoder,
                self._comparison,
                judge,
                self._watch,
                sources,
                self._fields,
                strict_factory=bool(self._request.get("strict_factory")),
                keep_going=int(self._request.get("keep_going") or 0),
                stop_at=self._request.get("pdb") or 0,
                turns=str(self._request.get("turns") or ""),
            ),
        )
        return driver

    def _count(self, plan: Plan, live: frozenset[str]) -> None:
        outcome = self.outcome
        outcome.notes = plan.notes
        outcome.counts.actions = len(plan.actions) + plan.functions
        if plan.functions:
            outcome.remarks.append(
                f"{plan.functions} actions are calls of functions, not of methods of the agent: not replayed"
            )
        if self._agent_id is not None:
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
            outcome.remarks.append(
                f"{inside} actions of agents inside others happened outside replayed actions"
            )
        if plan.undriven.get(""):
            outcome.remarks.append(f"{plan.undriven['']} actions belong to no agent and were not replayed")

    def _conclude(self) -> None:
        outcome, agreement = self.outcome, self._comparison.agreement
        outcome.counts.redacted, outcome.counts.identifiers = agreement.redacted, agreement.identifiers
        if agreement.redacted:
            outcome.normalisers.append(f"{agreement.redacted} redacted values, hidden on both sides")
        if agreement.identifiers:
            outcome.normalisers.append(
                f"{agreement.identifiers} ids of events, which are others in every run"
            )
        outcome.normalisers += self._comparison.overlooked.told()
        outcome.reasons = [self._with_command(reason) for reason in outcome.reasons]
        outcome.unseen = self._listed("unseen")
        for names, key in ((outcome.ignored, "ignored"), (outcome.handles, "handles")):
            names += [name for name in self._listed(key) if name not in names]
        if self._field_reads is not None:
            outcome.doubts += self._field_reads.doubts(is_same_code=outcome.is_same_code)
        if outcome.divergence is None:
            for reason in outcome.changed_inside.values():
                outcome.reason(reason)
        doubt_what_was_built(outcome, self._watch.built_by_chance())
        self._watch.tell(outcome, self._comparison.overlooked.excuses)
        if outcome.divergence is not None and outcome.answered and len(self._objects) > 0:
            nested = [name for name in outcome.answered if name not in self._peers.asked_for]
            if nested and self._agent_id is None:
                outcome.remarks.append(
                    f"calls of {len(nested)} agents returned recorded responses; if they are part of what "
                    "is replayed, return them as well: {...} | spec.nested"
                )

    def _with_command(self, reason: str) -> str:
        """A reason, with the command that records again what is too old to be compared."""
        info = self._recording.info
        if OLDER not in reason or info is None or not info.argv:
            return reason
        return f"{reason}: {shlex.join(['python', *info.argv])}"

    def _listed(self, key: str) -> list[str]:
        """Fields that full states list as `unseen`, `ignored` or `handles`."""
        names: dict[str, None] = {}
        driven, inside = self.outcome.agents, self.outcome.inside
        for event in self._recording.events:
            if event.kind != "state" or (event.agent_id not in driven and event.agent_id not in inside):
                continue
            # Of many agents of one role inside others each field is named once.
            owner = event.agent_id if event.agent_id in driven else f"each {event.agent_role}"
            for field in event.extra.get(key) or ():
                if not self._fields.leaves_out(str(event.agent_id), str(field)):
                    names[str(field) if driven == [owner] else f"{owner}.{field}"] = None
        return list(names)

    def _errors(self) -> dict[str, Event]:
        return {event.id: event for event in self._recording.events if event.kind == "error"}

    def _make_player(self, live: frozenset[str]) -> RecordedPlayer:
        errors = self._errors()
        self._player = RecordedPlayer(
            live,
            frozenset(self._recording.agents),
            AnswerBook(self._decoder, errors, self._pipeline.session_id),
            self.outcome,
            self._pipeline,
            self._comparison,
            partial(
                ActionTools,
                session=self._recording.session,
                decoder=self._decoder,
                errors=errors,
                comparison=self._comparison,
            ),
        )
        self._player.threads = self._watch.threads
        current_player.set(self._player)
        return self._player

    def _player_now(self) -> RecordedPlayer:
        assert self._player is not None  # noqa: S101 - made before any target is built
        return self._player

    def _refuse(self, reason: str) -> None:
        player = self._player_now()
        self.outcome.reason(reason)
        if player.action is not None:
            player.is_stopped = True
            raise ReplayStopped

    def _find_agent(self, agent_id: str) -> object:
        """What stands for an agent in restored values: the real one if it is known, else a stand-in."""
        obj = self._objects.get(agent_id)
        if obj is None and self._driver is not None:
            obj = self._driver.nearby.get(agent_id)
        return obj if obj is not None else self._peers.stand_in(agent_id)

    def _same_id(self, recorded: str, replayed: str) -> bool:
        if self._identifiers.same(recorded, replayed):
            return True
        driver = self._driver
        if driver is None or not self._identifiers.knows(recorded):
            return False
        self._identifiers.see(driver.effects_so_far())
        return self._identifiers.same(recorded, replayed)


def _beside(action: DrivenAction) -> str:
    return (
        f"step {action.number} ran beside another driven action, and their order is not imposed: replay each "
        "agent alone"
    )


def _level(name: Any) -> int:
    return LEVEL_OFF if str(name).upper() == "OFF" else LEVELS.get(str(name).upper(), 0)


def turn_recording_away(directory: Path) -> Callable[[], None]:
    """Whatever the target sets up records under a directory that goes with the replay, never into a tree.

    What it gives ends that.
    """
    from Agent.tree.files import programs, session
    from Agent.tree.layout import create_session_dir

    def elsewhere(root: Path, session_id: str) -> tuple[Path, str]:  # noqa: ARG001 - the one it would have been
        return create_session_dir(directory / "recorded", session_id)

    def back() -> None:
        vars(session)["create_session_dir"] = create_session_dir
        programs.keeps_apart = False

    vars(session)["create_session_dir"] = elsewhere
    programs.keeps_apart = True
    return back
