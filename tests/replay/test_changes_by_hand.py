"""Changes that somebody made by hand while a run was recorded: a replay repeats them at the same ticks."""

import subprocess
import sys

import hands
import pytest
from support.processes import child_environment

from Agent.replay import fork_run, replay_run

pytestmark = pytest.mark.process

AROUND = """
from Agent import tick
from dataclasses import dataclass

class Sheep:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.weight, self.eaten = name, "sheep", 10, 0

    @trace_agent_action
    def eat(self, grass):
        self.eaten += 1
        self.weight += grass * (1 + self.weight // 1000)
        return self.weight

def build(spec):
    return {name: Sheep(name) for name in ("dolly", "molly")}

def main():
    import hands
    flock = build(None)
    HANDS
    for number in range(12):
        with tick(number):
            for sheep in flock.values():
                sheep.eat(number)
"""
WITHIN = """
from Agent import tick

class Sheep:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.weight = name, "sheep", 10

    @trace_agent_action
    def eat(self, grass):
        self.weight += grass
        return self.weight

class Farm:
    def __init__(self):
        self.agent_id, self.agent_role, self.grass, self.herd = "farm", "farm", 3, [Sheep("dolly"), Sheep("molly")]
        self.total = 0

    @trace_agent_action
    def season(self, days):
        for day in range(days):
            with tick(day % 3):
                self.total = sum(sheep.eat(self.grass) for sheep in self.herd)
        return self.total

def build(spec):
    farm = Farm()
    return {"farm": farm, "dolly": None, "molly": None}

def main():
    import hands
    farm = Farm()
    farm.season(2)
    HANDS
    farm.season(9)
    farm.season(2)
"""


def with_hands(source, *asked):
    return source.replace("HANDS", f"hands.begin(*{list(asked)!r})")


STEPPED = (
    hands.PAUSE, hands.step(), hands.step(4), hands.change("dolly", "weight", 3000), hands.RESUME
)  # fmt: skip


@pytest.mark.first_case
@pytest.mark.parametrize("state", ["exit", "strict"])
def test_a_change_between_actions_is_repeated_before_the_next_one(toy, state):
    report = toy.record(with_hands(AROUND, *STEPPED), control=True, state=state).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.by_hand == {"dolly.weight": 1} and not report.outcome.imposed, str(report)
    assert "before tick 5, weight of dolly from 20 to 3000" in str(report)
    assert "changed by hand, repeated from the recording: dolly.weight" in str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("agent", ["dolly", "molly"])
def test_of_one_agent_alone_only_its_own_changes_are_repeated(toy, agent):
    report = toy.record(with_hands(AROUND, *STEPPED), control=True).replay(f"last/{agent}")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.by_hand == ({"dolly.weight": 1} if agent == "dolly" else {})


def test_changed_code_differs_where_it_does_in_spite_of_a_change_by_hand(toy):
    toy.record(with_hands(AROUND, *STEPPED), control=True)
    report = toy.change("// 1000)", "// 1000 + (self.eaten == 9))").replay("last")
    assert report.verdict == "DIVERGED" and report.divergence.tick == 8, str(report)


@pytest.mark.further
def test_a_change_that_was_lost_shows_as_a_difference_that_proves_nothing(toy, trace_root):
    toy.record(with_hands(AROUND, *STEPPED), control=True)
    (path,) = trace_root.glob("session_*/agents/dolly.log")
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"trigger":"intervention"' not in line]
    assert len(kept) == len(lines) - 1
    path.write_bytes(b"".join(kept))
    report = toy.replay("last")
    assert report.verdict == "UNVERIFIED" and not report.outcome.by_hand, str(report)
    assert (report.divergence.agent_id, report.divergence.tick) == ("dolly", 5), str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("field", ["weight", "grass"])
def test_a_change_at_a_tick_inside_an_action_is_repeated_at_that_tick(toy, field):
    """The tick's number occurs three times in the action."""
    agent, new = ("molly", 500) if field == "weight" else ("farm", 70)
    asked = (hands.PAUSE, hands.step(4), hands.change(agent, field, new), hands.RESUME)
    report = toy.record(with_hands(WITHIN, *asked), control=True).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.by_hand == {f"{agent}.{field}": 1}
    assert "before tick 1, " in str(report)
    report = toy.change("in range(days):", "in range(days - (days == 9) * 6):").replay("last")
    assert report.verdict == "DIVERGED" and report.divergence.action == "season", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize("at", ["tick:2", "tick:8"])
def test_a_fork_repeats_changes_before_and_after_its_point(toy, at):
    toy.record(with_hands(AROUND, *STEPPED), control=True)
    how = {"target": f"{toy.name}:build", "root": toy.root}
    _, result = fork_run("last/dolly", at, patch={"eaten": 100}, **how)
    assert result.exit_code in {0, 1} and set(result.outcome.changed) == {"eaten"}, str(result)
    assert result.outcome.states["dolly"]["weight"] > 3000, str(result)


