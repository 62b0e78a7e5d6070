"""Neighbourhood help: people ask, a coordinator assigns visits, volunteers drive, and rumours travel.

Interactions between agents, one tick is half an hour. Evidence: bare interactions and decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

BRIDGES = ("old_bridge", "mill_bridge", "north_bridge", "iron_bridge")


@dataclass
class Visit:
    """A visit that somebody waits for."""

    name: str
    elder: str
    via: str
    due: int
    told: str | None = None  # the volunteer who knows of it
    cancelled: bool = False
    heard_of_it: bool = False


class Town:
    """The agents, what they believe, and the visits."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("town")
        self.talk = InteractionLogger()
        self.system = SystemLogger()
        self.volunteers = [
            f"vol_{name}" for name in ("anna", "anne", "bo", "cai", "dora", "eli", "finn", "gus")
        ]
        self.rng.shuffle(self.volunteers)
        self.logs = {name: AgentLogger(name, "volunteer") for name in self.volunteers}
        self.logs["coordinator"] = AgentLogger("coordinator", "coordinator")
        self.elders = [f"elder_{n}" for n in range(1, 25)]
        self.rng.shuffle(self.elders)
        self.logs |= {elder: AgentLogger(elder, "elder") for elder in self.elders}
        self.closed: dict[str, set[str]] = {name: set() for name in self.volunteers}
        self.due: dict[int, list[Visit]] = {}
        self.waiting: list[tuple[str, str, str, int]] = []  # request, elder, channel, since
        self.number = self.rng.randint(10, 90)

    def say(self, sort: str, source: str, target: str, thing: str, **data: Any) -> str:
        """Record an interaction between two agents."""
        return self.talk.log_interaction(sort, source, target, thing, data)

    def book(
        self, elder: str, due: int, volunteer: str, via: str, *, wrong: str = ""
    ) -> tuple[Visit, list[str]]:
        """Agree on a visit and assign a volunteer; `wrong` gets the message in place of that volunteer."""
        self.number += 1
        visit = Visit(f"visit_{self.number}", elder, via, due)
        asked = self.say("ask", elder, "coordinator", visit.name, at=due)
        chosen = self.logs["coordinator"].log_decision("assign", {"visit": visit.name, "who": volunteer})
        visit.told = wrong or volunteer
        sent = self.say("assign", "coordinator", visit.told, visit.name, at=due, via=via, elder=elder)
        if not wrong:
            self.logs[volunteer].log_action("note", {"visit": visit.name, "at": due})
        else:
            self.logs[wrong].log_action("set_aside", {"visit": visit.name, "reason": "not in my street"})
            visit.told = None
        self.due.setdefault(due, []).append(visit)
        return visit, [asked, chosen, sent]

    def cancel(self, visit: Visit, volunteer: str, *, forward: bool) -> str:
        """An elder calls a visit off; the coordinator passes it on."""
        self.say("cancel", visit.elder, "coordinator", visit.name)
        struck = self.logs["coordinator"].log_action("strike_out", {"visit": visit.name})
        visit.cancelled = True
        if forward:
            self.say("cancel", "coordinator", volunteer, visit.name)
            visit.heard_of_it = True
        return struck

    def rumour(self, source: str, target: str, bridge: str, *, closed: bool) -> str:
        """A volunteer hears something about a bridge, and believes it."""
        told = self.say("rumour", source, target, bridge, closed=closed)
        self.logs[target].log_decision("believe", {"bridge": bridge, "closed": closed})
        (self.closed[target].add if closed else self.closed[target].discard)(bridge)
        return told

    def visits(self, now: int) -> None:
        """Make the visits that are due."""
        case = self.case
        for visit in self.due.pop(now, ()):
            name = visit.name
            if visit.told is None:
                stood = self.say("complain", visit.elder, "coordinator", name)
                case.symptom(
                    stood,
                    f"nobody came for {name}, {visit.elder} waited all afternoon",
                    f"{visit.elder} had an appointment ({name}) and was forgotten",
                    f"{name} did not take place",
                )
                continue
            if visit.cancelled and visit.heard_of_it:
                continue
            volunteer = visit.told
            if visit.via in self.closed[volunteer]:
                route = self.logs[volunteer].log_decision("detour", {"visit": name, "avoid": visit.via})
                late = self.say("arrive", volunteer, visit.elder, name, minutes_late=55)
                case.hop(route)
                asked = self.say("complain", visit.elder, "coordinator", name, minutes_late=55)
                if self.open_road:
                    case.hop(late)
                    case.symptom(
                        asked,
                        f"{name} began an hour late although {visit.via} was free",
                        f"{visit.elder} complains, {volunteer} took a detour for {name}",
                        f"why was the help for {visit.elder} so late?",
                    )
                continue
            drove = self.logs[volunteer].log_action("drive", {"visit": name, "via": visit.via})
            if visit.cancelled:
                case.hop(drove)
                shut = self.say("closed_door", volunteer, visit.elder, name)
                case.symptom(
                    shut,
                    f"{volunteer} stood in front of a closed door at {visit.elder}",
                    f"a wasted trip for {name}, {visit.elder} had called it off",
                    f"why did somebody drive to {name}? It was cancelled",
                )
                continue
            self.say("arrive", volunteer, visit.elder, name, minutes_late=self.rng.randint(0, 9))

    open_road = True


