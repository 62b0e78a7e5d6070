"""Every event looked at once: how odd what it says is, and how what agents do goes on over the steps.

`suspicion` then weighs the odd ones against where what is asked about began; `debug` reads them in one query.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from Agent.analysis.courses import Courses
from Agent.analysis.engine import Engine
from Agent.analysis.habits import AGAIN, BEYOND, LEAP, Habit, Oddity, is_number
from Agent.analysis.leaves import LABELS, Leaf, label_of, leaves, scalars
from Agent.analysis.rows import BY_ORDER, EVENT_COLUMNS, engine_row
from Agent.analysis.series import Axis

__all__ = ["Deed", "Odd", "Steps", "Survey", "bursts_by_sort", "read_deeds", "survey", "worth"]

MAX_OF_SORT: Final = 1_500
"""So many events of one name are looked at, those of the agents in question all: of more an even sample."""
MAX_EVENTS: Final = 60_000
MAX_STEPS: Final = 400
STEPS_OF_TIME: Final = 120
_ROUTINE: Final = 0.8
"""What is done in so many of the steps is routine: each counts."""
TELLING: Final = 0.3
"""A chance above this is nothing odd."""
_SILENT_KINDS: Final = (
    "code", "log.opened", "log.closed", "simulation_start", "simulation_end", "run.started", "run.finished",
    "source.read",
)  # fmt: skip


class Deed(NamedTuple):
    """One event, as far as it is looked at here."""

    id: str
    us: int
    step: int
    tick: int | None
    agent: str | None
    role: str
    """Its agent's role, the agent itself where it has none."""
    kind: str
    label: str
    message: str
    level: str
    extra: dict[str, Any]
    state: dict[str, Any] | None
    span: str | None
    parent: str | None

    @property
    def sort(self) -> tuple[str, str, str]:
        """Of which events it is one of many."""
        return self.role, self.kind, self.label

    @property
    def failed(self) -> bool:
        """Whether it is an error or ended with one."""
        if self.kind == "error" or self.level in {"ERROR", "CRITICAL"}:
            return True
        return self.extra.get("outcome") == "error" or self.extra.get("error_id") is not None

    @property
    def began_us(self) -> int:
        """When it began: a span ends with its event."""
        duration = self.extra.get("duration_ms") if self.span else None
        return self.us - round(duration * 1000) if is_number(duration) else self.us


class Odd(NamedTuple):
    """The oddest thing that an event says: where, what, how unlike, and by how much that is worth."""

    chance: float
    path: str
    value: Any
    oddity: Oddity


