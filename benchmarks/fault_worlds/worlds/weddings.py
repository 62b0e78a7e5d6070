"""Weddings: couples, planners and those whom they book write to each other. Messages and actions with `causes=`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

PLANNERS = ("Odile", "Kasper", "Yun")
CATERERS = ("Cookhouse", "Goldspoon", "Saffron_Lane")
COOKS = {"Cookhouse": "Benoit", "Goldspoon": "Marta", "Saffron_Lane": "Idris"}
FLORISTS = ("Petalia", "Fernwood")
BANDS = ("The_Larks", "Brassica", "")
VENUES = ("Millbarn", "Orangery", "Lakeside")
FLOWERS = ("white lilies", "red dahlias", "cornflowers", "peonies", "dry grasses", "sunflowers")
ACTS = {
    "heads": "wrong_recipient",
    "hour": "omitted_message",
    "aunt": "false_belief",
    "permit": "expired_permission",
    "flowers": "dead_letter",
}


@dataclass
class Wedding:
    """A wedding: what is wanted, and what those who are booked have noted."""

    number: int
    day: int
    planner: str
    venue: str
    caterer: str
    florist: str
    band: str
    heads: int
    hour: int
    flowers: str
    nuts_hurt: bool
    fireworks: bool
    file: str = ""
    heads_noted: int = 0
    hours_noted: dict[str, int] = field(default_factory=dict)
    nuts_noted: bool = False
    flowers_noted: str = ""
    permit_until: int = -1
    noted: dict[str, str] = field(default_factory=dict)
    plan: list[tuple[int, str]] = field(default_factory=list)

    @property
    def couple(self) -> str:
        return f"couple_{self.number:02}"


class Office:
    """Everybody's letters, and the wedding `mine` of the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.now = case, 0
        self.loggers: dict[str, AgentLogger] = {}
        self.weddings: list[Wedding] = []
        self.parked: list[tuple[Wedding, str, str, str]] = []
        self.mine: Wedding | None = None

    def who(self, name: str) -> AgentLogger:
        """Return the logger of somebody."""
        if name not in self.loggers:
            role = (
                ("planner" if name in PLANNERS else "")
                or ("caterer" if name in CATERERS else "")
                or ("couple" if name.startswith("couple") else "")
                or ("venue" if name in VENUES else "")
                or ("office" if name in {"town_hall", "post_hub", "registry", "constable"} else "trade")
            )
            self.loggers[name] = AgentLogger(name, role)
        return self.loggers[name]

    def write(self, sender: str, to: str, body: dict[str, Any], *causes: str) -> tuple[str, str]:
        """Send a letter that arrives; return the events of sending and receipt."""
        letter = self.who(sender).send(to, body, causes=[cause for cause in causes if cause])
        return letter.event_id, self.who(to).receive(letter)

    def does(self, name: str, action: str, *causes: str, **data: Any) -> str:
        """Record what somebody does, and why."""
        return self.who(name).log_action(action, data, causes=[cause for cause in causes if cause])


def _engage(office: Office, rng: Random, day: int, *, mine: bool = False) -> Wedding:
    """A couple writes to a planner, who books what is needed."""
    number = len(office.weddings) + 1
    kinds = (rng.choice(PLANNERS), rng.choice(VENUES), rng.choice(CATERERS), rng.choice(FLORISTS))
    band = rng.choice(BANDS[:2] if mine else BANDS)
    heads, hour, flowers = rng.randint(40, 160), rng.randint(11, 16), rng.choice(FLOWERS)
    wed = Wedding(
        number,
        day,
        *kinds,
        band,
        heads,
        hour,
        flowers,
        mine or rng.random() < 0.3,
        mine or rng.random() < 0.4,
    )
    office.weddings.append(wed)
    _, got = office.write(
        wed.couple, wed.planner, {"wedding": number, "day": day, "heads": heads, "hour": hour}
    )
    wed.file = office.does(wed.planner, "open_file", got, wedding=number, venue=wed.venue)
    for name in filter(None, (wed.venue, wed.caterer, wed.florist, band, "registry")):
        _, got = office.write(wed.planner, name, {"wedding": number, "book": day, "hour": hour}, wed.file)
        wed.hours_noted[name] = hour
        wed.noted[name] = office.does(name, "note_booking", got, wedding=number)
    wed.heads_noted, wed.flowers_noted = heads, flowers
    _, got = office.write(
        wed.planner, wed.caterer, {"wedding": number, "heads": heads, "no_nuts": wed.nuts_hurt}, wed.file
    )
    wed.nuts_noted = wed.nuts_hurt
    wed.noted["menu"] = office.does(wed.caterer, "note_menu", got, wedding=number, no_nuts=wed.nuts_hurt)
    return wed


