"""The workbench of the worker process: the recording, the objects from the target, and their replay.

Both a replay and a fork (`forks/fork.py`) run on one.
"""

from __future__ import annotations

import dis
import inspect
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from Agent.errors import RecordingMiss
from Agent.event.codec import decode_line
from Agent.event.kinds import ACTION_KINDS, LEVEL_OFF, LEVELS
from Agent.event.model import Event
from Agent.event.script_names import class_text, name_script
from Agent.event.values.plain import SCALARS
from Agent.record.emit import installed
from Agent.record.emit.context import current_player
from Agent.record.emit.installed import LIMITS, install_pipeline
from Agent.record.emit.pipeline import LineSink, Pipeline, options_of_replay, record_lines
from Agent.record.state.heavy_fields import count_as_script
from Agent.record.state.identity import TRACED
from Agent.record.state.introspection import plain_attributes
from Agent.record.tracing.function_facts import CodeIdentity, directories_of, module_digest
from Agent.record.tracing.program_search import functions_reached
from Agent.render.formats import plural
from Agent.replay.compare.comparison import Comparison, Difference, with_other_frames
from Agent.replay.compare.emitted_events import EffectDifference, Identifiers, describe, event_difference
from Agent.replay.compare.normaliser import (
    MADE_BY_LIBRARIES,
    NOT_READ_IN_CALLS,
    RECORD_LARGE,
    Normaliser,
)
from Agent.replay.compare.outcome import Divergence, ReplayOutcome, ReplayStopped, listed, redacted_texts
from Agent.replay.compare.program_state import (
    OF_STORED_CODE,
    LeftInProgram,
    bases_in,
    bases_still_here,
    code_otherwise,
    kinds_in,
    kinds_of,
    kinds_otherwise,
    left_otherwise,
    program_state_of,
    redacted_in_all,
    varying_lines,
)
from Agent.replay.drive.agent_stubs import (
    MADE_OTHERWISE,
    FieldReads,
    Peers,
    Spec,
    classes_of_agents,
    constructor_arguments,
    doubt_what_was_built,
    what_the_spec_lacks,
)
from Agent.replay.drive.changes_between import describe_pauses
from Agent.replay.drive.player import AnswerBook, RecordedPlayer, ReplayContext
from Agent.replay.drive.source_results import SourceAnswers, recorded_counts
from Agent.replay.drive.states import FieldRules, restorable
from Agent.replay.drive.watched import SourceWatch
from Agent.replay.plan.actions import (
    DrivenAction,
    Plan,
    first_beside,
    groups_of,
    is_given_copies,
    make_plan,
    ran_in_one_loop,
)
from Agent.replay.plan.recording import (
    REPLAYED,
    Recording,
    RecordingParts,
    read_recording,
    recorded_arguments,
    script_module,
    script_name,
)
from Agent.replay.plan.target import (
    Decoder,
    FactoryRaised,
    TargetFailed,
    TargetNotImported,
    build,
    import_target,
    objects_in,
    target_not_found,
)
from Agent.replay.worker.driver import Driver


@dataclass(frozen=True, slots=True)
class Prepared:
    """Work done once for many replays of a session: reading it and importing the target."""

    recordings: RecordingParts
    factory: Callable[..., Any]
    watch: SourceWatch
    script: str | None
    """The module that is the recorded script; see `script_module`."""
    modules: set[str]
    """The imported modules."""


_TRIED = 50
"""Number of events used to compile the patterns for secrets before forks."""
_MOST_QUESTIONS = 5
"""Maximum number of reasons from `questions`, which may have one per step."""
_MOST_ENTRIES = 64
"""Entries of a larger dict of a module are not looked at."""