@dataclass(slots=True)
class Survey:
    """What one look at all events gave."""

    deeds: list[Deed]
    steps: int
    odd: dict[int, Odd] = field(default_factory=dict)
    """{place of a deed: the oddest thing it says}."""
    courses: Courses = field(default_factory=lambda: Courses(0))
    first_said: dict[Any, int] = field(default_factory=dict)
    """{a text or a number: the place of the deed that said it first}."""
    said: Counter[Any] = field(default_factory=Counter)
    """How many events say a text or a number, or name an agent."""
    totals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How many events of each sort there are."""

    def is_routine(self, deed: Deed) -> bool:
        """Whether such events come in most steps: one of them is a suspect only if it is odd."""
        return self.totals[deed.sort] >= _ROUTINE * self.steps


@dataclass(frozen=True, slots=True)
class Steps:
    """How the session is cut: finer than the axis of `series`, since single events are looked for."""

    by_tick: bool
    first: int
    width: int
    count: int

    @classmethod
    def of(cls, axis: Axis) -> Steps:
        """Ticks, at most 400 steps of them, or 120 steps of time."""
        span = axis.last - axis.first + 1
        wanted = MAX_STEPS if axis.by_tick else STEPS_OF_TIME
        width = max(1, -(-span // wanted))
        return cls(axis.by_tick, axis.first, width, (span - 1) // width + 1)

    def step(self, position: int) -> int:
        """The step of a tick or a time."""
        return max(0, min(self.count - 1, (position - self.first) // self.width))


class Deeds(NamedTuple):
    """The events that are looked at, in order."""

    all: list[Deed]
    sampled: bool
    lost: frozenset[str]
    """Ids of messages that were sent and never received."""


def read_deeds(engine: Engine, lines: str, steps: Steps, focus: Collection[str]) -> Deeds:
    """The events; of the agents in `focus`, and of messages to and from them, every one is there.

    `lines` is what `held_lines` gives.
    """
    silent = ", ".join(f"'{kind}'" for kind in _SILENT_KINDS)
    told = f"(SELECT {EVENT_COLUMNS}, {_NAME} AS name FROM {lines} WHERE event_type NOT IN ({silent}))"
    engine.make_table(
        "debug_sorts",
        f"SELECT event_type, name, count(*) // {MAX_OF_SORT} + 1 AS share FROM {told} GROUP BY ALL",
    )
    try:
        most = engine.row("SELECT coalesce(max(share), 1) AS share FROM debug_sorts")["share"]
        rows = engine.rows(
            f"SELECT {EVENT_COLUMNS} FROM {told} JOIN debug_sorts USING (event_type, name) "
            "WHERE seq % share = 0 OR list_contains($1, agent_id) OR "
            "list_contains($1, extra->>'$.recipient') OR list_contains($1, extra->>'$.sender') "
            f"ORDER BY {BY_ORDER} LIMIT {MAX_EVENTS}",
            [sorted(focus)],
        )
        lost = engine.rows(
            f"SELECT extra->>'$.message_id' AS message_id FROM {told} WHERE event_type = 'agent_message' "
            f"GROUP BY 1 HAVING NOT bool_or(extra->>'$.direction' LIKE 'rec%') LIMIT {MAX_EVENTS}"
        )
    finally:
        engine.drop_table("debug_sorts")
    return Deeds(_deeds(rows, steps), most > 1, frozenset(row["message_id"] for row in lost))


_NAME: Final = "coalesce(" + ", ".join(f"extra->>'$.{key}'" for key in LABELS) + ", '')"


def _deeds(rows: Iterable[dict[str, Any]], steps: Steps) -> list[Deed]:
    """Rows as deeds; one without a tick stands where the one before it stands."""
    found = []
    roles: dict[str, str] = {}
    step = 0
    for raw in rows:
        row = engine_row(raw)
        agent, role = row["agent_id"], row["agent_role"]
        if agent is not None and role:
            roles[agent] = role
        at = row["tick"] if steps.by_tick else raw["ts_us"]
        step = step if at is None else steps.step(at)
        kind = row["event_type"]
        found.append(
            Deed(
                row["id"], raw["ts_us"], step, row["tick"], agent,
                role or roles.get(agent or "") or agent or "",
                kind, label_of(kind, row["extra"], row["message"] or ""), row["message"] or "", row["level"],
                row["extra"], row["state"], row["span_id"], row["parent_span_id"],
            )
        )  # fmt: skip
    return found


class _Look:
    """One pass over the deeds, in order."""

    def __init__(self, deeds: Deeds, steps: int) -> None:
        totals = Counter(deed.sort for deed in deeds.all)
        self.survey = Survey(deeds.all, steps, courses=Courses(steps), totals=totals)
        self.habits: defaultdict[tuple[str, ...], Habit] = defaultdict(Habit)
        self._before: dict[str, tuple[str | None, str]] = {}
        self._found: defaultdict[int, list[_Sight]] = defaultdict(list)
        self._lost = deeds.lost

    def run(self) -> Survey:
        """Look at every deed, then once more at what is said seldom."""
        for place, deed in enumerate(self.survey.deeds):
            if deed.kind == "state":
                self._begin(deed)
                continue
            for path, value in self._said(deed):
                self._look_at(place, deed, path, value)
            self._count(deed)
        self._end()
        for key, habit in self.habits.items():
            for said, oddity in habit.beside_others():
                if oddity.chance < TELLING:
                    odd = Odd(oddity.chance, key[-1], said.value, oddity)
                    self._found[said.event].append(_Sight(odd, habit, None, None))
        moments = self._moments()
        for place, found in self._found.items():
            best = min((_settled(sight, moments[sight.of]) for sight in found), key=_significance)
            if best.chance < 1.0:
                self.survey.odd[place] = best
        return self.survey

    def _moments(self) -> dict[tuple[int, str], int]:
        """At how many moments each habit was broken in each way."""
        steps: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        for place, found in self._found.items():
            for sight in found:
                steps[sight.of].add(self.survey.deeds[place].step)
        return {of: _bursts(own) for of, own in steps.items()}

    def _end(self) -> None:
        """Keep what was learnt of everybody's values, step by step."""
        courses = self.survey.courses
        for owner, role in {deed.agent or "": deed.role for deed in self.survey.deeds}.items():
            courses.members.setdefault(role, []).append(owner)
        for key, habit in self.habits.items():
            if key[-1] != "after":
                name = ("state", "", key[-1]) if key[1] == "state" else key[1:]
                for agent, own in habit.own.items():
                    courses.tracks.setdefault(agent or "", {})[name] = own.track

    def _begin(self, deed: Deed) -> None:
        fields = deed.extra.get("fields")
        for name, whole in (fields if isinstance(fields, dict) else {}).items():
            for path, value in scalars(whole, f"state.{name}"):
                self.habits[deed.role, "state", path].begin(deed.agent, value)

    def _said(self, deed: Deed) -> list[Leaf]:
        """What the deed says, and what it is beside others: with whom, after what, whether it arrived."""
        found = leaves(deed.extra, deed.state)
        if deed.kind == "agent_message":
            is_sent = deed.label == "sent"
            found.append(("with", deed.extra.get("recipient" if is_sent else "sender")))
            # of the last ones some are under way
            if is_sent and deed.step < self.survey.steps - 2:
                found.append(("arrived", str(deed.extra.get("message_id")) not in self._lost))
            if not is_sent:
                found.append(("message_id", deed.extra.get("message_id")))
        elif deed.kind == "agent_action" and deed.agent is not None:
            before = self._before.get(deed.role)
            if before is not None:
                found.append(
                    ("after", f"{before[1]} of {'itself' if before[0] == deed.agent else 'another'}")
                )
            self._before[deed.role] = (deed.agent, deed.label)
        if deed.kind in _CALLS:
            found.append(("failed", deed.failed))
        return found

    def _look_at(self, place: int, deed: Deed, path: str, value: Any) -> None:
        of_state = path.startswith("state.")
        key = (deed.role, "state", path) if of_state else (*deed.sort, path)
        habit = self.habits[key]
        oddity = habit.oddity(value, deed.agent)
        if oddity.chance < TELLING:
            own = habit.own.get(deed.agent)
            moved = None
            if own is not None and is_number(value) and is_number(own.last):
                moved = abs(value - own.last)
            odd = Odd(oddity.chance, path, value, oddity)
            self._found[place].append(_Sight(odd, habit, moved, habit.times(oddity, value)))
        if isinstance(value, str) or (is_number(value) and abs(value) > 1):
            self.survey.first_said.setdefault(value, place)
            self.survey.said[value] += 1
        habit.learn(value, deed.agent, deed.step, place)

    def _count(self, deed: Deed) -> None:
        self.survey.said[deed.agent] += 1
        duration = deed.extra.get("duration_ms")
        track = self.survey.courses.track(deed.agent or "", (deed.kind, deed.label))
        track.cell(deed.step)[2] += 1
        if is_number(duration):
            # the logarithm, since a few long ones say little of all
            track.add(deed.step, math.log(max(duration, 1e-4)))


