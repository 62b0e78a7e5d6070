"""The workbench of the worker process: the recording, what the target builds, and what replays them.

A replay (`replay_job.py`) and a fork (`forks/fork.py`) are carried out on one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Agent.errors import RecordingMiss
from Agent.event.kinds import LEVEL_OFF, LEVELS
from Agent.event.model import Event
from Agent.event.script_names import name_script
from Agent.record.emit import installed
from Agent.record.emit.installed import LIMITS, install_pipeline
from Agent.record.emit.opening import LineSink, options_of_replay, record_lines
from Agent.record.emit.pipeline import Pipeline
from Agent.record.emit.player import current_player
from Agent.record.state.tracker import count_as_script
from Agent.replay.compare.comparison import Comparison
from Agent.replay.compare.emitted_events import Identifiers
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.compare.outcome import ReplayOutcome, ReplayStopped
from Agent.replay.drive.agent_stubs import (
    ConstructorArguments,
    Peers,
    Spec,
    constructor_arguments,
    what_the_spec_lacks,
)
from Agent.replay.drive.fields import FieldRules
from Agent.replay.drive.kit import ReplayKit
from Agent.replay.drive.player import RecordedPlayer
from Agent.replay.drive.recorded_results import AnswerBook
from Agent.replay.drive.states import restorable
from Agent.replay.plan.actions import Plan
from Agent.replay.plan.recording import Recording, RecordingParts, read_recording, script_module, script_name
from Agent.replay.plan.target import FactoryRaised, TargetFailed, build, import_target
from Agent.replay.plan.values import Decoder
from Agent.replay.sources.source_results import SourceAnswers, recorded_counts
from Agent.replay.sources.watched import SourceWatch
from Agent.replay.worker.driver import Driver


@dataclass(frozen=True, slots=True)
class Prepared:
    """The work done once for many replays of a session: reading it, and importing the target."""

    recordings: RecordingParts
    factory: Callable[..., Any]
    watch: SourceWatch


class Workbench:
    """Everything that a request is carried out with.

    Args:
        request: names session, agent and target, and how to replay.
        prepared: the work that this process did before it forked; without it everything is done here.
    """

    def __init__(self, request: dict[str, Any], prepared: Prepared | None = None) -> None:
        self.request = request
        self.outcome = ReplayOutcome()
        self._prepared = prepared
        self.agent_id: str | None = request["agent_id"]
        self.recording = recording = self.read(self.agent_id)
        self.errors = {event.id: event for event in recording.events if event.kind == "error"}
        self.sink = LineSink("replayed")
        self.pipeline = record_lines(
            self.sink,
            recording.session.name.removeprefix("session_"),
            redact=bool(recording.configuration("redact", default=True)),
            options=options_of_replay(recording.configuration("state", default="exit")),
        )
        self.redactor = self.pipeline.redactor
        self._identifiers = Identifiers()
        self.fields = FieldRules(self.outcome, request.get("ignore") or ())
        self.comparison = Comparison(
            None,
            self._same_id,
            Normaliser.from_object(request.get("normalise") or {}),
            fields=self.fields,
        )
        self.objects: dict[str, Any] = {}
        """What the target gave, by agent; None for those that are inside others."""
        self.watch = SourceWatch() if prepared is None else prepared.watch
        self.watch.reachable = frozenset({"network"} if request.get("network") else ())
        self.watch.files.is_refusing = bool(request.get("no_writes"))
        self.outcome.opened_for_writing = self.watch.files.opened
        self.decoder = Decoder(self._find_agent)
        self.peers = Peers(recording, self.player_now, self._refuse)
        self._player: RecordedPlayer | None = None
        self.driver: Driver | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The agents that the target gave an object for."""
        return {name: obj for name, obj in self.objects.items() if obj is not None}

    @property
    def directory(self) -> Path:
        """A directory that goes when the worker process has ended."""
        return Path(self.request["outcome_path"]).parent

    def read(self, agent_id: str | None) -> Recording:
        """The recording of one agent, or of the run."""
        if self._prepared is not None:
            return self._prepared.recordings.of(agent_id)
        return read_recording(Path(self.request["session"]), agent_id)

    def prepare(self) -> Prepared | None:
        """Import the target for forks of this process; None where the import did what each has to see itself.

        Raises:
            TargetNotImported: it cannot be imported.
        """
        turn_recording_away(self.directory)
        self.install()
        factory = self._imported()
        if self.sink.lines or self.outcome != ReplayOutcome():
            return None
        return Prepared(RecordingParts(self.recording), factory, self.watch)

    def install(self) -> None:
        """Send what is recorded from here on into memory, at the levels of the recording."""
        install_pipeline(self.pipeline)
        overall = _level(self.recording.configuration("level", "DEBUG"))
        levels = self.recording.configuration("levels", {})
        for category, limit in LIMITS.items():
            own = levels.get(category, "DEBUG") if isinstance(levels, dict) else "DEBUG"
            limit.value = max(overall, _level(own))

    def build(self) -> Any:
        """What the target's factory gives."""
        recording = self.recording
        name: str = self.request["target"]
        factory = self._imported()
        self.watch.put_in_seams()  # what the factory builds may hold functions that read sources
        module = script_module(name.partition(":")[0], recording.session, recording.info)
        if module is not None:
            count_as_script(module)
            for name_of_script in (module, "__main__"):  # a text may say `__main__` here, too
                name_script(name_of_script, script_name(recording.session, recording.info))
            self.decoder = Decoder(self._find_agent, module)
            self.comparison.main_module = module
        spec = self._spec()
        try:
            with self.watch.building():
                return build(factory, spec, name)
        except FactoryRaised as error:
            raise TargetFailed(f"{error}{what_the_spec_lacks(spec)}") from error

    def _imported(self) -> Callable[..., Any]:
        self._make_player(frozenset())
        if self._prepared is not None:
            return self._prepared.factory
        with self.watch.importing():
            return import_target(self.request["target"])

    def _spec(self) -> Spec:
        if self.agent_id is not None or self.request.get("agents") is not None:
            return self._spec_of(self.agent_id or self.request["asked_for"])
        acting = [facts for facts in self.recording.agents.values() if facts.entries]
        # Where all others acted inside one agent's actions, that one is what the run is replayed through.
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
            init=self._init(first),
            state={} if first is None else restorable(first, self.decoder).fields,
            nested={} if self.agent_id is not None else {f.agent_id: None for f in acting if not f.roots},
            peer=self.peers,
            of=self._spec_of,
            sources=recorded_counts(recording, agent_id),
        )

    def _init(self, first: Event | None) -> ConstructorArguments | None:
        if first is None or not isinstance(first.extra.get("init"), dict):
            return None
        return constructor_arguments(first.extra["init"], first.types or {}, self.decoder)

    def driver_for(self, plan: Plan) -> Driver:
        """What carries out a plan, with everything that it works with."""
        live = frozenset(self.objects)
        self.fields.begin(self.recording.agents, live)
        self.kit = ReplayKit(
            self.recording,
            live,
            self.errors,
            self.outcome,
            self.pipeline,
            self.sink,
            self.decoder,
            self.comparison,
            self._identifiers,
            self.fields,
            self._make_player(live),
        )
        sources = SourceAnswers(self.kit, self.watch)
        installed.source_player = sources
        self.driver = Driver(self.kit, plan, self.given, self.watch, sources, self.request)
        return self.driver

    def _make_player(self, live: frozenset[str]) -> RecordedPlayer:
        self._player = RecordedPlayer(
            live,
            frozenset(self.recording.agents),
            self.answers(self.pipeline),
            self.outcome,
            self.pipeline,
            self.comparison,
        )
        self._player.threads = self.watch.threads
        current_player.set(self._player)
        return self._player

    def answers(self, pipeline: Pipeline) -> AnswerBook:
        """The recorded responses for what that pipeline records."""
        return AnswerBook(self.decoder, self.errors, self.recording.session, pipeline.session_id)

    def player_now(self) -> RecordedPlayer:
        """The player that answers calls before a fork's point."""
        assert self._player is not None  # noqa: S101 - made before any target is built
        return self._player

    def _refuse(self, reason: str) -> None:
        player = self.player_now()
        self.outcome.reason(reason)
        if player.action is not None:
            player.is_stopped = True
            raise ReplayStopped

    def _find_agent(self, agent_id: str) -> object:
        """What stands for an agent in restored values: the real one if it is known, else a stand-in."""
        obj = self.objects.get(agent_id)
        if obj is None and self.driver is not None:
            obj = self.driver.nearby.get(agent_id)
        return obj if obj is not None else self.peers.stand_in(agent_id)

    def _same_id(self, recorded: str, replayed: str) -> bool:
        if self._identifiers.same(recorded, replayed):
            return True
        driver = self.driver
        if driver is None or not self._identifiers.knows(recorded):
            return False
        self._identifiers.see(driver.effects_so_far())
        return self._identifiers.same(recorded, replayed)


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
