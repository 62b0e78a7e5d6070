"""The replays of one run: repeated if a difference, or its absence, may be random.

Threads, hash seeds, the turns of an event loop, and clocks and draws of installed libraries vary between
replays. `rerun.py` decides which run is replayed, and reports.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from Agent.event.values.opaque import WRITTEN_OUTSIDE
from Agent.flight.run_reading import RunRef
from Agent.replay.compare.comparison import SOMEWHERE_INSIDE
from Agent.replay.compare.normaliser import Normaliser, form_of
from Agent.replay.compare.outcome import Divergence, ReplayOutcome, Verdict, judge
from Agent.replay.plan.recording import read_recording, with_changed_files
from Agent.replay.worker.fork_server import Worker
from Agent.replay.worker.jobs import Job, launches_anew, run_job

_HASH_SEEDS = 2
"""The number of other hash seeds under which a difference without changed code must recur: half of all seeds
give two members of a set the same order."""
_MORE_HASH_SEEDS = 5
"""The same number if the code has lines whose value varies between processes."""
_THREADS = "threads, "
"""The prefix of the text in `ReplayOutcome.unsteady` that names the places where threads were started."""
_STATE = "state."
_SAME_ORDERS = 3
"""How many replays must end at the same difference if the order of threads may vary."""
_MOST_ORDERS = 6
_CLOCK_SHIFTS_S = (40 * 86_400 + 5 * 3_600 + 61, 3 * 365 * 86_400 + 3_599)
"""How far ahead the clocks of libraries are in further replays: a different hour, day, month and year."""
GREEN = {Verdict.IDENTICAL, Verdict.EQUIVALENT}
_PASSED_ON = ("network", "asked_for", "strict_factory", "no_writes", "keep_going")
"""The options that a request has under the same names."""
REPLAY = Job("replay", "Agent.replay.worker.workbench:replay")


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """Options of a replay, besides the run and the target."""

    timeout_seconds: float | None = None
    normaliser: Normaliser | None = None
    network: bool = False
    agents: Collection[str] | None = None
    """The agents to replay among the target's objects; other agents' calls get recorded responses."""
    asked_for: str | None = None
    """With `agents`: the agent id that is passed to the target, the same as for the whole run."""
    stop: Event | None = None
    """Another thread sets it to end the worker process."""
    ignore: Collection[str] = ()
    """Fields that are not compared: `field`, `agent.field`, or patterns of them."""
    strict_factory: bool = False
    """Treat a first state that the target built differently as a difference."""
    no_writes: bool = False
    """Refuse to open existing files for writing."""
    keep_going: int = 0
    """How many differences to look for after the first one."""
    program: bool = False
    """Run the whole recorded program again if calling its actions one by one proves nothing."""


@dataclass(slots=True)
class Attempts:
    """Replays one run in worker processes."""

    reference: RunRef
    target: str
    options: RedriveOptions
    worker: Worker | None
    """A process that forks for each replay; None to start a new one each time."""

    def request(self) -> dict[str, Any]:
        """Build the request for the worker process."""
        options = self.options
        return {
            "session": str(self.reference.session.absolute()),
            "agent_id": self.reference.agent_id,
            "target": self.target,
            "normalise": options.normaliser.to_object() if options.normaliser is not None else {},
            "agents": None if options.agents is None else sorted(options.agents),
            "ignore": list(options.ignore),
            **{name: getattr(options, name) for name in _PASSED_ON},
        }

    def once(self, **more: Any) -> ReplayOutcome:
        """Replay once; `more` is added to the request, such as `turns`, see `Driver`."""
        run = None if self.worker is None else self.worker.run
        request = self.request() | more
        result = run_job(REPLAY, request, self.options.timeout_seconds, self.options.stop, run)
        if result.answer is not None:
            outcome = ReplayOutcome.from_object(result.answer)
        else:
            agent_id = self.reference.agent_id
            outcome = ReplayOutcome(agents=[] if agent_id is None else [agent_id])
            outcome.reason(with_changed_files(result.failure, read_recording(self.reference.session)))
        outcome.printed = result.stdout, result.stderr
        return outcome

    def outcome(self) -> ReplayOutcome:
        """Replay, and repeat the replay if a difference or its absence may be random."""
        outcome = self.once()
        is_alone = self.reference.agent_id is not None
        is_written = any(WRITTEN_OUTSIDE in name for name in outcome.references)
        reads_others = is_written or is_alone or bool(outcome.answered)
        if outcome.beside and (outcome.divergence is not None or outcome.is_waiting):
            outcome = self._in_other_turns(outcome)
        if outcome.has_held and outcome.is_changed and judge(outcome)[0] in GREEN:
            free = self.once(turns="free")  # actions continue after an `await` as soon as they can
            if judge(free)[0] is Verdict.DIVERGED and free.divergence is not None:
                outcome.reason(
                    "code changed, and after each await actions continued in the recorded order; without "
                    f"that order, this differs: {free.divergence.step_text}. Changed delays or a busy "
                    "machine can cause it"
                )
        # Without changed code, the order of a set may be the cause; with it, too, if a line that is not new
        # gives what varies, such as `hash`. Forks of one process share a hash seed, so only a new process can
        # show that.
        may_vary = outcome.is_same_code or bool(outcome.varying)
        looks_at_hashes = may_vary and launches_anew()
        has_threads = any(each.startswith(_THREADS) for each in outcome.unsteady)
        may_agree = has_threads and outcome.is_same_code
        may_change = reads_others or outcome.unsteady or outcome.is_same_code or looks_at_hashes
        # Reads by libraries alone are examined last, since they may not affect the result.
        bare = _without_libraries(outcome) if all(read.is_of_library for read in outcome.sources) else outcome
        if may_agree or (may_change and judge(bare)[0] is Verdict.DIVERGED):
            # Watching every field that is read is slow, and cannot change the verdict without a difference.
            if looks_at_hashes:
                self.worker = None
            again = self.once(look_at_fields=reads_others or outcome.is_same_code)
            outcome.doubts += [doubt for doubt in again.doubts if doubt not in outcome.doubts]
            outcome.needs_others = outcome.needs_others or again.needs_others
            if has_threads:
                doubts = outcome.doubts
                outcome = self._in_other_orders_of_threads([outcome, again])
                outcome.doubts += [doubt for doubt in doubts if doubt not in outcome.doubts]
                if outcome.is_same_code and judge(outcome)[0] is Verdict.DIVERGED:
                    outcome = self._beyond_order(outcome)
            else:
                self._check_is_steady(outcome, again, looks_at_hashes=looks_at_hashes)
        outcome = self._without_fields_of_libraries(outcome)
        self._check_library_reads(outcome)
        return outcome

    def _check_is_steady(
        self, outcome: ReplayOutcome, again: ReplayOutcome, *, looks_at_hashes: bool
    ) -> None:
        """Add a doubt if the difference changes between replays.

        Args:
            outcome: the first replay; receives the doubt.
            again: the outcome of the second replay.
            looks_at_hashes: whether to replay under one more hash seed.
        """
        seeds = _MORE_HASH_SEEDS if outcome.varying and outcome.is_same_code else _HASH_SEEDS
        for _ in range(seeds - 1 if looks_at_hashes else 0):
            if again.divergence != outcome.divergence:
                break
            again = self.once()
        if again.divergence == outcome.divergence:
            return
        if outcome.unsteady:
            outcome.doubts.append(_changes(outcome))
        elif looks_at_hashes or outcome.is_same_code:
            outcome.doubts.append(
                "the difference varies between processes"
                + (f", maybe because of {', '.join(outcome.varying)}" if outcome.varying else "")
                + ": if the code iterates over a set there, sort it; and store no id of a thread, a process "
                "or an object, nor the time of an event loop" + _leaving_out(outcome.divergence)
            )

    def _check_library_reads(self, outcome: ReplayOutcome) -> None:
        """Remove libraries' unrecorded reads from the outcome if nothing compared depends on them.

        A framework creates ids and times for internal use. Further replays, with clocks days and years ahead
        and other draws, must have the same outcome as this one. Reads of the user's own code always count.
        """
        reads, chance = outcome.sources, outcome.chance_of_libraries
        is_alone = bool(reads or chance) and all(read.is_of_library for read in reads)
        without = _without_libraries(outcome)
        if not is_alone or judge(without)[0] is Verdict.UNVERIFIED:
            return
        for shift_s in _CLOCK_SHIFTS_S:
            other = self.once(clock_shift_s=shift_s)
            is_same = _masked_divergence(other) == _masked_divergence(outcome)
            is_same = is_same and judge(_without_libraries(other))[0] is judge(without)[0]
            if not is_same or not all(read.is_of_library for read in other.sources):
                return
        outcome.sources, outcome.doubts = [], without.doubts
        places = ", ".join(f"{read.source} by {read.reader}" for read in reads[:2])
        more = f" and {len(reads) - 2} more" if len(reads) > 2 else ""
        outcome.remark(
            (f"installed libraries read {places}{more}, which is not recorded; " if reads else f"{chance}; ")
            + f"{len(_CLOCK_SHIFTS_S)} more replays with other times and draws had the same result"
        )

    def _without_fields_of_libraries(self, outcome: ReplayOutcome) -> ReplayOutcome:
        """Replay without fields that have only a digest, which libraries' unrecorded reads change."""
        names: list[str] = []
        while (name := self._field_varied_by_libraries(outcome)) and name not in names:
            names.append(name)
            self.options = replace(self.options, ignore=(*self.options.ignore, name))
            outcome = self.once()
        if not names:
            return outcome
        left_out = {each for each in outcome.ignored if each.rpartition(".")[2] in names}
        outcome.ignored = [each for each in outcome.ignored if each not in left_out]
        outcome.left_out = sorted(left_out)
        note = (
            f"{', '.join(names)}: not compared: only its digest is recorded, and that includes times and "
            "random values that installed libraries read, which are not recorded"
        )
        if outcome.changed_code and outcome.divergence is None:
            ignored = f"--ignore {', '.join(names)}"
            outcome.reason(f"{note}; code changed: if what it changes there does not matter: {ignored}")
        else:
            outcome.remark(note)
        return outcome

    def _field_varied_by_libraries(self, outcome: ReplayOutcome) -> str | None:
        """Return the field, recorded only as a digest, that differs because of libraries' unrecorded reads.

        That is the case if the digest changes again under another clock; else None.
        """
        divergence, reads = outcome.divergence, outcome.sources
        is_alone = bool(reads) and all(read.is_of_library for read in reads)
        if not is_alone or divergence is None or not _is_digest_of_field(divergence):
            return None
        other = self.once(clock_shift_s=_CLOCK_SHIFTS_S[0]).divergence
        if other is None or (other.event_id, other.field) != (divergence.event_id, divergence.field):
            return None
        return divergence.field.removeprefix(_STATE) if other.replayed != divergence.replayed else None

    def _in_other_orders_of_threads(self, tries: list[ReplayOutcome]) -> ReplayOutcome:
        """Replay until the outcome of actions that start threads is clear, since their order varies.

        Without changed code, an order in which nothing differs is as good as the recorded one. Otherwise the
        replay that agrees with the most steps counts, once `_SAME_ORDERS` replays end at its difference;
        replays that ended earlier merely had a different order there. After `_MOST_ORDERS` replays a doubt is
        added.

        Args:
            tries: the first two replays.
        """
        first = tries[0]
        while True:
            last = tries[-1]
            if first.is_same_code and judge(last)[0] in GREEN:
                last.remark(
                    f"its threads run in a different order each time: replay {len(tries)} agrees with the "
                    f"recording, the first one did not, {first.divergence}"
                )
                return last
            best = max(tries, key=_agreed_steps)
            furthest = [each.divergence for each in tries if _agreed_steps(each) == _agreed_steps(best)]
            is_one = furthest.count(best.divergence) == len(furthest)
            if is_one and len(furthest) == _SAME_ORDERS:
                return best
            is_open = last.divergence is not None and (is_one or first.is_same_code)
            if not is_open or len(tries) == _MOST_ORDERS:
                best.doubts.append(_changes(best))
                return best
            tries.append(self.once())

    def _beyond_order(self, attempt: ReplayOutcome) -> ReplayOutcome:
        """Check whether a difference with threads is more than a rare order in the recording.

        A difference that occurs twice without regard to order counts; else a doubt is added. A digest cannot
        be compared without regard to order, so a field that is recorded only as one is ignored.

        Args:
            attempt: the replay whose difference recurred.
        """
        divergence, options = attempt.divergence, self.options
        normaliser = replace(options.normaliser or Normaliser(), order=True)
        self.options = replace(options, normaliser=normaliser)
        if divergence is not None and _is_digest_of_field(divergence):
            ignore = (*options.ignore, divergence.field.removeprefix(_STATE))
            self.options = replace(self.options, ignore=ignore)
        seen = [attempt]
        for _ in range(_SAME_ORDERS):
            other = self.once()
            if judge(other)[0] is not Verdict.DIVERGED:
                break
            same = next((each for each in seen if each.divergence == other.divergence), None)
            if same is not None:
                return same
            seen.append(other)
        attempt.doubts.append(_changes(attempt))
        return attempt

    def _in_other_turns(self, first: ReplayOutcome) -> ReplayOutcome:
        """Replay concurrent actions in other orders, and return the outcome that counts.

        The recording does not show exactly which of them began first. An order in which nothing differs is as
        good as the recorded one. A difference counts if running the actions one after the other gives the
        same one. With changed code and all agents, it also counts if that run differs earlier or never ends,
        or if the recording has the turns. Otherwise a doubt is added.

        Args:
            first: the first replay.
        """
        for turns in ("loose", "sequential"):
            other = self.once(turns=turns)
            if judge(other)[0] in GREEN:
                return other
        divergence, later = first.divergence, other.divergence
        is_shorter = later is not None and divergence is not None and later.step < divergence.step
        counts = is_shorter or other.is_waiting or not first.has_unknown_turns
        # The turns of one agent alone may depend on the others.
        counts = counts and first.is_changed and self.reference.agent_id is None
        if divergence is not None and later != divergence and not counts:
            first.has_unknown_order = first.needs_others = True
            remedy = (
                "replay each agent alone" if len(first.agents) > 1 else "await one action before the next"
            )
            first.doubts.append(
                f"steps ran at the same time, as step {first.beside} did, and in another order the "
                f"difference changes: {remedy}"
            )
        return first