def survey(deeds: Deeds, steps: int) -> Survey:
    """What is odd, and how everything goes on."""
    return _Look(deeds, steps).run()


_CALLS: Final = frozenset({"agent_action", "tool.call", "metric", "learning_update"})


def _significance(odd: Odd) -> float:
    return max(odd.chance, _LEAST) / worth(odd.path)


class _Sight(NamedTuple):
    """An oddity as it was seen: of which habit, how far the value moved, how many exceptions there were."""

    odd: Odd
    habit: Habit
    moved: float | None
    times: tuple[int, int] | None
    """So many exceptions of so many values; None where all values were known."""

    @property
    def of(self) -> tuple[int, str]:
        """The habit that was broken, and how."""
        return id(self.habit), self.odd.oddity.sort


def _settled(sight: _Sight, moments: int) -> Odd:
    """The chance of an oddity in the light of what came later.

    A leap that comes again and again is how the value moves; an exception that comes at several moments, and
    as often later as it could have come before, is none.
    """
    odd, habit, moved, times = sight
    chance = odd.chance
    if odd.oddity.sort in {LEAP, BEYOND}:
        if moved is not None:
            again = _bursts(step for distance, step in habit.leaps if distance >= 0.5 * moved)
            if again > _OFTEN:
                chance = max(chance, TELLING)
            elif again > 1:
                chance = max(chance, again / max(1, habit.count))
    elif times is not None and (moments > 1 or not habit.still_holds(odd.oddity)):
        so_far, seen = times
        every, of = habit.times(odd.oddity, odd.value)
        # that one of few names comes again is the likelier, the more came before
        before = every * (seen / of) ** (2 if odd.oddity.sort == AGAIN else 1)
        share = moments / of if habit.still_holds(odd.oddity) else 1.0
        chance = max(chance, min(share, _at_most(so_far, before)))
    return odd._replace(chance=min(1.0, chance))


def _at_most(count: int, mean: float) -> float:
    """The chance of that many or fewer where so many are usual."""
    if count > _COMMON or mean <= 0:
        return 1.0
    logs = (n * math.log(mean) - mean - math.lgamma(n + 1) for n in range(count + 1))
    return min(1.0, math.fsum(map(math.exp, logs)))


_COMMON: Final = 30
_OFTEN: Final = 3
_LEAST: Final = 1e-4


def worth(path: str) -> float:
    """How much an odd value says of a cause: what is given to a call all, what comes of it less."""
    if path.startswith("result"):
        return 0.3
    if path.startswith("state."):
        return 0.4
    if path in {"after", "failed"}:
        return 0.3
    return 0.16 if path in {"reward", "value"} else 1.0


def _bursts(steps: Iterable[int]) -> int:
    """How many moments some steps are: neighbours are one, up to three."""
    count, begin = 0, -_MOMENT
    before = begin
    for step in sorted(set(steps)):
        if step - before > 1 or step - begin >= _MOMENT:
            count += 1
            begin = step
        before = step
    return count


_MOMENT: Final = 3


def bursts_by_sort(deeds: Sequence[Deed]) -> dict[tuple[str, str, str], int]:
    """How often each sort of event comes, those of neighbouring steps counted once."""
    steps: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
    for deed in deeds:
        steps[deed.sort].add(deed.step)
    return {sort: _bursts(own) for sort, own in steps.items()}
