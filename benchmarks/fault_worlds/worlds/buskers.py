"""Street musicians: bands learn where to play, two treasurers keep their savings, and a town office keeps order.

Learning loggers and plain actions in one long row of afternoons; there are no ticks, and nothing names its cause.
"""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, LearningLogger
from benchmarks.fault_worlds.kit import Case, World

BANDS = ("Trio Malva", "Old Rosin", "Brass Sixpence", "The Kettles", "Duo Nimbus", "Cardboard Choir")
PITCHES = {"bridge": 31, "arcade": 24, "steps": 17, "market": 36, "tunnel": 22}
EVENINGS = {"fountain": 130, "quay": 46, "station": 7, "opera": 58}
GREENS = ("Town Green", "Lower Meadow", "Mill Field", "Castle Yard")
NEIGHBOURS = ("Mrs Pagel", "Mr Truong", "the bookseller")
SONGS = ("Ash Grove", "Blue Tram", "Nine Pins", "Sailcloth", "Zigzag", "Tin Roof")
EPSILON, ROOM, MOST_STRIKES = 0.15, 24, 3


class Town:
    """What is really true of the town, and what everybody has learned."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.now, self.count = case, case.rng("town"), 0, case.seed % 800
        self.band = self.rng.choice(BANDS)
        self.others = [band for band in BANDS if band != self.band]
        self.loggers: dict[str, AgentLogger] = {}
        self.learners: dict[str, LearningLogger] = {}
        self.day_value = {band: dict.fromkeys(PITCHES, 25.0) for band in BANDS}
        self.evening_value = {band: {place: float(pay) for place, pay in EVENINGS.items()} for band in BANDS}
        self.evening_value[self.band] = {"fountain": 30.0, "quay": 44.0, "station": 22.0, "opera": 41.0}
        self.savings = dict.fromkeys(BANDS, 60)
        self.tin = dict(self.savings)
        self.strikes = dict.fromkeys(BANDS, 0)
        self.fairs: dict[int, str] = {}
        self.belief: dict[tuple[str, int], str] = {}

    def number(self, letters: str) -> str:
        """Return the next number of a note."""
        self.count += 1
        return f"{letters}{self.count}"

    def do(self, who: str, what: str, /, **data: Any) -> str:
        """Record an act."""
        if who not in self.loggers:
            self.loggers[who] = AgentLogger(who, "band" if who in BANDS else "townsfolk")
        return self.loggers[who].log_action(what, data)

    def learner(self, who: str) -> LearningLogger:
        """Return the learning logger of somebody."""
        if who not in self.learners:
            self.learners[who] = LearningLogger("bandit", who, "band" if who in BANDS else "townsfolk")
        return self.learners[who]

    def is_now(self, kind: str) -> bool:
        """Tell whether the case begins now and is of this kind."""
        return self.case.has(kind) and self.now == self.case.begin

    def is_due(self, kind: str) -> bool:
        """Tell whether the case ends now and is of this kind."""
        return self.case.has(kind) and self.now == self.case.end


# Playing: bands choose a place, a hat fills, and Odile books what it brought for the next time.


def afternoon(t: Town, band: str) -> None:
    """Play for an afternoon and learn."""
    values, is_trial = t.day_value[band], t.rng.random() < EPSILON
    pitch = t.rng.choice(list(PITCHES)) if is_trial else max(values, key=lambda each: values[each])
    t.learner(band).log_exploration_exploitation(pitch, is_trial, EPSILON)
    for song in t.rng.sample(SONGS, t.rng.randint(1, 3)):
        t.do(band, "play", song=song, pitch=pitch)
    hat = max(3, round(t.rng.gauss(PITCHES[pitch], 6)))
    t.do("Odile", "count_hat", band=band, pitch=pitch, euro=hat)
    values[pitch] += 0.3 * (hat - values[pitch])
    t.learner("Odile").log_reward(f"{band}@{pitch}", hat, round(values[pitch], 1))
    if t.rng.random() < 0.2:
        t.learner(band).log_learning_update(
            "favourite", {"pitch": max(values, key=lambda each: values[each])}
        )
    if t.rng.random() < 0.5:
        save(t, band, hat // 3)


def evening(t: Town, band: str, trial: str = "") -> None:
    """Play for an evening, at a place on trial or at the best one known, and pay for a room."""
    values = t.evening_value[band]
    place = trial or max(values, key=lambda each: values[each])
    chosen = t.learner(band).log_exploration_exploitation(f"evening {place}", bool(trial), EPSILON)
    played = t.do(band, "play_evening", place=place, songs=t.rng.randint(8, 14))
    hat = max(2, round(EVENINGS[place] * t.rng.uniform(0.9, 1.1)))
    counted = t.do("Odile", "count_hat", band=band, pitch=place, euro=hat)
    booked = "station" if trial and t.case.strikes("wrong_credit", t.now) else place
    values[booked] += 0.8 * (hat - values[booked])
    credit = t.learner("Odile").log_reward(f"{band}@evening {booked}", hat, round(values[booked], 1))
    if trial and t.is_now("wrong_credit"):
        t.case.root(credit)
    if hat >= ROOM:
        t.do("innkeeper", "let_room", band=band, euro=ROOM)
        return
    t.case.hop(chosen, played, counted)
    t.case.symptom(
        t.do("innkeeper", "refuse_room", band=band, euro=hat),
        f"We made {hat} euro in a whole evening and slept in the van, why there of all places?",
        f"{band} could not pay the innkeeper after playing to nobody at the {place}",
        f"nobody walks past the {place} at night, everybody knows that, and still they sent us",
    )


# Savings: two treasurers read the book and write it; who is second reads again.


def save(t: Town, band: str, euro: int) -> None:
    """Put money of a band into its tin and write the book."""
    if band == t.band and t.case.has("lost_update"):
        return
    keeper, is_crowded = t.rng.choice(("Odile", "Marek")), t.rng.random() < 0.3
    if is_crowded:
        save_twice(t, band, euro, 5, planned=False)
        return
    t.do(keeper, "read_book", band=band, euro=t.savings[band])
    t.tin[band] += euro
    t.savings[band] += euro
    t.do(keeper, "write_book", band=band, euro=t.savings[band])


def save_twice(t: Town, band: str, euro: int, more: int, planned: bool) -> None:
    """Let both treasurers write the book of one band, one after the other."""
    seen = t.savings[band]
    first = t.do("Odile", "read_book", band=band, euro=seen)
    t.do("Marek", "read_book", band=band, euro=seen)
    t.tin[band] += euro + more
    t.savings[band] = seen + more
    other = t.do("Marek", "write_book", band=band, euro=t.savings[band])
    if not (planned and t.case.strikes("lost_update", t.now)):
        seen = t.savings[band]
        t.do("Odile", "read_book", band=band, euro=seen)
    t.savings[band] = seen + euro
    written = t.do("Odile", "write_book", band=band, euro=t.savings[band])
    if planned:
        t.case.root(written, first, other)


def spend(t: Town, band: str, euro: int) -> None:
    """Ask for money out of the savings, for a repair."""
    asked = t.do(band, "bring_repair", euro=euro)
    looked = t.do("Marek", "look_up", band=band, euro=t.savings[band], wanted=euro)
    if euro <= t.savings[band]:
        t.savings[band] -= euro
        t.tin[band] -= euro
        t.do("Marek", "pay_out", band=band, euro=euro)
        t.do("violin maker", "repair", band=band)
        return
    if euro <= t.tin[band]:
        t.case.hop(asked, looked)
        t.case.symptom(
            t.do("violin maker", "keep_instrument", band=band, euro=euro),
            f"{band} has saved more than {euro} euro and was told that there is not enough",
            "Our bass stays at the shop because the money that we put aside is not there",
            f"violin maker wants {euro} euro and we have saved that, I counted each hat myself",
        )


# Noise: neighbours complain, the town clerk notes strikes, and forgives those who keep quiet.


def complain(t: Town, band: str, planned: bool) -> None:
    """Let a neighbour complain of noise; a second complaint of the same evening is put to the first."""
    note, neighbour = t.number("N"), t.rng.choice(NEIGHBOURS)
    told = t.do(neighbour, "complain_of_noise", band=band, note=note)
    if planned and t.case.has("doubled_act") and t.now == t.case.end:
        t.case.trigger(told)
    again = planned or t.rng.random() < 0.3
    t.strikes[band] += 1
    noted = t.do("town clerk", "note_strike", band=band, note=note, strikes=t.strikes[band])
    if again and t.now != t.case.end:
        t.do(t.rng.choice(NEIGHBOURS), "complain_of_noise", band=band, note=note)
        if planned and t.case.strikes("doubled_act", t.now):
            t.strikes[band] += 1
            t.case.root(
                t.do("town clerk", "note_strike", band=band, note=note, strikes=t.strikes[band]), noted
            )
        else:
            t.do("town clerk", "put_to_file", band=band, note=note)
    if t.strikes[band] < MOST_STRIKES:
        return
    t.case.hop(told, noted)
    banned = t.do("inspector", "take_licence", band=band, strikes=t.strikes[band])
    t.case.hop(banned)
    t.case.symptom(
        t.do(band, "pack_up", note=note),
        "They took our licence today, it says three times too loud, and we were loud twice at most",
        f"{band} may not play any more for the rest of the season",
        f"inspector came to the pitch and sent {band} home in front of everyone",
    )


def forgive(t: Town) -> None:
    """Strike old complaints off for bands that may be near the limit."""
    for band in BANDS:
        if t.strikes[band] >= MOST_STRIKES - 1 and not (band == t.band and t.case.has("doubled_act")):
            t.strikes[band] = 0
            t.do("town clerk", "strike_off", band=band)


# Fairs: the scout tells where a fair will be, a band notes it, and goes there on the day.


def tell_fair(t: Town, band: str, day: int, planned: bool) -> None:
    """Tell a band where a fair is going to be."""
    green = t.fairs.setdefault(day, t.rng.choice(GREENS))
    said = green
    if planned and t.case.strikes("false_belief", t.now):
        said = GREENS[(GREENS.index(green) + 1) % len(GREENS)]
    told = t.do("Timo", "tell", band=band, green=said, fair=day)
    t.belief[band, day] = said
    adopted = t.learner(band).log_learning_update("fair", {"green": said, "fair": day})
    if planned:
        t.case.root(told, adopted)


def hold_fair(t: Town) -> None:
    """Hold the fair of today, with the bands that were told."""
    green = t.fairs.pop(t.now, "")
    if not green:
        return
    t.do("fair warden", "open_fair", green=green, stalls=t.rng.randint(10, 40))
    for band in BANDS:
        where = t.belief.pop((band, t.now), "")
        if where:
            went = t.do(band, "set_up", green=where)
            looked = t.do("fair warden", "look_for_band", band=band, found=where == green)
            if where != green:
                t.case.hop(went, looked)
                t.case.symptom(
                    t.do("mayor", "open_without_music", green=green, band=band),
                    f"There was no music when the fair on {green} was opened, and we had booked {band}",
                    f"The mayor stood on {green} for half an hour and no band came",
                    "we played the whole morning to an empty lawn, and now we get no fee",
                )


def around(t: Town) -> None:
    """Let happen what happens in any town."""
    roll, band, number = t.rng.random(), t.rng.choice(BANDS), t.rng.randint(2, 40)
    if roll < 0.12:
        AgentLogger(band, "band").warning("a string broke, changed it", {"minutes": number})
    elif roll < 0.22:
        AgentLogger("town clerk", "townsfolk").log_strategy_update(
            "office_hours", 8, 7 + number % 4, "season"
        )
    elif roll < 0.4:
        t.do(band, t.rng.choice(("tune_up", "hang_poster", "buy_tea")), minutes=number)
    if t.now == t.case.decoy_at:
        AgentLogger("Marek", "townsfolk").error("coin counter jammed, counted by hand", {"coins": number})


def one_day(t: Town) -> None:
    """Play one afternoon of the town."""
    case, rng = t.case, t.rng
    for band in rng.sample(BANDS, 2):
        afternoon(t, band)
    if rng.random() < 0.3:
        evening(t, rng.choice(t.others), rng.choice(("", "", "opera", "quay")))
    if t.is_now("wrong_credit"):
        evening(t, t.band, "fountain")
    if t.is_due("wrong_credit"):
        evening(t, t.band)
    if t.is_now("lost_update"):
        save_twice(t, t.band, rng.randint(12, 20), rng.randint(35, 48), planned=True)
    who = rng.choice(t.others)
    if rng.random() < 0.3:
        spend(t, who, min(t.savings[who], rng.randint(8, 60)))
    if t.is_due("lost_update"):
        spend(t, t.band, t.tin[t.band] - rng.randint(2, 9))
    if rng.random() < 0.3:
        complain(t, rng.choice(t.others), planned=False)
    if t.is_now("doubled_act") or t.is_due("doubled_act"):
        complain(t, t.band, planned=True)
    forgive(t)
    if rng.random() < 0.3:
        day = t.now + rng.randint(1, 12)
        for band in rng.sample(BANDS if day != case.end else t.others, 2):
            tell_fair(t, band, day, planned=False)
    if t.is_now("false_belief"):
        tell_fair(t, t.band, case.end, planned=True)
    hold_fair(t)
    around(t)


def play(case: Case) -> None:
    """Play the afternoons of a season."""
    afternoons = case.rng("afternoons").randint(80, 200)
    case.window(afternoons, shortest=2)
    t = Town(case)
    for now in range(afternoons):
        t.now = now
        one_day(t)


WORLD = World("buskers", "bare", ("wrong_credit", "lost_update", "doubled_act", "false_belief"), play, 26)
