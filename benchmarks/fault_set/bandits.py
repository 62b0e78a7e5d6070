"""A crowd of bandit learners: each picks levers, a judge pays, and some learn from others."""

from __future__ import annotations

import random

from Agent import LearningLogger, SystemLogger, tick, trace_agent_action, trace_learning_update
from benchmarks.fault_set.case import Plan, Truth, World

LEVERS = ("red", "green", "blue", "grey")


class Judge:
    """Pays for a lever by a table."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "judge"
        self.agent_role = "judge"
        self._rng = rng
        self.pays = {"red": 1.0, "green": 2.0, "blue": 4.0, "grey": 0.5}

    @trace_agent_action()
    def load_table(self, pays: dict[str, float]) -> int:
        """Takes another table of payments."""
        self.pays = pays
        return len(pays)

    def pay(self, lever: str) -> float:
        return round(self._rng.gauss(self.pays[lever], 0.4), 3)


class Learner:
    """Keeps a value for each lever and mostly picks the best."""

    def __init__(self, agent_id: str, plan: Plan) -> None:
        self.agent_id = agent_id
        self.agent_role = "learner"
        self.learning = LearningLogger("bandit", agent_id)
        self.rng = plan.chance(agent_id)
        self.values = dict.fromkeys(LEVERS, 0.0)
        self.epsilon = 0.3
        self.release = "1.4"
        self.cached: str | None = None
        self.caching = False
        self.total = 0.0

    @trace_agent_action()
    def choose(self) -> str:
        """The lever of this round."""
        explores = self.rng.random() < (1 - self.epsilon if self.release == "1.5" else self.epsilon)
        best = max(LEVERS, key=lambda lever: self.values[lever])
        if self.caching:
            self.cached = self.cached or best
            best, explores = self.cached, False
        lever = self.rng.choice(LEVERS) if explores else best
        self.learning.log_exploration_exploitation(lever, explores, self.epsilon)
        return lever

    @trace_learning_update("value")
    def learn(self, lever: str, reward: float, rate: float) -> float:
        """Moves the value of a lever towards what it paid."""
        self.values[lever] = round(self.values[lever] + rate * (reward - self.values[lever]), 4)
        self.epsilon = round(max(0.1, self.epsilon * 0.97), 4)
        return self.values[lever]

    @trace_agent_action()
    def restore(self, checkpoint: dict[str, float]) -> int:
        """Takes the values of a checkpoint."""
        self.values = dict(checkpoint)
        return len(self.values)

    @trace_agent_action()
    def imitate(self, peer: str, values: dict[str, float]) -> str:
        """Learns what a peer believes, at once."""
        self.values = dict(values)
        return max(LEVERS, key=lambda lever: self.values[lever])

    @trace_agent_action()
    def set_caching(self, on: bool) -> bool:
        """Whether the best lever is looked up once and kept."""
        self.caching, self.cached = on, None
        return on

    @trace_agent_action()
    def update_release(self, release: str) -> str:
        """Takes another release of the learner."""
        self.release = release
        return release


def run(plan: Plan, truth: Truth) -> None:
    """One session of the crowd."""
    system, judge = SystemLogger("crowd"), Judge(plan.chance("judge"))
    learners = [Learner(plan.name("learner", n), plan) for n in range(plan.size)]
    novice = Learner("novice_1", plan)
    novice.values = {"red": 0.1, "green": 0.0, "blue": -3.0, "grey": 4.0}
    system.log_simulation_start("crowd", {"learners": plan.size, "rate": 0.2})
    rate = 0.2
    # once, the levers change places by themselves: learners that look again follow
    drift = plan.at + 6 if plan.fault == "stale_cache" else -1
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 7:
                system.log_config("plot_every", 10, 50)
                judge.load_table(pays={**judge.pays, "red": 1.1})
                for learner in learners[1::4]:
                    learner.update_release("1.4.1")
            if now == 1:
                for learner in learners:
                    learner.set_caching(False)
            if now == drift:
                judge.load_table(pays={**judge.pays, "green": 4.0, "blue": 1.2})
            if plan.begins("wrong_configuration", now):
                new = plan.rng.choice([2.2, 2.4, 2.6])
                truth.note(system.log_config("rate", rate, new))
                rate = new
            if now % 9 == 5:
                _healthy_exchange(learners, now, plan)
            _plant(plan, truth, judge, learners, novice, now)
            for learner in [*learners, novice]:
                lever = learner.choose()
                reward = judge.pay(lever)
                learner.total = round(learner.total + reward, 3)
                learner.learning.log_reward(lever, reward, learner.total)
                if learner is not novice:
                    learner.learn(lever, reward, rate)
    system.log_simulation_end("crowd", "finished")


def _healthy_exchange(learners: list[Learner], now: int, plan: Plan) -> None:
    """Now and then one learns from one who does at least as well, or goes back to its own checkpoint."""
    pupil = learners[now % plan.size]
    if pupil is learners[plan.victim] and now >= plan.at:
        return
    if now % 2:
        teacher = max(learners, key=lambda learner: learner.total)
        pupil.imitate(teacher.agent_id, dict(teacher.values))
    else:
        pupil.restore(checkpoint=dict(pupil.values))


def _plant(
    plan: Plan, truth: Truth, judge: Judge, learners: list[Learner], novice: Learner, now: int
) -> None:
    victim = learners[plan.victim]
    if plan.begins("reward_bug", now):
        judge.load_table(pays={lever: -amount for lever, amount in judge.pays.items()})
        truth.seek("judge", "load_table", now)
    if plan.begins("state_corruption", now):
        victim.restore(checkpoint={"red": 90.0, "green": 0.4, "blue": 0.1, "grey": 99.5})
        truth.seek(victim.agent_id, "restore", now)
    if plan.begins("wrong_peer", now):
        victim.imitate(novice.agent_id, dict(novice.values))
        truth.seek(victim.agent_id, "imitate", now)
    if plan.begins("stale_cache", now):
        victim.set_caching(True)
        truth.seek(victim.agent_id, "set_caching", now)
    if plan.begins("bad_rollout", now):
        for learner in learners[plan.victim % 3 :: 3]:
            learner.update_release("1.5")
            truth.seek(learner.agent_id, "update_release", now)


WORLD = World(
    name="bandits",
    run=run,
    prefix="learner",
    sizes=(12, 20),
    ticks=(60, 90),
    complaints={
        "reward_bug": "the learners get worse instead of better, rewards went down for everybody",
        "state_corruption": "{victim} earned well and then its rewards collapsed",
        "wrong_peer": "{victim} used to pick good levers, now its rewards are poor",
        "stale_cache": "{victim} does not adapt, all others get better rewards than it does",
        "bad_rollout": "part of the learners suddenly choose as if by chance and earn less",
        "wrong_configuration": "after about tick {when} the learners no longer settle on anything",
    },
)
