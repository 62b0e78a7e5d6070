"""A gliding club: pilots learn where air rises, a winch pulls them up, guests come along, fees are booked.

Learning loggers, plain actions and configuration; no ticks: the airfield goes from one launch to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

PILOTS = ("Anselm", "Birgit", "Corentin", "Dorte", "Ewald", "Frieda")
GOOD, BAD = ("quarry", "south ridge", "sawmill", "pine wood"), ("lake", "moor", "estuary")
GLIDERS = {"K8": 5.0, "Libelle": 6.4, "Twin": 8.4}
DESK, WINCH, OFFICE, TREASURER, SECRETARY = "flight desk", "winch", "guest office", "treasurer", "secretary"
BOASTER = "visitor Lothar"
ROLES = {**dict.fromkeys(PILOTS, "pilot"), BOASTER: "visitor", DESK: "desk", OFFICE: "office"}
RATE, ENOUGH, SHARE, USUAL = 0.5, 170, 0.12, 1700


@dataclass
class Pilot:
    """What a pilot thinks of the spots, and what a pilot has to pay."""

    name: str
    values: dict[str, float] = field(
        default_factory=lambda: {**dict.fromkeys(GOOD, 300.0), **dict.fromkeys(BAD, 0.0)}
    )
    total: float = 0.0
    booked: int = 0
    own_count: int = 0

    def best(self) -> str:
        """Return the spot of which the pilot thinks most."""
        return max(sorted(self.values), key=lambda spot: self.values[spot])


class Field:
    """The airfield, what is true on it, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.now, self.last = case, 0, dict.fromkeys("FG", case.seed % 600)
        self.slots = case.rng("slots").choice((50, 100, 165, 230))
        case.window(self.slots, 1)
        rng = case.rng("plan")
        self.pilots = {name: Pilot(name) for name in PILOTS}
        self.star, self.friend = (self.pilots[name] for name in rng.sample(PILOTS, 2))
        self.bad, self.good = rng.choice(BAD), rng.choice(GOOD)
        self.force = dict(GLIDERS)
        self.flown: dict[str, tuple[str, int]] = {}

    def number(self, letter: str) -> str:
        """Return the next number of a flight or a guest."""
        self.last[letter] += 1
        return f"{letter}{self.last[letter]:04}"

    def act(self, who: str, what: str, /, **data: Any) -> str:
        """Record what somebody does."""
        return AgentLogger(who, ROLES.get(who, who)).log_action(what, data)

    def is_open(self) -> bool:
        """Tell whether the star of the case has to be left alone until the end."""
        return self.case.begin <= self.now <= self.case.end


def rise(place: Field, flight: str, spot: str) -> int:
    """Return how many metres a glider gains over a spot."""
    rng = place.case.rng(f"air/{flight}")
    wave, calm, sink = rng.randint(1200, USUAL), rng.randint(320, 900), -rng.randint(40, 210)
    if spot in BAD:
        return sink
    return wave if rng.random() < 0.06 else calm


def pull(place: Field, flight: str, pilot: Pilot, glider: str, kilos: int) -> int:
    """Pull a glider up; return the height at which the rope falls off."""
    place.act(pilot.name, "strap_in", flight=flight, glider=glider, kilos=kilos)
    force = place.force[glider]
    height = round(420 * force / GLIDERS[glider] - 5 * max(0, kilos - 150))
    pulled = place.act(WINCH, "pull", flight=flight, glider=glider, height=height)
    if kilos > 150:
        place.case.trigger(pulled)
        place.case.hop(pulled)
    return height


def charge(place: Field, flight: str, pilot: Pilot, euros: int) -> str:
    """Book the fee of a flight."""
    pilot.booked += euros
    return place.act(TREASURER, "book_fee", flight=flight, member=pilot.name, euros=euros)


