"""SEIR on a small town with households, workplaces and a clinic. Plain Python, __slots__ because it was slow once."""
from __future__ import annotations

import os
import random
from collections import Counter, defaultdict

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

S, E, I, R, V = "SEIRV"
INCUBATION = 3
INFECTIOUS = 6


def contact_risk(sick, size, masks):
    if size <= 1:
        return 0.0
    base = 0.11 * sick
    return min(0.9, base * (0.5 if masks else 1.0))


class Household:
    __slots__ = ("agent_id", "members", "clock", "_rng", "quarantine", "diary", "workplaces", "vaccinated", "__weakref__")

    def __init__(self, agent_id, size, workplaces, seed):
        self.agent_id = agent_id
        self.members = [S] * size
        self.clock = [0] * size
        self.workplaces = tuple(workplaces)
        self._rng = random.Random(seed)
        self.quarantine = 0
        self.diary = []
        self.vaccinated = set()

    @property
    def sick(self):
        return self.members.count(I)

    def __repr__(self):
        return f"<Household {self.agent_id} {''.join(self.members)}>"

    @trace_agent_action()
    @watch
    def morning(self, day, masks):
        """Progress the illness inside the home."""
        events = []
        for k, state in enumerate(self.members):
            if state == E:
                self.clock[k] += 1
                if self.clock[k] >= INCUBATION:
                    self.members[k] = I
                    self.clock[k] = 0
                    events.append(("ill", k))
            elif state == I:
                self.clock[k] += 1
                if self.clock[k] >= INFECTIOUS:
                    self.members[k] = R
                    events.append(("well", k))
        risk = contact_risk(self.sick, len(self.members), masks)
        for k, state in enumerate(self.members):
            if state == S and self._rng.random() < risk:
                self.members[k] = E
                self.clock[k] = 0
                events.append(("caught at home", k))
        if events:
            self.diary.append((day, tuple(events)))
        return len(events)

    @trace_agent_action()
    @watch
    def decide_to_stay_home(self, rumours):
        if self.quarantine > 0:
            self.quarantine -= 1
            return True
        fear = rumours / 10 + 0.4 * self.sick
        if self._rng.random() < fear:
            self.quarantine = 2 if self.sick else 1
            return True
        return False

    @trace_agent_action()
    @watch
    def exposed_at(self, place, sick_colleagues):
        for k, state in enumerate(self.members):
            if state == S and self.workplaces[k % len(self.workplaces)] == place:
                if self._rng.random() < 0.07 * sick_colleagues:
                    self.members[k], self.clock[k] = E, 0
                    return k
        return -1

    @trace_agent_action()
    @watch
    def invite_to_clinic(self, doses):
        used = 0
        order = sorted(range(len(self.members)), key=lambda k: (self.members[k] != S, -k))
        for k in order:
            if used == doses or self.members[k] not in (S, R):
                break
            self.members[k] = V
            self.vaccinated.add(f"{self.agent_id}#{k}")
            used += 1
        return used


class Town:
    def __init__(self, seed=3, homes=14):
        rng = random.Random(seed)
        self.places = ["mill", "school", "market", "depot"]
        self.homes = {}
        for n in range(homes):
            name = f"home{n:02d}"
            self.homes[name] = Household(name, rng.randint(1, 5), rng.sample(self.places, 2), rng.random())
        self.homes["home03"].members[0] = I
        self.homes["home08"].members[0] = I
        self.doses = 6

    def day(self, day):
        masks = day > 12
        for home in self.homes.values():
            home.morning(day, masks)
        rumours = sum(1 for h in self.homes.values() if h.sick > 1)
        out = [h for h in self.homes.values() if not h.decide_to_stay_home(rumours)]
        sick = defaultdict(int)
        for home in out:
            for k, state in enumerate(home.members):
                if state == I:
                    sick[home.workplaces[k % len(home.workplaces)]] += 1
        for home in out:
            for place in sorted(set(home.workplaces)):
                if sick[place]:
                    home.exposed_at(place, sick[place])
        if day % 7 == 6:
            left = self.doses
            for home in sorted(out, key=lambda h: -len(h.members)):
                if left <= 0:
                    break
                left -= home.invite_to_clinic(min(2, left))


def build(spec):
    homes = Town().homes
    if spec.agent_id is None:
        return homes
    return homes[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    town = Town()
    for day in range(40):
        with tick(day):
            town.day(day)
        if day % 5 == 0:
            counts = Counter(state for home in town.homes.values() for state in home.members)
            print(f"day {day:2}", " ".join(f"{k}={counts[k]}" for k in "SEIRV"))
    for home in town.homes.values():
        print(home, len(home.diary), sorted(home.vaccinated))


if __name__ == "__main__":
    main()