class Workbench(ReplayContext):
    """Everything needed to carry out a request.

    Args:
        request: the session, agent and target, and how to replay.
        prepared: work done before this process was forked; without it everything is done here.
    """

    def __init__(self, request: dict[str, Any], prepared: Prepared | None = None) -> None:
        self.request = request
        self.outcome = ReplayOutcome()
        self._prepared = prepared
        self.agent_id: str | None = request["agent_id"]
        self.recording = recording = self.read(self.agent_id)
        self.live = frozenset()
        self.errors = {event.id: event for event in recording.events if event.kind == "error"}
        self.sink = LineSink(REPLAYED)
        self.pipeline = record_lines(
            self.sink,
            recording.session.name.removeprefix("session_"),
            redact=bool(recording.configuration("redact", default=True)),
            options=options_of_replay(recording.configuration("state", default="exit"), follows_states=True),
        )
        if prepared is not None:
            self.pipeline.modules_written = prepared.modules  # their digests are not used in a replay
        self.redactor = self.pipeline.redactor
        self.identifiers = Identifiers()
        self.fields = FieldRules(self.outcome, request.get("ignore") or ())
        self.watch = SourceWatch() if prepared is None else prepared.watch
        self.comparison = Comparison(
            None,
            self._same_id,
            Normaliser.from_object(request.get("normalise") or {}),
            fields=self.fields,
            made=self.watch.made,
        )
        self.objects: dict[str, Any] = {}
        """Objects from the target by agent; None for agents inside other objects."""
        self.watch.reachable = frozenset({"network"} if request.get("network") else ())
        self.watch.files.is_refusing = bool(request.get("no_writes"))
        self.outcome.opened_for_writing = self.watch.files.opened
        self.decoder = Decoder(self._find_agent)
        self.peers = Peers(recording, lambda: self.player, self._refuse)
        self.driver: Driver | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The agents for which the target returned an object."""
        return {name: obj for name, obj in self.objects.items() if obj is not None}

    @property
    def directory(self) -> Path:
        """A directory that is deleted after the worker process has ended."""
        return Path(self.request["outcome_path"]).parent

    def read(self, agent_id: str | None) -> Recording:
        """Return the recording of one agent, or of the run for None."""
        if self._prepared is not None:
            return self._prepared.recordings.of(agent_id)
        return read_recording(Path(self.request["session"]), agent_id)

    def prepare(self) -> Prepared | None:
        """Import the target for forks of this process; None if the import recorded or found something.

        In that case each replay has to repeat the import.

        Raises:
            TargetNotImported: the import failed.
        """
        turn_recording_away(self.directory)
        self.install()
        factory = self._imported()
        if self.sink.lines or self.outcome != ReplayOutcome():
            return None
        self.watch.install_patches()
        for event in self.recording.events[:_TRIED]:  # compile the patterns that these texts need
            self.redactor.value(event.extra, "", {})
        return Prepared(
            RecordingParts(self.recording), factory, self.watch, self._script_module(), set(sys.modules)
        )

    def install(self) -> None:
        """Install the in-memory pipeline, with the levels of the recording."""
        install_pipeline(self.pipeline)
        overall = _level(self.recording.configuration("level", "DEBUG"))
        levels = self.recording.configuration("levels", {})
        for category, limit in LIMITS.items():
            own = levels.get(category, "DEBUG") if isinstance(levels, dict) else "DEBUG"
            limit.value = max(overall, _level(own))

    def build(self) -> Any:
        """Call the target's factory and return its result."""
        recording = self.recording
        name: str = self.request["target"]
        factory = self._imported()
        if self._prepared is None:
            self.watch.install_patches()  # the factory's objects may hold functions that read sources
        module = self._script_module() if self._prepared is None else self._prepared.script
        if module is not None:
            count_as_script(module)
            for name_of_script in (module, "__main__"):  # a text may also say `__main__`
                name_script(name_of_script, script_name(recording.session))
            self.decoder = Decoder(self._find_agent, module)
            self.comparison.main_module = module
        spec = self._spec()
        modules = {*recording.modules, name.partition(":")[0]}
        before = _code_and_constants(modules)
        if self.request.get("clock_shift_s"):
            random.seed()  # clocks differ, so unseeded draws must differ too
        try:
            with self.watch.building(self.request.get("clock_shift_s", 0)):
                built = build(factory, spec, name)
        except FactoryRaised as error:
            raise TargetFailed(f"{error}{what_the_spec_lacks(spec)}") from error
        changed = [
            name
            for name, value in _code_and_constants(modules).items()
            if not (before.get(name) is value or (type(value) in SCALARS and before.get(name) == value))
        ]
        self.outcome.set_by_factory = [name for name in changed if not _is_set_by_others(name, factory)]
        return built

    def _script_module(self) -> str | None:
        target = self.request["target"].partition(":")[0]
        return script_module(target, self.recording.session)

    def _imported(self) -> Callable[..., Any]:
        self._make_player()
        if self._prepared is not None:
            return self._prepared.factory
        arguments = recorded_arguments(self.recording.session)
        if arguments:
            sys.argv[:] = arguments  # the target's modules and the actions may read them
        with self.watch.importing():
            return import_target(self.request["target"])

    def _spec(self) -> Spec:
        if self.agent_id is not None or self.request.get("agents") is not None:
            return self._spec_of(self.agent_id or self.request["asked_for"])
        acting = [facts for facts in self.recording.agents.values() if facts.entries]
        # If all other agents acted only inside the actions of one agent, replay the run through that agent.
        roots = [facts for facts in acting if facts.roots]
        return self._spec_of(roots[0].agent_id if len(roots) == 1 else None)

    def _spec_of(self, agent_id: str | None) -> Spec:
        recording = self.recording
        facts = recording.agents.get(agent_id) if agent_id is not None else None
        if agent_id is not None and facts is None:
            raise RecordingMiss(f"the run has no agent {agent_id!r}")
        acting = [facts for facts in recording.agents.values() if facts.entries]
        first = facts.first_state if facts is not None else None
        return Spec(
            agent_id=agent_id,
            agent_role=facts.role if facts is not None else None,
            agent_ids=tuple(each.agent_id for each in acting if self.agent_id in {None, each.agent_id}),
            init=None if first is None else constructor_arguments(first, self.decoder),
            state={} if first is None else restorable(first, self.decoder).fields,
            nested={} if self.agent_id is not None else {f.agent_id: None for f in acting if not f.roots},
            peer=self.peers,
            of=self._spec_of,
            sources=recorded_counts(recording, agent_id),
        )

    def driver_for(self, plan: Plan) -> Driver:
        """Return the driver of a plan, with its player and sources."""
        self.live = frozenset(self.objects)
        self.fields.begin(self.recording.agents, self.live)
        self._make_player()
        sources = SourceAnswers(self, self.watch, self.request.get("clock_shift_s", 0))
        installed.source_player = sources
        self.driver = Driver(self, plan, self.given, self.watch, sources, self.request)
        return self.driver

    def _make_player(self) -> None:
        self.player = RecordedPlayer(self, self.answers(self.pipeline), self.watch.threads)
        current_player.set(self.player)

    def answers(self, pipeline: Pipeline) -> AnswerBook:
        """Return the recorded responses for calls that the pipeline records."""
        return AnswerBook(self.decoder, self.errors, self.recording.session, pipeline.session_id)

    def _refuse(self, reason: str) -> None:
        self.outcome.reason(reason)
        if self.player.action is not None:
            self.player.is_stopped = True
            raise ReplayStopped

    def _find_agent(self, agent_id: str) -> object:
        """Return the agent for a reference in restored values: the object if known, else a stub."""
        obj = self.objects.get(agent_id)
        if obj is None and self.driver is not None:
            obj = self.driver.nearby.get(agent_id)
        return obj if obj is not None else self.peers.stand_in(agent_id)

    def _same_id(self, recorded: str, replayed: str) -> bool:
        if self.identifiers.same(recorded, replayed):
            return True
        driver = self.driver
        if driver is None or not self.identifiers.knows(recorded):
            return False
        self.identifiers.see(driver.effects_so_far())
        return self.identifiers.same(recorded, replayed)