def _without_libraries(outcome: ReplayOutcome) -> ReplayOutcome:
    """Return the outcome without what installed libraries read, and drew while the target built objects."""
    doubts = [doubt for doubt in outcome.doubts if doubt != outcome.chance_of_libraries]
    return replace(outcome, sources=[], doubts=doubts)


def _is_digest_of_field(divergence: Divergence) -> bool:
    return str(divergence.replayed).endswith(SOMEWHERE_INSIDE) and divergence.field.startswith(_STATE)


def _masked_divergence(outcome: ReplayOutcome) -> Divergence | None:
    """Return the difference with ids and times masked, since those of libraries vary between replays."""
    first = outcome.divergence
    return None if first is None else replace(first, replayed=form_of(first.replayed))


def _changes(outcome: ReplayOutcome) -> str:
    """Return the doubt about a difference that may vary between replays."""
    return (
        "the difference may vary between replays, because of: "
        + "; ".join([*outcome.unsteady[:3], *outcome.varying])
        + _leaving_out(outcome.divergence)
    )


def _leaving_out(divergence: Divergence | None) -> str:
    """Return the hint to ignore a field that varies between replays; "" for other differences."""
    if divergence is None or not divergence.field.startswith(_STATE):
        return ""
    return f"; if the field does not matter: --ignore {divergence.field.removeprefix(_STATE)}"


def _agreed_steps(outcome: ReplayOutcome) -> int:
    """Return how many steps agreed before the difference; 0 if nothing differs."""
    return 0 if outcome.divergence is None else outcome.divergence.step - 1
