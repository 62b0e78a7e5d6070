"""Driving up to the point of a fork and on from there: the first with comparison, the second without.

`child.py` says where the point is; what is recorded from there on is the fork.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

from Agent.errors import AgentTraceError, UsageError
from Agent.event.codec import decode_line
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.event.values.digest import digest_bytes
from Agent.event.values.serialise import to_json
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.safe_text import message_of
from Agent.record.state.agents import agent_id_of
from Agent.record.state.identity import TRACED
from Agent.record.state.introspection import read_state
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.emitted_events import describe
from Agent.replay.compare.outcome import ReplayStopped
from Agent.replay.drive.calls import scope_fields
from Agent.replay.drive.states import generators_in, put_back, remove_fields
from Agent.replay.forks.outcome import ForkOutcome, RaisedError
from Agent.replay.forks.patches import Patch, apply_patch
from Agent.replay.forks.player import ForkPlayer
from Agent.replay.forks.sources import ForkSources
from Agent.replay.plan.actions import DrivenAction, is_outside_write
from Agent.replay.plan.values import Decoder
from Agent.replay.sources.source_results import SourceAnswers
from Agent.replay.worker.driver import Driver


class ForkDriver(Driver):
    """Carries out a part of a plan, then another part with a player of its own."""

    _patched: Collection[str] = ()

    def bring_to(self, actions: Sequence[DrivenAction], done: Callable[[], None]) -> bool:
        """Drive recorded actions and compare each with the record; whether all went as recorded.

        Args:
            done: called behind each.
        """
        self._player.stage = self
        self._outcome.sources = self._watch.reads
        # What is read is answered from the recording, and nobody looks at what these events would hold of it.
        keeps_reads, installed.open_reads = installed.open_reads, None
        try:
            for action in actions:
                self._drive(action)
                done()
            for agent_id, obj in self._objects.items():
                self._restore(agent_id, obj)
        except ReplayStopped:
            return False  # the outcome knows why
        finally:
            installed.open_reads = keeps_reads
            self._player.action = None
            self._judge.settle()
            self._watch.close()
        return True

    def read_by(self, sources: SourceAnswers) -> None:
        """Let sources be answered by those, which are told which generators the agents hold."""
        self._sources = sources
        for agent_id, obj in {**self.nearby, **self._objects}.items():
            self._allow_generators(agent_id, obj)

    def hand_over(self, player: ForkPlayer, pipeline: Pipeline, patched: Collection[str]) -> None:
        """From here on calls are answered by that player, and recorded by that pipeline.

        Args:
            patched: fields that differ on purpose, `agent.field` where there are several agents.
        """
        self._patched = patched
        # Of a player the driver asks from here on nothing but to stop.
        self._player = player  # type: ignore[assignment]
        self._pipeline = pipeline

    def go_on(self, action: DrivenAction, around: SpanScope | None) -> Exception | None:
        """Call a recorded action as it was called; what it raised, None where it returned."""
        obj = self._objects[action.agent_id]
        method, args, kwargs = self._prepared(action.call, obj)
        # What a function around the traced one writes, as Mesa counts its steps, it writes here again.
        for event in action.before if hasattr(method, TRACED) else ():
            if is_outside_write(event):
                self._impose(action, event, obj)
        scope = SpanScope(
            around, tick=action.event.tick, fields=scope_fields(action.event, self._decoder) or None
        )
        token = current_scope.set(scope)
        try:
            self._call(method, args, kwargs)
        except Exception as error:  # noqa: BLE001 - what the agent raises is part of what the fork is to show
            return error
        finally:
            current_scope.reset(token)
        return None

    def _keeps(self, agent_id: str) -> Collection[str]:
        """Fields that the fork has patched."""
        patched = self._patched
        return {name.rpartition(".")[2] for name in patched if name.rpartition(".")[0] in {"", agent_id}}

    def resume(self, resume: Callable[[], Any]) -> Exception | None:
        """Let an agent go on by itself; what it raised, None where it returned."""
        try:
            self._call(resume, [], {})
        except Exception as error:  # noqa: BLE001 - as above
            return error
        return None

    def close(self) -> None:
        """End what asyncio still holds."""
        self._close_loop()
        self._loop = None

    def leave_loop(self) -> None:
        """Begin with a loop of its own: this process was forked off, and the other is its parent's."""
        self._loop = None