def _code_and_constants(modules: set[str]) -> dict[str, object]:
    """Return functions, classes, constants and public class attributes of some modules, by qualified name.

    Plain values in their dicts are among them. Instrumented functions are left out: their code is the same.
    """
    by_name: dict[str, object] = {}
    for name in modules & sys.modules.keys():
        for key, value in list(vars(sys.modules[name]).items()):
            kind = type(value)  # `isinstance` reads `__class__`, which would create a lazy object
            if issubclass(kind, type) and value.__module__ == name:
                by_name |= {
                    f"{name}.{key}.{each}": held for each, held in vars(value).items() if each[0] != "_"
                }
            if key[0] != "_" and issubclass(kind, (type, FunctionType, bool, int, float, str)):
                by_name[f"{name}.{key}"] = value
            if kind is dict and key[0] != "_" and len(value) <= _MOST_ENTRIES:
                by_name |= {
                    f"{name}.{key}[{each!r}]": held
                    for each, held in list(value.items())
                    if type(each) is str and type(held) in SCALARS
                }
    return {
        name: value
        for name, value in by_name.items()
        if not (type(value) is FunctionType and hasattr(value, TRACED))
    }


def _is_set_by_others(name: str, factory: Any) -> bool:
    """Whether the factory does not set a value itself.

    Methods of a class set its attribute then, such as a count, or code that the factory calls a dict's entry.
    """
    holder, is_entry, _ = name.partition("[")
    if is_entry:
        code = factory.__code__ if type(factory) is FunctionType else None
        return code is None or holder.rpartition(".")[2] not in _named(code)
    owner, _, attribute = name.rpartition(".")
    module, _, cls = owner.rpartition(".")
    held = getattr(sys.modules.get(module), cls, None)
    if not isinstance(held, type):
        return False
    methods = [
        each.__func__ if type(each) in {classmethod, staticmethod} else each for each in vars(held).values()
    ]
    codes = [inspect.unwrap(each).__code__ for each in methods if type(each) is FunctionType]
    stored = {stored for code in codes for stored in _stored(code)}
    own = _stored(factory.__code__) if type(factory) is FunctionType else set()
    return attribute in stored - own