def fly(
    place: Field, pilot: Pilot, spot: str, how: str, *, gain: int | None = None, is_mine: bool = False
) -> int:
    """Fly to a spot, learn from it, and pay; pilots who find nothing sometimes turn to another spot."""
    case, flight, name = place.case, place.number("F"), pilot.name
    rng = case.rng(f"flight/{flight}")
    pull(place, flight, pilot, "K8" if how == "task" else "Libelle", rng.randint(55, 88))
    place.act(name, "head_for", flight=flight, spot=spot, how=how)
    if gain is None and spot in GOOD and rng.random() < 0.2:
        spot = rng.choice(GOOD)
        place.act(name, "turn_to", flight=flight, spot=spot)
    gained = rise(place, flight, spot) if gain is None else gain
    if spot in GOOD and pilot is not place.star and rng.random() < 0.03:
        gained = rng.randint(3300, 3900)
    flown = place.act(name, "land" if gained > 0 else "land_in_a_field", flight=flight, metres=gained)
    if gained <= 0:
        place.act(DESK, "send_trailer", flight=flight, km=rng.randint(4, 30))
    credited = spot
    if is_mine and case.strikes("wrong_credit", place.now):
        credited = place.bad
    pilot.total += gained
    rewarded = LearningLogger("spots", DESK, "desk").log_reward(credited, gained, round(pilot.total, 1))
    learned = learn(place, pilot, credited, gained, flight)
    if is_mine and case.has("wrong_credit"):
        case.root(rewarded, flown)
        case.hop(learned)
    euros = rng.choice((6, 8, 11)) + gained // 400 * 5
    pilot.own_count += euros
    charge(place, flight, pilot, euros)
    if rng.random() < 0.1:
        pilot.booked -= euros
        place.act(TREASURER, "cancel_fee", flight=flight, member=name, euros=euros)
        charge(place, flight, pilot, euros)
    place.flown[name] = spot, gained
    return gained


def learn(place: Field, pilot: Pilot, spot: str, metres: float, source: str) -> str:
    """Move what a pilot thinks of a spot half the way to what was gained or told."""
    old = pilot.values[spot]
    pilot.values[spot] = round(old + RATE * (metres - old), 1)
    data = {"spot": spot, "old": old, "new": pilot.values[spot], "source": source}
    return LearningLogger("spots", pilot.name, "pilot").log_learning_update("value", data)


def tell(place: Field, speaker: str, listener: Pilot, spot: str, metres: int) -> tuple[str, str]:
    """Tell somebody where it went up; visitors are not believed."""
    told = place.act(speaker, "tell_at_bar", listener=listener.name, spot=spot, metres=metres)
    if speaker == BOASTER:
        doubted = AgentLogger(listener.name, "pilot").log_decision(
            "doubt", {"spot": spot, "metres": metres}, reasoning="he says so every week"
        )
        return told, doubted
    return told, learn(place, listener, spot, metres, speaker)


def take_guest(place: Field, pilot: Pilot, kilos: int) -> None:
    """Take a guest up in the two-seater, to the spot that the pilot thinks best."""
    case, flight, guest = place.case, place.number("F"), place.number("G")
    sold = place.act(OFFICE, "sell_ticket", guest=guest, pilot=pilot.name)
    chosen = LearningLogger("spots", pilot.name, "pilot").log_exploration_exploitation(
        pilot.best(), exploration=False, epsilon=SHARE
    )
    if pull(place, flight, pilot, "Twin", 70 + kilos) < ENOUGH:
        case.symptom(
            place.act(OFFICE, "refund_ticket", guest=guest, reason="launch broken off"),
            "We were hardly above the fence when he said that this would not do, and put us down again",
            f"Guest {guest} paid for half an hour in the air and got forty seconds",
            "Why does it pull up children like a rocket, and not me? I had told them my weight on the phone!",
        )
        return
    place.act(pilot.name, "head_for", flight=flight, spot=pilot.best(), how="guest")
    gained = rise(place, flight, pilot.best())
    if gained > 0:
        place.act(pilot.name, "land", flight=flight, metres=gained)
        place.act(OFFICE, "hand_certificate", guest=guest, metres=gained)
        return
    case.trigger(sold)
    case.hop(chosen)
    place.act(pilot.name, "land_in_a_field", flight=flight, metres=gained)
    case.symptom(
        place.act(OFFICE, "refund_ticket", guest=guest, reason="landed among cows"),
        "My birthday flight ended in a swamp after six minutes, and I ruined my shoes",
        f"{pilot.name} flew my mother straight to the {pilot.best()}, where nothing ever goes up",
        "An experienced pilot, the best weather of the year, and they had to fetch us with a trailer",
    )


def check_account(place: Field, pilot: Pilot) -> None:
    """Let a member compare a statement with the own flight book."""
    case = place.case
    sent = place.act(SECRETARY, "send_statement", member=pilot.name, euros=pilot.booked)
    if pilot.booked == pilot.own_count:
        place.act(pilot.name, "transfer", euros=pilot.booked)
        return
    case.hop(sent)
    case.symptom(
        place.act(pilot.name, "object", euros=pilot.booked - pilot.own_count),
        f"The club wants {pilot.booked - pilot.own_count} euros more than I have flown for",
        f"{pilot.name} cannot reconcile the statement with the flight book and will not pay it",
        "I write down every single launch, and by my book this bill is too high",
    )