class ForkTrigger:
    """Does something once a recorded effect of an action has happened again.

    Args:
        effect: the effect of the original behind which it happens.
        effects: all effects of that action in the original.
        act: what is done.
    """

    def __init__(self, effect: Event, effects: Sequence[Event], act: Callable[[], None]) -> None:
        self._what = describe(effect)
        self._left = 1 + sum(
            describe(each) == self._what for each in effects[: [e.id for e in effects].index(effect.id)]
        )
        self._act = act
        self.has_acted = False
        self.error: AgentTraceError | None = None
        """Why that could not be done: what is recording the line must not fail."""

    def hear(self, line: bytes) -> None:
        """A line was written."""
        if self.has_acted or describe(decode_line(line)) != self._what:
            return
        self._left -= 1
        if not self._left:
            self.has_acted = True
            try:
                self._act()
            except AgentTraceError as error:
                self.error = error


def patch_objects(
    objects: Mapping[str, object], patch: Patch, decoder: Decoder, outcome: ForkOutcome, *, is_one: bool
) -> None:
    """Change the states of objects.

    Args:
        objects: those that can be changed, by agent.
        patch: of the one agent's state where `is_one`, else of a mapping of agents to theirs.

    Raises:
        UsageError: an agent is unknown, or the patch does not fit.
    """
    if is_one:
        parts = dict.fromkeys(objects, patch)
    elif isinstance(patch, Mapping):
        parts = dict(patch)
    else:
        parts = _by_agent(patch)
    for agent_id, part in parts.items():
        if agent_id not in objects:
            known = ", ".join(list(objects)[:5])
            raise UsageError(
                f"the patch names {agent_id!r}, but the code of that agent does not run",
                remedy=f"with several agents a patch is {{agent: its changes}}, for {known}",
            )
        _patch(agent_id, objects[agent_id], part, decoder, outcome, with_agent=not is_one)


def _by_agent(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Operations on a mapping of agents as operations on each."""
    from Agent.event.pointers import unescape

    parts: dict[str, Any] = {}
    for operation in operations:
        moved = dict(operation)
        agents = set()
        for key in ("path", "from"):
            if key in operation:
                agent, slash, rest = str(operation[key]).removeprefix("/").partition("/")
                agents.add(unescape(agent))
                moved[key] = f"{slash}{rest}"
        if len(agents) != 1:
            raise UsageError(
                "one patch operation affects several agents", remedy="patch each agent separately"
            )
        parts.setdefault(agents.pop(), []).append(moved)
    return parts


def _patch(
    agent_id: str, obj: object, patch: Patch, decoder: Decoder, outcome: ForkOutcome, *, with_agent: bool
) -> None:
    dumped = to_json(dict(read_state(obj).fields), "", agent_of=agent_id_of)
    patched = apply_patch(orjson.loads(dumped.json), dumped.types or {}, patch)
    values = {}
    for name in patched.changed:
        restored = decoder.restore(Recorded(patched.fields[name], patched.types, f"/{escape(name)}"))
        if restored.unrestored:
            raise UsageError(
                f"the field {name!r} of {agent_id} cannot be patched: {restored.unrestored[0]} in it cannot "
                "be restored",
                remedy="patch another field, or give the class trace_state() and trace_restore()",
            )
        values[name] = restored.value
    put_back(obj, values)
    remove_fields(obj, list(patched.removed))
    prefix = f"{agent_id}." if with_agent else ""
    outcome.changed += [prefix + name for name in (*patched.changed, *patched.removed)]
    for name in patched.added:
        outcome.note(f"the patch adds the field {name!r}, which {agent_id} does not have")
    if not patched.changed and not patched.removed:
        outcome.note(f"the patch changes nothing of {agent_id}")


def seed_generators(objects: Mapping[str, object], seed: int) -> int:
    """Seed every generator that agents expose, and those of the modules; how many.

    Each gets a seed of its own, made of the one given, the agent and the field.
    """
    count = 0
    for agent_id, obj in objects.items():
        for place, (name, generator) in enumerate(generators_in(obj)):
            _seed(generator, f"{seed}/{agent_id}/{name}/{place}")
            count += 1
    player = installed.source_player
    if isinstance(player, ForkSources):
        player.release()
    random.seed(f"{seed}/random")
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(_number(f"{seed}/numpy.random"))
    return count


def _seed(generator: Any, text: str) -> None:
    if isinstance(generator, random.Random):
        generator.seed(text)
    elif hasattr(generator, "bit_generator"):
        bits = generator.bit_generator
        bits.state = type(bits)(_number(text)).state
    else:
        generator.seed(_number(text))


def _number(text: str) -> int:
    return int(digest_bytes(text.encode())[:8], 16)


def raised(error: Exception, action: DrivenAction | None, agent_id: str, name: str) -> RaisedError:
    """An exception as the outcome tells it."""
    number = 0 if action is None else action.number
    return RaisedError(number, name, agent_id, type(error).__qualname__, message_of(error))


def resume_of(obj: object) -> Callable[[], Any] | None:
    """The method by which an agent continues from its state by itself; None where it has none."""
    found = getattr(obj, "trace_resume", None)
    return found if callable(found) and not inspect.isclass(found) else None