VALUES = """
import enum
from collections import deque
from Agent import tick

class Mood(enum.Enum):
    CALM = 1
    WILD = 2

class Sheep:
    def __init__(self):
        self.agent_id, self.agent_role = "dolly", "sheep"
        self.mood, self.bells, self.seen, self.names, self.ratio = Mood.CALM, (1, 2), {1}, ["a"], 0.5
        self.free, self.more = None, {"a": 1}

    @trace_agent_action
    def look(self):
        self.names = [*self.names, self.mood.name]
        return [self.mood.name, self.bells, sorted(self.seen), self.names, self.ratio, self.free, self.more]

def build(spec):
    return {"dolly": Sheep()}

def main():
    import hands
    sheep = Sheep()
    sheep.look()
    HANDS
    for number in range(4):
        with tick(number):
            sheep.look()
"""


def test_values_become_those_of_the_types_that_the_fields_have(toy):
    values = {
        "mood": "WILD",
        "bells": [7],
        "seen": [3, 4],
        "names": ["b"],
        "ratio": 2,
        "free": {"x": [1]},
        "more": {"b": None},
    }
    asked = [hands.change("dolly", name, value) for name, value in values.items()]
    toy.record(with_hands(VALUES, hands.PAUSE, *asked, hands.step(), hands.RESUME), control=True)
    assert not [each for each in hands.answers if "refused" in each], hands.answers
    assert hands.answers[-1]["tick"] == 1
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert set(report.outcome.by_hand) == {f"dolly.{name}" for name in values}


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("mood", "ANGRY", "value"),
        ("bells", {"a": 1}, "value"),
        ("ratio", "much", "value"),
        ("ratio", True, "value"),
        ("more", [1], "value"),
        ("names", "b", "value"),
        ("wool", 1, "field"),
        ("agent_id", "polly", "field"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(toy, trace_root, name, value, what):
    toy.record(
        with_hands(VALUES, hands.PAUSE, hands.change("dolly", name, value), hands.RESUME), control=True
    )
    assert hands.answers[1]["refused"]["what"] == what, hands.answers
    (path,) = trace_root.glob("session_*/agents/dolly.log")
    assert b'"trigger":"intervention"' not in path.read_bytes()
    assert toy.replay("last").verdict == "IDENTICAL"


OWN_STATE = """
from Agent import tick

class Safe:
    def __init__(self):
        self.agent_id, self.agent_role, self._cents = "safe", "safe", 500

    def trace_state(self):
        return {"euros": self._cents / 100}

    def trace_restore(self, state):
        RESTORE

    @trace_agent_action
    def take(self, euros):
        self._cents -= euros * 100
        return self._cents

def build(spec):
    return {"safe": Safe()}

def main():
    import hands
    safe = Safe()
    safe.take(1)
    HANDS
    for number in range(4):
        with tick(number):
            safe.take(1)
"""


def test_a_class_that_restores_its_state_itself_is_changed_that_way(toy):
    source = OWN_STATE.replace("RESTORE", 'self._cents = round(state["euros"] * 100)')
    asked = hands.PAUSE, hands.change("safe", "euros", 90), hands.RESUME
    report = toy.record(with_hands(source, *asked), control=True).replay("last")
    assert report.verdict == "IDENTICAL" and report.outcome.by_hand == {"safe.euros": 1}, str(report)


@pytest.mark.parametrize(("restore", "what"), [("pass", "field"), ('raise KeyError("no safe")', "value")])
def test_a_class_that_does_not_take_the_value_is_told_so_and_goes_on(toy, restore, what):
    asked = hands.PAUSE, hands.change("safe", "euros", 90), hands.RESUME
    toy.record(with_hands(OWN_STATE.replace("RESTORE", restore), *asked), control=True)
    assert hands.answers[1]["refused"]["what"] == what, hands.answers


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from Agent import setup_logging, shutdown_logging, tick
from Agent.utils import trace_agent_action


class Meadow:
    def __init__(self):
        self.grass = [3] * 700


class Cow:
    def __init__(self, name, meadow):
        self.agent_id, self.agent_role, self.meadow, self.hunger = name, "cow", meadow, 1
        self.place = self.fat = 0

    @trace_agent_action
    def graze(self):
        eaten = self.meadow.grass[self.place] * self.hunger // 2
        self.meadow.grass[self.place] -= eaten
        self.fat += eaten
        self.place = (self.place + 13) % 700
        return eaten


def build(spec):
    meadow = Meadow()
    cows = {{name: Cow(name, meadow) for name in ("berta", "lotte")}}
    return cows if spec.agent_id is None else cows[spec.agent_id]


def main():
    setup_logging(trace_root="trace", control=True)
    if "hands" in sys.argv[1:] and "agent-trace-replay" not in __file__:
        import hands
        hands.begin({asked})
    meadow = Meadow()
    cows = [Cow(name, meadow) for name in ("berta", "lotte")]
    for day in range(12):
        for place in range(700):
            meadow.grass[place] += place * day % 5
        with tick(day):
            for cow in cows:
                cow.graze()
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


@pytest.mark.integration
def test_a_run_of_the_whole_program_repeats_them_too(tmp_path, monkeypatch):
    from pathlib import Path

    asked = f"*{[hands.PAUSE, hands.step(5), hands.change('lotte', 'hunger', 2), hands.RESUME]!r}"
    here = str(Path(__file__).parent)
    (tmp_path / "cows.py").write_text(PROGRAM.format(here=here, asked=asked))
    done = subprocess.run(
        [sys.executable, "cows.py", "hands"],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    report = replay_run("last", "cows:build", "trace")
    assert report.verdict == "IDENTICAL" and report.outcome.is_of_program, str(report)
    assert report.outcome.by_hand == {"lotte.hunger": 1}, str(report)