def begin(place: Field) -> None:
    """Do what the case is about, well or badly."""
    case, star, rng = place.case, place.star, place.case.rng("begin")
    if case.has("wrong_credit"):
        fly(place, star, place.good, "task", gain=rng.randint(3450, 3900), is_mine=True)
    elif case.has("false_belief"):
        metres = rng.randint(3450, 3900)
        fly(place, place.friend, place.good, "task", gain=metres)
        spot = place.bad if case.strikes("false_belief", place.now) else place.good
        told, believed = tell(place, place.friend.name, star, spot, metres)
        case.root(told, believed)
        case.hop(believed)
    elif case.has("config_change"):
        old = place.force["Twin"]
        new = (
            rng.choice((6.2, 6.4, 6.6))
            if case.strikes("config_change", place.now)
            else rng.choice((8.2, 8.6))
        )
        place.force["Twin"] = new
        case.root(SystemLogger(WINCH).log_config("force_twin", old, new))
    else:
        flight, euros = place.number("F"), rng.randint(38, 74)
        towed = place.act(star.name, "be_towed", flight=flight, metres=20 * euros)
        star.own_count += euros
        case.root(charge(place, flight, star, euros), towed)
        place.act(TREASURER, "sharpen_pencil", colour=rng.choice(("red", "blue")))
        if case.strikes("doubled_act", place.now):
            case.root(charge(place, flight, star, euros))


def end(place: Field) -> None:
    """Let somebody come upon it."""
    if place.case.has("doubled_act"):
        check_account(place, place.star)
    else:
        take_guest(place, place.star, 118 if place.case.has("config_change") else 74)


def everyday(place: Field) -> None:
    """Do what belongs to any slot."""
    case, rng = place.case, place.case.rng(f"slot/{place.now}")
    for name in rng.sample(PILOTS, rng.randint(1, 3)):
        pilot = place.pilots[name]
        lets_learn = pilot is place.star and place.is_open()
        if rng.random() < 0.5 or lets_learn:
            place.act("instructor", "set_task", pilot=name, spot=(task := rng.choice(GOOD)))
            fly(place, pilot, task, "task")
            continue
        explores, random_spot = rng.random() < SHARE, rng.choice((*GOOD, *BAD))
        spot = random_spot if explores else pilot.best()
        LearningLogger("spots", name, "pilot").log_exploration_exploitation(spot, explores, SHARE)
        fly(place, pilot, spot, "free")
    guest_pilot, member = place.pilots[rng.choice(PILOTS)], place.pilots[rng.choice(PILOTS)]
    is_busy = place.is_open() and not case.has("doubled_act") and not case.has("config_change")
    if rng.random() < 0.3 and not (is_busy and guest_pilot is place.star):
        take_guest(place, guest_pilot, rng.randint(38, 80))
    if rng.random() < 0.2 and not (place.is_open() and member is place.star):
        check_account(place, member)
    speaker, listener = rng.sample(PILOTS, 2)
    spot, metres = place.flown.get(speaker, ("?", 0))
    if rng.random() < 0.35 and spot in GOOD and (metres <= USUAL or listener != place.star.name):
        tell(place, speaker, place.pilots[listener], spot, metres)
    if rng.random() < 0.15 or place.now == case.decoy_at:
        tell(place, BOASTER, place.pilots[listener], rng.choice(BAD), rng.randint(1500, 3900))
    if rng.random() < 0.3 or place.now == case.decoy_at:
        glider = rng.choice(list(GLIDERS))
        new = round(GLIDERS[glider] * rng.uniform(0.94, 1.08), 1)
        if glider != "Twin" or not (place.is_open() and case.has("config_change")):
            SystemLogger(WINCH).log_config(f"force_{glider.lower()}", place.force[glider], new)
            place.force[glider] = new
    for name in ("beer_price", "siren", "gate_code", "radio_channel"):
        if rng.random() < 0.3:
            SystemLogger("club house").log_config(name, 2, rng.randint(1, 9))
    if rng.random() < 0.25:
        flight, pilot = place.number("F"), place.pilots[rng.choice(PILOTS)]
        pilot.own_count += (euros := rng.randint(38, 74))
        place.act(pilot.name, "be_towed", flight=flight, metres=20 * euros)
        charge(place, flight, pilot, euros)
        place.act(TREASURER, "sharpen_pencil", colour=rng.choice(("red", "blue")))
    if rng.random() < 0.15 or place.now == case.decoy_at:
        AgentLogger(WINCH, WINCH).warning("rope broke at the weak link, put in a new one", {"link": "blue"})


def play(case: Case) -> None:
    """Play some weekends."""
    place = Field(case)
    for now in range(place.slots):
        place.now = now
        everyday(place)
        if now == case.begin:
            begin(place)
        if now == case.end:
            end(place)


FAULTS = ("wrong_credit", "config_change", "doubled_act", "false_belief")
WORLD = World("gliders", "bare", FAULTS, play, 30)