def _named(code: CodeType) -> set[str]:
    """Return the global names and attributes that a code object and the functions inside it use."""
    return set(code.co_names).union(*(_named(each) for each in code.co_consts if type(each) is CodeType))


def _stored(code: CodeType) -> set[str]:
    """Return the names of attributes that a code object and the functions inside it set."""
    names = {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_ATTR"}
    return names.union(*(_stored(each) for each in code.co_consts if type(each) is CodeType))


def _level(name: Any) -> int:
    return LEVEL_OFF if str(name).upper() == "OFF" else LEVELS.get(str(name).upper(), 0)


def turn_recording_away(directory: Path) -> Callable[[], None]:
    """Redirect all recording that the target sets up to `directory`, which is deleted after the replay.

    Return a function that undoes this.
    """
    from Agent.tree.files import session
    from Agent.tree.layout import create_session_dir

    def elsewhere(root: Path, session_id: str) -> tuple[Path, str]:  # noqa: ARG001 - replaced
        return create_session_dir(directory / "recorded", session_id)

    def back() -> None:
        vars(session)["create_session_dir"] = create_session_dir
        session.records_separately = False

    vars(session)["create_session_dir"] = elsewhere
    session.records_separately = True
    return back


# A replay in the worker process: isolate, build the target's objects, replay, and report.


def replay(request: dict[str, Any], prepared: Prepared | None = None) -> dict[str, Any]:
    """Replay what a request of `attempts.py` names; return the outcome as JSON, without secrets in errors.

    Failures of the target become reasons of the outcome.

    Raises:
        TargetNotFound: the target cannot be imported.
    """
    bench = Workbench(request, prepared)
    turn_recording_away(bench.directory)
    bench.install()
    bench.comparison.passes_frames = True
    _note_record(bench)
    try:
        field_reads = _build(bench)
    except TargetNotImported as error:
        raise target_not_found(str(error)) from error
    except TargetFailed as error:
        bench.outcome.reason(str(error))
        bench.outcome.agents = [bench.agent_id] if bench.agent_id is not None else []
    else:
        built = list(bench.sink.lines)
        _drive(bench)
        _judge_built_objects(bench, built)
        _conclude(bench, field_reads)
    outcome: dict[str, Any] = redacted_texts(bench.outcome.to_object(), bench.redactor)
    return outcome


def _note_record(bench: Workbench) -> None:
    recording, outcome = bench.recording, bench.outcome
    recording.note_gaps(outcome)
    if pauses := describe_pauses(recording.events):
        outcome.remark(pauses)
    outcome.environment = {
        "python": sys.version.split()[0],
        "hash_seed": os.environ.get("PYTHONHASHSEED", ""),
        "state": str(recording.configuration("state", "exit")),
        "recorded_python": "" if recording.info is None else recording.info.python,
    }


def _build(bench: Workbench) -> FieldReads | None:
    """Build the target's objects; return the watcher of field reads if the request asks for one."""
    bench.objects = objects_in(bench.build(), bench.agent_id, frozenset(bench.recording.agents))
    only = bench.request.get("agents")
    if only is not None:
        bench.objects = {name: obj for name, obj in bench.objects.items() if name in only}
    bench.install()  # replaces whatever the target installed
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
    outcome.classes = {agent_id: class_text(type(obj)) for agent_id, obj in bench.given.items()}
    _count(bench, plan, live)
    for agent_id in {action.agent_id for action in plan.actions if action.overlaps}:
        bench.recording.agents[agent_id].note_overlap()
    driver = bench.driver_for(plan)
    beside = [group for group in groups_of(plan.actions) if len(group) > 1]
    apart = [group for group in beside if not ran_in_one_loop(group)]
    if apart:
        outcome.has_unknown_order = True
        outcome.doubts.append(_beside(apart[0][0]))
    else:
        outcome.beside = first_beside(plan.actions)
    driver.run()
    recorded = bench.recording.modules
    directories = directories_of(recorded)
    outcome.changed_modules = [
        name for name, digest in recorded.items() if module_digest(name, directories) not in {None, digest}
    ]
    if outcome.divergence is None and outcome.is_changed:
        driver.last_states.compare_references()
        _compare_program_state(bench, plan, live)
    if changed := _changed_where_answered(bench):
        outcome.remark(
            f"{', '.join(changed[:_MOST_QUESTIONS])} changed and did not run here, since recorded responses "
            "were returned, so its reads, draws and writes are not compared; replay the whole session"
        )
    if outcome.divergence is not None:
        outcome.varying = _varying_lines(bench, outcome.divergence)
    if outcome.is_same_code and outcome.divergence is not None:
        _doubt_after_actions_of_no_agent(outcome, plan)
        _doubt_copies(outcome, plan)
    if beside and outcome.is_same_code and not outcome.changed_modules and _share(bench, beside):
        outcome.doubts.append(_beside(beside[0][0]))


def _changed_where_answered(bench: Workbench) -> list[str]:
    """Return the methods of agents with recorded responses whose code has changed."""
    changed = []
    for agent_id in bench.outcome.answered:
        facts = bench.recording.agents.get(agent_id)
        for name, digest in ({} if facts is None else facts.calls).items():
            code = bench.recording.codes.get(digest or "")
            here: Any = None if code is None else sys.modules.get(code.module)
            for part in () if code is None else code.qualname.split("."):
                here = inspect.getattr_static(here, part, None)
            if inspect.isfunction(here) and CodeIdentity(inspect.unwrap(here)).digest != digest:
                changed.append(f"{agent_id}.{name}")
    return changed


def _compare_program_state(bench: Workbench, plan: Plan, live: frozenset[str]) -> None:
    """Add a question for each global, closure or the like that ended differently than in the recording.

    Unless all recorded actions ran here, only attributes of the classes of values are compared: actions that
    did not run, or the code around them, may have changed the rest, which only a run of the program shows.
    """
    recorded, here = program_state_of(bench.recording.closed), bench.pipeline.program_state
    if here is None:
        return
    payload = here.payload()
    kinds = kinds_of(bench.recording.closed)
    for kind in kinds_otherwise(kinds, kinds_in([payload]), bases_still_here(bases_in(kinds))):
        bench.outcome.ask(f"code changed: {kind}")
    if recorded is None:
        return
    final_state = [LeftInProgram.of(payload)]
    is_whole = bench.agent_id is None and not (bench.outcome.answered or plan.undriven)
    is_whole = is_whole and live.issuperset(bench.recording.agents)
    if is_whole:
        bench.comparison.agreement.redacted += redacted_in_all(recorded, final_state)
    differing = left_otherwise(recorded, final_state, only_classes=not is_whole)
    for name in code_otherwise(recorded, final_state):
        bench.outcome.ask(f"code changed in {name}, {OF_STORED_CODE}")
    for each in differing[:_MOST_QUESTIONS]:
        bench.outcome.ask(
            f"code changed, and {each.name} did not end as in the recording, which no field, result or call "
            "shows: replay in the script's directory, or keep it in a field"
        )


def _doubt_after_actions_of_no_agent(outcome: ReplayOutcome, plan: Plan) -> None:
    """Note the actions of no agent before a difference: what they wrote is lacking here."""
    step = outcome.divergence.step if outcome.divergence is not None else 0
    if outcome.changed_modules or not 0 < step <= len(plan.actions):
        return
    began_us = plan.actions[step - 1].call.began_us
    names = dict.fromkeys(call.name for call in plan.of_no_agent if call.began_us < began_us)
    if names:
        outcome.doubts.append(
            f"actions of no agent ran before and were not replayed ({listed([*names], 4)}), so what they "
            "wrote to classes or globals is lacking: replay in the script's directory, or make them methods "
            "of agents"
        )


def _doubt_copies(outcome: ReplayOutcome, plan: Plan) -> None:
    """Note an argument before a difference that may be an object of another agent, too: here it is a copy."""
    step = outcome.divergence.step if outcome.divergence is not None else 0
    given = next((action for action in plan.actions[:step] if is_given_copies(action.event)), None)
    if given is not None and len(outcome.agents) > 1 and not outcome.changed_modules:
        outcome.doubts.append(
            f"{given.call.name} of {given.agent_id} got an object that another agent may hold, which is not "
            "recorded; a replayed call gets a copy: replay in the script's directory"
        )


def _varying_lines(bench: Workbench, divergence: Divergence) -> list[str]:
    """Return the lines of the differing agent's code whose value varies between processes; not new ones."""
    obj = bench.objects.get(divergence.inner_agent_id or divergence.agent_id)
    if obj is None:
        return []
    fields = plain_attributes(obj)
    sets = [name for name, value in fields.items() if issubclass(type(value), (set, frozenset))]
    method = getattr(type(obj), divergence.action, None)
    first = inspect.unwrap(method) if callable(method) else None
    sources = {
        code.qualname: code.source for code in bench.recording.codes.values() if type(code.source) is str
    }
    own = varying_lines(functions_reached(first), sets, sources) if type(first) is FunctionType else []
    return own or varying_lines(functions_reached(type(obj)), sets, sources)


def _share(bench: Workbench, groups: Sequence[Sequence[DrivenAction]]) -> bool:
    """Whether agents with concurrent actions hold each other, or share an object with other agents."""
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
            f"{plural(plan.functions, 'action')} of functions, not of methods of the agent: not replayed"
        )
    if bench.agent_id is not None:
        return
    outcome.undriven = plan.undriven
    outcome.counts.actions += sum(plan.undriven.values())
    unreturned = sorted(name for name in plan.undriven if name and name not in live)
    if unreturned:
        outcome.reason(
            f"the run has actions of {plural(len(unreturned), 'agent')} that the target did not return "
            f"({listed(unreturned, 4)}): return them, or replay one agent as SESSION/agent_id"
        )
    inside = sum(count for name, count in plan.undriven.items() if name in live)
    if inside:
        outcome.remarks.append(
            f"{plural(inside, 'action')} of agents inside others happened outside replayed actions"
        )
    if plan.undriven.get(""):
        outcome.remarks.append(f"{plural(plan.undriven[''], 'action', 'belong')} to no agent: not replayed")