def _heads(office: Office, wed: Wedding, rng: Random) -> None:
    """The number of guests is settled, and the caterer told."""
    case, mine = office.case, wed is office.mine
    old, wed.heads = wed.heads, wed.heads + rng.randint(14, 30)
    luck, other = rng.random(), rng.choice([name for name in CATERERS if name != wed.caterer])
    if not mine and luck < 0.15:
        wed.heads = old  # told again though nothing has changed
    settled = office.does(wed.planner, "settle_heads", wed.file, wedding=wed.number, heads=wed.heads)
    body = {"wedding": wed.number, "heads": wed.heads}
    strikes = mine and case.strikes("wrong_recipient", office.now)
    astray = strikes or (not mine and luck < 0.35)
    if astray:
        sent, got = office.write(wed.planner, other, body, settled)
        pile = office.does(other, "put_on_pile", got, wedding=wed.number)
        if strikes:
            case.root(sent, got)
            case.hop(pile)
            return
        if luck < 0.15:
            return
        _, settled = office.write(other, wed.planner, {"wedding": wed.number, "note": "not one of ours"}, got)
    sent, got = office.write(wed.planner, wed.caterer, body, settled)
    wed.heads_noted = wed.heads
    wed.noted[wed.caterer] = office.does(wed.caterer, "note_heads", got, wedding=wed.number, heads=wed.heads)
    if mine and case.has("wrong_recipient") and office.now == case.begin:
        case.root(sent)


def _hour(office: Office, wed: Wedding, rng: Random) -> None:
    """The ceremony moves, and everybody is told."""
    case, mine = office.case, wed is office.mine
    wed.hour += rng.choice((-2, -1, 1, 2))
    moved = office.does(wed.planner, "move_hour", wed.file, wedding=wed.number, hour=wed.hour)
    planned = mine and case.has("omitted_message") and office.now == case.begin
    if planned:
        case.root(moved)
    told = list(wed.hours_noted)
    rng.shuffle(told)
    for name in told:
        if mine and name == wed.band and case.strikes("omitted_message", office.now):
            continue
        sent, got = office.write(wed.planner, name, {"wedding": wed.number, "hour": wed.hour}, moved)
        wed.hours_noted[name] = wed.hour
        wed.noted[name] = office.does(name, "note_hour", got, wedding=wed.number, hour=wed.hour)
        if planned:
            case.root(sent)


def _aunt(office: Office, wed: Wedding, rng: Random) -> None:
    """A relative rings the caterer, who asks the planner where it matters."""
    case, mine = office.case, wed is office.mine
    about = (
        "nuts" if mine or (wed.nuts_hurt and rng.random() < 0.6) else rng.choice(("napkins", "wine", "cake"))
    )
    says = {
        "nuts": "he grew out of that years ago",
        "napkins": "she hates blue",
        "wine": "no wine before six",
    }
    relative = rng.choice(("aunt_Gerda", "uncle_Sven", "cousin_Pia"))
    body = {"wedding": wed.number, "about": about, "says": says.get(about, "three floors, please")}
    sent, got = office.write(relative, wed.caterer, body)
    believes = about != "nuts" or (mine and case.strikes("false_belief", office.now))
    planned = mine and case.has("false_belief") and office.now == case.begin
    if planned:
        case.root(got, sent)
    if believes:
        changed = office.does(wed.caterer, "change_menu", got, wedding=wed.number, about=about)
        if about == "nuts":
            wed.nuts_noted, wed.noted["menu"] = False, changed
            case.root(changed)
        return
    _, asked = office.write(wed.caterer, wed.planner, {"wedding": wed.number, "is_it_true": about}, got)
    _, told = office.write(wed.planner, wed.caterer, {"wedding": wed.number, "answer": "no"}, asked)
    office.does(wed.caterer, "leave_menu", told, wedding=wed.number, about=about)


def _permit(office: Office, wed: Wedding, rng: Random) -> None:
    """The town hall is asked for fireworks."""
    case, mine = office.case, wed is office.mine
    if not wed.fireworks:
        return
    _, asked = office.write(wed.planner, "town_hall", {"wedding": wed.number, "wish": "fireworks"}, wed.file)
    until = wed.day + rng.randint(1, 12)
    short = rng.randint(office.now, max(office.now, wed.day - 1))
    luck = rng.random()
    strikes = mine and case.strikes("expired_permission", office.now)
    first = short if strikes or (not mine and luck < 0.35) else until
    granted = office.does("town_hall", "grant", asked, wedding=wed.number, until=first)
    _, got = office.write("town_hall", wed.planner, {"wedding": wed.number, "until": first}, granted)
    wed.permit_until, wed.noted["permit"] = first, got
    if mine and case.has("expired_permission") and office.now == case.begin:
        case.root(granted)
        case.hop(got)
    if first == until or strikes:
        return
    if luck < 0.15:  # too short, but nobody will light anything
        wed.fireworks = False
        office.does(wed.planner, "strike_fireworks", got, wedding=wed.number)
        return
    _, asked = office.write(wed.planner, "town_hall", {"wedding": wed.number, "wish": "longer"}, got)
    granted = office.does("town_hall", "grant", asked, wedding=wed.number, until=until)
    _, got = office.write("town_hall", wed.planner, {"wedding": wed.number, "until": until}, granted)
    wed.permit_until, wed.noted["permit"] = until, got


