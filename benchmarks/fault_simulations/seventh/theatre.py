"""Five evenings of a play: the stage manager calls cues over headsets, operators and actors follow."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

EVENINGS = 5
CUES = 60
CREW = ("lights", "sound", "fly_1", "lights", "fly_2", "sound")
PROPS = ("letter", "lantern", "dagger", "crown", "goblet", "map", "rope")
TAKEN = {
    8: ("a_2", "letter"),
    19: ("a_5", "lantern"),
    38: ("a_1", "goblet"),
    46: ("a_3", "dagger"),
    52: ("a_7", "crown"),
}
"""At which cue who takes what from the table in the wings."""
SHOWS = {1: "show_06", 2: "show_06", 3: "show_07", 4: "show_08", 5: "show_08"}
KEYS = {"show_06": "G", "show_07": "G", "show_08": "E flat"}


class House:
    """The theatre."""

    def __init__(self, seed: int, fault: str) -> None:
        """Open the house."""
        self.fault = fault
        self.rng = random.Random(f"play{seed}")
        self.logs: dict[str, AgentLogger] = {}
        self.meetings = InteractionLogger()
        self.show = "show_06"
        self.parking: dict[str, str] = {}
        self.table: set[str] = set()
        self.outcome: dict[str, Any] = {"dark": [], "off_key": [], "missing": [], "blocked": []}

    def log(self, name: str, role: str) -> AgentLogger:
        """Return an agent's logger."""
        return self.logs.setdefault(name, AgentLogger(name, role))

    def rehearse(self) -> None:
        """Decide in the technical rehearsal where the trucks stand."""
        caller = self.log("caller", "stage manager")
        for truck, place in {
            "ship": "dock 1",
            "throne": "left wing",
            "tower": "right wing",
            "bed": "dock 2",
        }.items():
            if self.fault == "other_wing" and truck == "tower":
                place = "rear wing"
            caller.log_decision(
                "park_truck", {"truck": truck, "place": place}, reasoning="clear of the act's entrances"
            )
            self.parking[truck] = place
        for number in range(1, 9):
            self.log(f"a_{number}", "actor").log_action(
                "walk_route", {"scene": number, "steps": self.rng.randint(8, 40)}
            )

    def prepare(self, evening: int) -> None:
        """Set up before the doors open."""
        show = SHOWS[evening]
        if self.fault == "yesterdays_file" and evening == 4:
            show = SHOWS[3]
        self.show = show
        sound = self.log("sound", "operator")
        sound.log_action("load_show", {"evening": evening, "file": show, "cues": 20})
        self.log("lights", "operator").log_action(
            "dimmer_check", {"evening": evening, "lamps": self.rng.randint(180, 190)}
        )
        for fly in ("fly_1", "fly_2"):
            self.log(fly, "operator").log_action(
                "check_brake", {"evening": evening, "kilos": self.rng.randint(80, 95)}
            )
        for number in range(1, 9):
            self.log("wardrobe", "wardrobe").log_action(
                "fit", {"actor": f"a_{number}", "dress": "wide" if number == 6 and evening >= 3 else "usual"}
            )
        self.table = set(PROPS)
        self.log("props_1", "props").log_action("lay_table", {"evening": evening, "items": list(PROPS)})

    def interval(self, evening: int) -> None:
        """Hand the table of properties over to the colleague of the second half."""
        first, second = self.log("props_1", "props"), self.log("props_2", "props")
        rest = [item for item in PROPS if item not in {"letter", "lantern"}]
        if self.fault == "short_note" and evening == 3:
            rest.remove("dagger")
        note = first.send("props_2", {"evening": evening, "lay_out": rest})
        second.receive(note)
        second.log_action("lay_table", {"evening": evening, "items": rest})
        self.table = set(rest)
        self.log("bar", "house").log_action(
            "sell", {"evening": evening, "glasses": self.rng.randint(90, 160)}
        )

    def cue(self, evening: int, number: int, held: list[Any]) -> None:
        """Call one cue."""
        rng = self.rng
        operator = CREW[number % len(CREW)]
        caller, crew = self.log("caller", "stage manager"), self.log(operator, "operator")
        label = f"{operator[:2].upper()}{number}"
        standby = caller.send(operator, {"call": "standby", "cue": label})
        crew.receive(standby)
        if rng.random() < 0.03:
            caller.warning("headset crackled, call repeated", {"cue": label})
        go = caller.send(operator, {"call": "go", "cue": label, "second": number * 95 + rng.randint(-6, 6)})
        crossed = self.fault == "crossed_calls" and evening == 2 and number == 33
        if crossed:
            held.append((go, label))
            return
        follow = [(go, label), *held]
        for message, name in follow:
            heard = (
                crew.receive(message)
                if operator == message.recipient
                else self.log(message.recipient, "operator").receive(message)
            )
            self.log(message.recipient, "operator").log_action(
                "run_cue", {"cue": name, "level": self.level(name), "evening": evening}, causes=heard
            )
        if held:
            self.outcome["dark"].append(f"evening {evening}")
            self.log("a_4", "actor").log_action("improvise", {"cue": label, "words": rng.randint(10, 30)})
        held.clear()

    def level(self, label: str) -> int:
        """Return the level at which a cue is run."""
        return (int(label[2:]) * 37) % 101

    def act(self, evening: int, number: int) -> None:
        """Let the actors do what belongs to a cue."""
        rng = self.rng
        for name in rng.sample([f"a_{n}" for n in range(1, 9)], 2):
            self.log(name, "actor").log_action("speak", {"cue": number, "seconds": rng.randint(8, 70)})
        if rng.random() < 0.05:
            self.log("prompter", "prompter").log_action("prompt", {"cue": number, "words": rng.randint(2, 5)})
        if number in TAKEN:
            actor, item = TAKEN[number]
            there = item in self.table
            self.log(actor, "actor").log_action("take_prop", {"item": item, "there": there})
            if not there:
                self.outcome["missing"].append(f"{item} {evening}")
        if number == 41:
            key = KEYS[self.show]
            self.log("sound", "operator").log_action("play_song", {"evening": evening, "key": key})
            sung = "E flat" if evening >= 4 else "G"
            self.log("a_8", "actor").log_action(
                "sing", {"evening": evening, "key": sung, "clean": sung == key}
            )
            if sung != key:
                self.outcome["off_key"].append(evening)
        if number == 55:
            way = "rear wing"
            free = not (evening >= 3 and self.parking["tower"] == way)
            self.log("a_6", "actor").log_action(
                "exit", {"evening": evening, "through": way, "seconds": 6 if free else 41}
            )
            if not free:
                self.outcome["blocked"].append(evening)

    def evening(self, evening: int) -> None:
        """Play one evening."""
        self.prepare(evening)
        held: list[Any] = []
        for number in range(1, CUES + 1):
            if number == 31:
                self.interval(evening)
            if (evening, number) == (3, 43):
                self.log("bar", "house").log_action("stop_phone", {"row": 7, "seat": self.rng.randint(1, 30)})
            self.cue(evening, number, held)
            self.act(evening, number)
        self.meetings.log_collaboration(
            ["caller", "lights", "sound"],
            "notes",
            data={"evening": evening, "minutes": self.rng.randint(10, 25)},
        )


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play the rehearsal and five evenings."""
    house = House(seed, fault)
    system = SystemLogger("house")
    system.log_simulation_start("play", {"evenings": EVENINGS, "cues": CUES})
    house.rehearse()
    for evening in range(1, EVENINGS + 1):
        system.log_phase(f"evening {evening}", data={"house": house.rng.randint(300, 480)})
        house.evening(evening)
    system.log_simulation_end("play", {"evenings": EVENINGS})
    return house.outcome


def _crossed(events: Sequence[Event]) -> list[str]:
    calls = [
        e
        for e in events
        if e.kind == "agent_message" and (e.record["extra"].get("body") or {}).get("call") == "go"
    ]
    for sent, heard in zip(calls, calls[1:], strict=False):
        both = {event.record["extra"]["direction"] for event in (sent, heard)}
        if both == {"sent"}:
            late = sent.record["extra"]["message_id"]
            return [event.id for event in calls if event.record["extra"]["message_id"] == late]
    return []


def _handed(events: Sequence[Event]) -> list[str]:
    return [
        e.id
        for e in events
        if e.kind == "agent_message"
        and e.agent == "props_1"
        and (e.record["extra"].get("body") or {}).get("evening") == 3
    ]


FAULTS = {
    "crossed_calls": Fault(
        "On the second evening it went dark in the middle of a scene after the interval and a_4 had to talk his way "
        "out of it.",
        lambda faulty, healthy: len(faulty["dark"]) > len(healthy["dark"]),
        _crossed,
    ),
    "yesterdays_file": Fault(
        "a_8 stood there singing in E flat and the band on tape played in G. We had changed that the day before!",
        lambda faulty, healthy: len(faulty["off_key"]) > len(healthy["off_key"]),
        lambda events: pick(events, "sound", "load_show", where=lambda e: e.args["evening"] == 4),
    ),
    "short_note": Fault(
        "a_3 reached for the dagger and there was none, he had to strangle the king.",
        lambda faulty, healthy: len(faulty["missing"]) > len(healthy["missing"]),
        _handed,
    ),
    "other_wing": Fault(
        "The queen cannot get off stage in her big dress since the third evening, she stands in the dark for half a "
        "minute and people giggle.",
        lambda faulty, healthy: len(faulty["blocked"]) > len(healthy["blocked"]),
        lambda events: pick(events, "caller", "park_truck", where=lambda e: e.args["truck"] == "tower"),
    ),
}