def _judge_built_objects(bench: Workbench, lines: Sequence[bytes]) -> None:
    """If an agent's changed code ran in the factory, make its effect there the first difference."""
    outcome = bench.outcome
    if not lines or not any(MADE_OTHERWISE in reason for reason in outcome.reasons):
        return
    if bench.watch.built_by_chance():
        return
    mark = bench.comparison.mark()
    difference = _first_difference_built(bench, map(decode_line, lines))
    bench.comparison.go_back(mark)
    if difference is None:
        return
    outcome.reasons[:] = [reason for reason in outcome.reasons if MADE_OTHERWISE not in reason]
    outcome.divergence = difference
    outcome.remark("the factory called the action that differs; the object that it made follows from that")


def _first_difference_built(bench: Workbench, replayed: Iterable[Event]) -> Divergence | None:
    """Return the first difference in the factory if changed code caused it from an equal beginning."""
    recorded: dict[str, Iterator[Event]] = {}
    kinds = {"state", *ACTION_KINDS}
    for other in replayed:
        if other.kind not in kinds:
            continue
        agent_id = str(other.agent_id)
        if agent_id not in recorded:
            own = [each for each in bench.recording.events if each.agent_id == agent_id]
            recorded[agent_id] = iter([each for each in own if each.kind in kinds])
        one = next(recorded[agent_id], None)
        if one is None or describe(one) != describe(other):
            return None
        difference = event_difference(one, other, bench.comparison)
        if difference is not None:
            is_begin = one.kind == "state" or difference.path.startswith("/args")
            is_changed = None not in {one.code, other.code} and one.code != other.code
            return None if is_begin or not is_changed else _divergence_built(bench, one, other, difference)
    return None


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
    for name in agreement.generators:
        outcome.ask(f"code changed in {with_other_frames(name)}, {OF_STORED_CODE}")
    if agreement.redacted:
        outcome.normalisers.append(f"{agreement.redacted} redacted values, hidden on both sides")
    if agreement.identifiers:
        outcome.normalisers.append(f"{agreement.identifiers} ids of events, which differ in every run")
    overlooked = bench.comparison.overlooked
    outcome.normalisers += overlooked.descriptions()
    if overlooked.of_libraries:
        outcome.remark(f"{overlooked.of_libraries:,} {MADE_BY_LIBRARIES}")
    for names, key in ((outcome.ignored, "ignored"), (outcome.handles, "handles")):
        names += [name for name in _listed(bench, key) if name not in names]
    outcome.are_modules_known = bool(bench.recording.modules)
    if field_reads is not None:
        is_same = outcome.is_same_code and not outcome.changed_modules
        doubts = field_reads.doubts(is_same_code=is_same)
        outcome.doubts += doubts
        outcome.needs_others = outcome.needs_others or bool(doubts)
    _judge_unseen_ends(outcome)
    at_end = {f"{agent_id}.{name}" for agent_id, names in outcome.unseen_at_end.items() for name in names}
    alone = f"{outcome.agents[0]}." if len(outcome.agents) == 1 else ""
    at_end = {name.removeprefix(alone) for name in at_end}
    outcome.unseen = [name for name in _listed(bench, "unseen") if name not in at_end]
    outcome.divergence = outcome.divergence or (None if agreement.generators else outcome.by_code_alone)
    for untouched in outcome.untouched if outcome.divergence is None else ():
        outcome.reason(untouched)
    if outcome.is_same_code:
        outcome.doubts += outcome.untouched
    if outcome.divergence is None:
        unread = (f"{agreement.unread:,} {NOT_READ_IN_CALLS}; {RECORD_LARGE}",) if agreement.unread else ()
        questions, uncaptured = outcome.questions[:_MOST_QUESTIONS], outcome.uncaptured[:_MOST_QUESTIONS]
        unseen = (*unread, *(uncaptured if outcome.is_changed else ()))
        for reason in (*outcome.changed_inside.values(), *questions, *unseen):
            outcome.reason(reason)
        if len(outcome.questions) > _MOST_QUESTIONS:
            outcome.reason(f"{plural(len(outcome.questions) - _MOST_QUESTIONS, 'more such reason')}")
    doubt_what_was_built(outcome, bench.watch.built_by_chance())
    bench.watch.report_to(outcome, overlooked.excuses)
    if outcome.divergence is not None and outcome.answered and len(bench.objects) > 0:
        nested = [name for name in outcome.answered if name not in bench.peers.asked_for]
        if nested and bench.agent_id is None:
            outcome.remarks.append(
                f"calls of {plural(len(nested), 'agent')} returned recorded responses; if they are part of "
                "what is replayed, return them as well: {...} | spec.nested"
            )