def _flowers(office: Office, wed: Wedding, rng: Random) -> None:
    """The couple wants other flowers; the florist's box is full at times."""
    case, mine = office.case, wed is office.mine
    wed.flowers = rng.choice([name for name in FLOWERS if name != wed.flowers])
    _, got = office.write(wed.couple, wed.planner, {"wedding": wed.number, "flowers": wed.flowers}, wed.file)
    _, at_hub = office.write(
        wed.planner, "post_hub", {"for": wed.florist, "wedding": wed.number, "flowers": wed.flowers}, got
    )
    planned = mine and case.has("dead_letter") and office.now == case.begin
    if planned or (not mine and rng.random() < 0.4):
        parked = office.does("post_hub", "park_letter", at_hub, wedding=wed.number, box=wed.florist)
        if planned:
            case.root(parked, at_hub)
        if not (mine and case.strikes("dead_letter", office.now)):
            office.parked.append((wed, parked, wed.florist, wed.flowers))
        return
    _order_flowers(office, wed, at_hub, wed.flowers)


def _order_flowers(office: Office, wed: Wedding, cause: str, flowers: str) -> None:
    _, got = office.write("post_hub", wed.florist, {"wedding": wed.number, "flowers": flowers}, cause)
    wed.flowers_noted = flowers
    wed.noted[wed.florist] = office.does(
        wed.florist, "order_flowers", got, wedding=wed.number, flowers=flowers
    )


STEPS: dict[str, Callable[[Office, Wedding, Random], None]] = {
    "heads": _heads,
    "hour": _hour,
    "aunt": _aunt,
    "permit": _permit,
    "flowers": _flowers,
}


def _complain(office: Office, wed: Wedding, cause: str, matter: str, *texts: str) -> None:
    """The couple writes a review; a user writes about it."""
    office.case.hop(cause)
    event = office.does(wed.couple, "write_review", cause, wedding=wed.number, stars=1, matter=matter)
    fill = {
        "couple": wed.couple,
        "venue": wed.venue,
        "cook": COOKS[wed.caterer],
        "caterer": wed.caterer,
        "florist": wed.florist,
        "band": wed.band,
        "number": f"{wed.number}",
    }
    office.case.symptom(event, *(text.format(**fill) for text in texts))


def _celebrate(office: Office, wed: Wedding) -> None:
    """The day itself: everybody does what is noted."""
    doors = office.does(wed.venue, "open_doors", wed.noted[wed.venue], wedding=wed.number)
    list_ = {"wedding": wed.number, "portions": wed.heads_noted + 3, "no_nuts": wed.nuts_noted}
    sent, got = office.write(
        wed.caterer, COOKS[wed.caterer], list_, wed.noted[wed.caterer], wed.noted["menu"]
    )
    served = office.does(
        COOKS[wed.caterer], "serve", got, doors, wedding=wed.number, plates=wed.heads_noted + 3
    )
    brought = office.does(
        wed.florist,
        "bring_flowers",
        wed.noted[wed.florist],
        doors,
        wedding=wed.number,
        flowers=wed.flowers_noted,
    )
    played = ""
    if wed.band:
        hour = wed.hours_noted[wed.band]
        played = office.does(wed.band, "start_to_play", wed.noted[wed.band], wedding=wed.number, hour=hour)
    if wed.heads_noted + 3 < wed.heads:
        office.case.hop(sent)
        _complain(
            office,
            wed,
            served,
            "hungry guests",
            "A dozen of our guests got nothing to eat!!",
            "not enough plates at {couple}. {cook} counted twice and says the list was like that",
            "at {venue} the last tables got bread and cheese, did somebody steal food?",
            "wedding {number}: too little food, far too little",
        )
    if wed.nuts_hurt and not wed.nuts_noted:
        office.case.hop(sent)
        _complain(
            office,
            wed,
            served,
            "ambulance",
            "my brother was taken to hospital after the dessert and everybody had known about his allergy",
            "{cook} put almonds on the cake. ALMONDS. we had written it in capitals",
            "ambulance at {venue}, it was the nuts",
            "how could there be nuts in it, the planner must have forgotten to pass it on",
        )
    if wed.flowers_noted != wed.flowers:
        _complain(
            office,
            wed,
            brought,
            "wrong flowers",
            "those were not the flowers we had asked for, they were the ones we did NOT want any more",
            "{florist} brought the old order to {couple}",
            "the bride cried because of the bouquet",
            "wedding {number}, wrong flowers. I guess the colours were mixed up in the van",
        )
    if played and wed.hours_noted[wed.band] != wed.hour:
        _complain(
            office,
            wed,
            played,
            "no music",
            "we walked down the aisle without any music",
            "{band} came to {venue} at the wrong time and swears that nobody had told them anything else",
            "The musicians were not there when it began. Traffic jam?",
            "everything at our wedding was on time except the band",
        )
    if wed.fireworks and wed.permit_until >= 0:
        lit = office.does("Salvo", "light_fuse", wed.noted["permit"], doors, wedding=wed.number)
        if wed.permit_until < office.now:
            office.case.hop(lit)
            stopped = office.does("constable", "put_out", lit, wedding=wed.number)
            office.case.trigger(lit)
            _complain(
                office,
                wed,
                stopped,
                "police",
                "the police put an end to our party at the best moment",
                "Salvo was made to stop after two rockets, and we had paid for fifty",
                "{couple} were fined. Had somebody complained about the noise at {venue}?",
                "a fine! on our wedding day! although we had all the papers",
            )