def play(case: Case) -> None:
    """Play the town for some days."""
    town = Town(case)
    rng = town.rng
    steps = rng.randint(70, 280)
    begin, end = case.window(steps)
    flow = rng.uniform(0.5, 3.5)
    hero, double = town.volunteers[:2]
    others = [name for name in town.volunteers if name not in {hero, double}]
    victim = town.elders[-1]
    phone_last = False
    planned_visit: Visit | None = None
    for now in range(steps):
        with tick(now):
            if rng.random() < 0.15:
                town.system.log_config(
                    rng.choice(("map_style", "sms_footer", "ring_tone", "sheet_rows")),
                    rng.randint(1, 9),
                    rng.randint(1, 9),
                )
            if now == case.decoy_at or rng.random() < 0.03:
                rng_name = rng.choice(town.volunteers)
                town.logs[rng_name].log_action("refuel", {"litres": rng.randint(10, 40)})
            if rng.random() < 0.05:
                town.logs[rng.choice(others)].warning("line busy, called again", {"attempt": 2})
            for _ in range(int(flow) + (rng.random() < flow % 1)):
                volunteer = rng.choice(town.volunteers)
                visit, _ = town.book(
                    rng.choice(town.elders),
                    now + rng.randint(1, steps // 2),
                    volunteer,
                    rng.choice(BRIDGES[2:] if volunteer == hero else BRIDGES[1:]),
                )
                if rng.random() < 0.1:
                    by_coordinator = rng.random() < 0.7
                    town.cancel(visit, volunteer, forward=by_coordinator)
                    if not by_coordinator:  # the elder tells the volunteer
                        town.say("cancel", visit.elder, volunteer, visit.name)
                        visit.heard_of_it = True
                elif rng.random() < 0.06:  # assigned to the wrong one, who passes it on
                    wrong = rng.choice([name for name in others if name != volunteer])
                    town.say(
                        "assign",
                        "coordinator",
                        wrong,
                        visit.name,
                        at=visit.due,
                        via=visit.via,
                        elder=visit.elder,
                    )
                    town.logs[wrong].log_action(
                        "set_aside", {"visit": visit.name, "reason": "not in my street"}
                    )
                    town.say(
                        "assign", wrong, volunteer, visit.name, at=visit.due, via=visit.via, elder=visit.elder
                    )
            if (
                rng.random() < 0.25
            ):  # rumours about bridges that this volunteer does not use, or that are taken back
                source, target = rng.sample(others, 2)
                bridge = BRIDGES[0] if rng.random() < 0.5 else rng.choice(BRIDGES)
                town.rumour(source, target, bridge, closed=True)
                if bridge != BRIDGES[0]:
                    town.rumour(source, target, bridge, closed=False)
            # What the plan has for this moment, with the fault or without it.
            if now == begin:
                if case.has("false_belief"):
                    planned_visit, _ = town.book(victim, end, hero, "mill_bridge")
                    told = town.rumour(
                        rng.choice(others), hero, "mill_bridge", closed=case.strikes("false_belief")
                    )
                    case.root(told)
                elif case.has("wrong_recipient"):
                    wrong = double if case.strikes("wrong_recipient") else ""
                    _, events = town.book(victim, end, hero, "iron_bridge", wrong=wrong)
                    case.root(events[2])
                    if wrong:
                        case.hop(_last_of(town, double))
                elif case.has("omitted_message"):
                    planned_visit, _ = town.book(victim, end, hero, "iron_bridge")
                    case.root(town.cancel(planned_visit, hero, forward=not case.strikes("omitted_message")))
                elif case.has("starved_queue"):
                    phone_last = case.strikes("starved_queue")
                    case.root(
                        town.logs["coordinator"].log_strategy_update(
                            "order of requests",
                            "oldest first",
                            "app before phone" if phone_last else "oldest first",
                            "fewer calls",
                        )
                    )
            if rng.random() < 0.25:
                town.logs["coordinator"].log_strategy_update(
                    "colour of the sheet", "blue", rng.choice(("green", "red")), "taste"
                )
            _errands(town, now, phone_last=phone_last, victim=victim)
            town.visits(now)


def _last_of(town: Town, volunteer: str) -> str:
    """Return an event of a volunteer who looks into the mail."""
    return town.logs[volunteer].log_action("read_mail", {"unread": 0})


def _errands(town: Town, now: int, *, phone_last: bool, victim: str) -> None:
    """Small errands, of which five are done at a time; more come in than on other days if the plan says so."""
    case, rng = town.case, town.rng
    flood = max(case.begin, case.end - 10)
    busy = case.has("starved_queue") and now >= flood
    if busy and now == flood:
        case.trigger(town.logs["coordinator"].log_action("offer_help", {"place": "market"}))
    elif rng.random() < 0.03:
        town.logs["coordinator"].log_action(
            "offer_help", {"place": rng.choice(("church", "school", "library"))}
        )
    for _ in range(5 if busy else rng.randint(0, 3)):
        town.number += 1
        elder, channel = rng.choice(town.elders[:-1]), "app" if busy or rng.random() < 0.7 else "phone"
        town.say("request", elder, "coordinator", f"errand_{town.number}", channel=channel)
        town.waiting.append((f"errand_{town.number}", elder, channel, now))
    if case.has("starved_queue") and now == max(case.begin, case.end - 6):
        town.number += 1
        town.say("request", victim, "coordinator", f"errand_{town.number}", channel="phone")
        town.waiting.insert(0, (f"errand_{town.number}", victim, "phone", now))
    if phone_last:
        town.waiting.sort(key=lambda entry: entry[2] == "phone")
    for name, elder, _, _ in town.waiting[:5]:
        volunteer = rng.choice(town.volunteers)
        town.say("hand_out", "coordinator", volunteer, name)
        town.say("deliver", volunteer, elder, name)
    del town.waiting[:5]
    if case.has("starved_queue") and now == case.end:
        for name, elder, _, since in town.waiting:
            if elder == victim:
                case.symptom(
                    town.say("complain", elder, "coordinator", name, waited=now - since),
                    f"{elder} still waits for {name}",
                    f"nobody did {name}, which {elder} asked for on the phone; vol_bo was free",
                    f"{name} is not done, the coordinator never handed it out",
                )
                town.waiting = [entry for entry in town.waiting if entry[1] != victim]
                break


WORLD = World(
    "dispatch", "bare", ("false_belief", "wrong_recipient", "starved_queue", "omitted_message"), play
)