def _judge_unseen_ends(outcome: ReplayOutcome) -> None:
    """Note fields whose end was not seen; with changed code they make the result uncertain."""
    is_changed = outcome.is_changed or not outcome.are_modules_known
    for agent_id, names in outcome.unseen_ends.items():
        if not is_changed:
            outcome.unseen_at_end[agent_id] = [*outcome.unseen_at_end.get(agent_id, ()), *names]
            continue
        for name in names:
            outcome.reason(
                f"the final value of {name} of {agent_id} is not in the recording: {agent_id} was "
                "garbage-collected before recording ended; keep it until shutdown_logging(), or ignore the "
                f"field: --ignore {name}"
            )


def _listed(bench: Workbench, key: str) -> list[str]:
    """Return the fields that full states list as `unseen`, `ignored` or `handles`."""
    names: dict[str, None] = {}
    driven, inside = bench.outcome.agents, bench.outcome.inside
    for event in bench.recording.events:
        if event.kind != "state" or (event.agent_id not in driven and event.agent_id not in inside):
            continue
        # Name each field once for all agents of a role that are inside others.
        owner = event.agent_id if event.agent_id in driven else f"each {event.agent_role}"
        for field in event.extra.get(key) or ():
            if not bench.fields.leaves_out(str(event.agent_id), str(field)):
                names[str(field) if driven == [owner] else f"{owner}.{field}"] = None
    return list(names)


def _beside(action: DrivenAction) -> str:
    return (
        f"step {action.number} ran at the same time as another replayed action, and a replay does not impose "
        "their order: replay each agent alone"
    )