def _everyday(office: Office, rng: Random) -> None:
    """Letters that come late, tastings, bills, prices and jams."""
    for wed, parked, florist, flowers in office.parked:
        fetched = office.does("post_hub", "fetch_parked", parked, wedding=wed.number, box=florist)
        if wed.day >= office.now:
            _order_flowers(office, wed, fetched, flowers)
    office.parked.clear()
    if rng.random() < 0.25:  # nobody misses these
        office.does("post_hub", "park_letter", box=rng.choice(FLORISTS), newsletter=office.now)
    for _ in range(rng.randint(1, 3)):
        open_ = [wed for wed in office.weddings if wed.day > office.now]
        if not open_:
            break
        wed = rng.choice(open_)
        name, action = rng.choice(
            (
                (wed.couple, "taste_cake"),
                (wed.couple, "fit_dress"),
                (wed.planner, "pay_bill"),
                (wed.venue, "mow"),
            )
        )
        office.does(name, action, wed.file, wedding=wed.number)
    if rng.random() < 0.2:
        office.does(rng.choice(CATERERS), "set_threshold", least_guests=rng.randint(20, 40))
    if rng.random() < 0.15:
        office.who(rng.choice(PLANNERS)).warning("printer jam", {"pages": rng.randint(1, 9)})
    if rng.random() < 0.1:
        failed = office.who(rng.choice(FLORISTS)).error("van does not start", {"tries": rng.randint(2, 5)})
        office.does("post_hub", "lend_van", failed)


def _plan(case: Case, wed: Wedding, rng: Random, now: int, *, mine: bool) -> None:
    """Draw when what will be decided about a wedding."""
    for act, kind in ACTS.items():
        if mine:
            if case.has(kind):
                wed.plan.append((case.begin, act))
            continue
        if wed.day - now >= 3 and rng.random() < 0.65:
            wed.plan.append((rng.randint(now + 1, wed.day - 2), act))


def play(case: Case) -> None:
    """Play some months, day by day."""
    days = case.rng("days").choice((30, 48, 75, 110))
    case.window(days)
    office = Office(case)
    for now in range(days):
        office.now = now
        rng = case.rng(f"day/{now}")
        with tick(now):
            for number in range(5 if now == 0 else rng.choice((0, 1, 1, 2))):
                mine = now == 0 and number == 2
                lead = rng.randint(4, 34)
                wed = _engage(office, rng, case.end if mine else now + lead, mine=mine)
                if mine:
                    office.mine = wed
                _plan(case, wed, rng, now, mine=mine)
            _everyday(office, rng)
            for wed in office.weddings:
                dice = case.rng(f"wedding/{wed.number}/{now}")
                for day, act in wed.plan:
                    if day == now:
                        STEPS[act](office, wed, dice)
            if now == case.decoy_at and office.mine:
                office.does(office.mine.couple, "change_seats", office.mine.file, wedding=office.mine.number)
            for wed in office.weddings:
                if wed.day == now:
                    _celebrate(office, wed)


WORLD = World(
    "weddings",
    "edges",
    ("wrong_recipient", "omitted_message", "false_belief", "expired_permission", "dead_letter"),
    play,
    author=14,
)
