"""A circus on tour: evenings in many towns, with a box office, a wardrobe, a store of props and somebody who goes ahead.

Plain classes without any logging, which `instrument` traces; each evening is a tick.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from Agent import AgentLogger, SystemLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

BLOCKS = "ABCDEFG"
SEATS = 40
ACTS = ("Bruno", "Valeras", "Ilka", "Tumblers", "Graziella")
UNHARNESSED = ("Fips", "Dondo")
TOWNS = ("Aurich", "Bremke", "Celle", "Dorsten", "Einbeck", "Fulda", "Goslar", "Hameln", "Idstein", "Jever")
DOORS = ("ring door", "curtain", "stalls")


class BoxOffice:
    """Sells seats, block by block."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: list[str] = []

    def keep_free(self, block: str, use: str) -> int:
        """Take a block out of the sale."""
        self.kept.append(block)
        return SEATS

    def put_on_sale(self, block: str) -> int:
        """Put a block into the sale again."""
        self.kept.remove(block)
        return SEATS

    def sell(self, guests: int) -> dict[str, Any]:
        """Sell from the front to the back, and say how many got no seat."""
        blocks = [block for block in BLOCKS if block not in self.kept]
        return {"blocks": "".join(blocks), "over": max(0, guests - SEATS * len(blocks))}


class CameraCrew:
    """Films for a station, and needs a block for its tripods."""

    def __init__(self, name: str, office: BoxOffice, tour: Tour) -> None:
        self.name, self.office, self.tour = name, office, tour

    def set_up(self, block: str, reel: int) -> str:
        """Bring the tripods in."""
        self.office.keep_free(block, f"reel {reel}")
        return f"two cameras in {block}"

    def pack_up(self, block: str, reel: int) -> str:
        """Bring the tripods out, and give the block back."""
        if reel == self.tour.reel and self.tour.case.strikes("forgotten_undo"):
            self.tour.case.root(
                call("box_office", "keep_free", use=f"reel {reel}"), call(self.name, "pack_up", reel=reel)
            )
        else:
            self.office.put_on_sale(block)
        return "loaded"


class Usher:
    """Seats people."""

    def __init__(self, name: str) -> None:
        self.name = name

    def seat(self, guests: int, blocks: str) -> str:
        """Lead the guests to their seats."""
        return f"{guests} in {len(blocks)} blocks"

    def hear(self, topic: str, town: str) -> str:
        """Listen to a guest."""
        return "free popcorn" if topic != "thanks" else "a bow"

    def send_home(self, guests: int) -> str:
        """Tell guests that there is no room."""
        return "refunded"


class Wardrobe:
    """Sews: jobs of the sort that ranks first are done first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ranks = ["rush", "mend", "new"]
        self.baskets: dict[str, deque[str]] = {sort: deque() for sort in self.ranks}

    def rank(self, first: str, second: str, third: str, day: int) -> None:
        """Say which sort of job comes first from a day on."""
        self.ranks = [first, second, third]

    def take_in(self, job: str, sort: str, owner: str) -> int:
        """Accept a job."""
        self.baskets[sort].append(job)
        return len(self.baskets[sort])

    def sew(self, hours: int) -> list[str]:
        """Do as many jobs as there are hours."""
        done: list[str] = []
        for sort in self.ranks:
            while self.baskets[sort] and len(done) < hours:
                done.append(self.baskets[sort].popleft())
        return done


class Props:
    """Lends harnesses."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.hooks = [f"harness {number}" for number in range(1, count + 1)]

    def lend(self, artist: str) -> str | None:
        """Lend a harness, if one hangs there."""
        return self.hooks.pop(0) if self.hooks else None

    def hang_up(self, harness: str) -> int:
        """Hang a harness up again."""
        self.hooks.append(harness)
        return len(self.hooks)


class Artist:
    """An act in the ring."""

    def __init__(self, name: str, props: Props) -> None:
        self.name, self.props = name, props
        self.way_out = "ring door"

    def leave_by(self, door: str) -> str:
        """Learn which way to leave the ring; the store is on the way of all but one."""
        self.way_out = door
        return f"leaves by {door}"

    def rehearse(self, minutes: int) -> int:
        """Rehearse without a harness."""
        return minutes

    def fly(self, number: int) -> str:
        """Go up in a harness, and bring it back on the way out."""
        harness = self.props.lend(self.name)
        if harness is None:
            return "stays down"
        if self.way_out != "stalls":
            self.props.hang_up(harness)
        return harness

    def enter(self, costume: str) -> str:
        """Walk in with everybody."""
        return "bows"


class Council:
    """The offices of the towns, which let the meadow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.book: dict[int, str] = {}

    def let(self, town: str, evening: int) -> str:
        """Let the meadow of a town for an evening."""
        self.book[evening] = town
        return f"{town[:2].upper()}-{evening:03}"

    def unlock(self, town: str, evening: int) -> bool:
        """Open the gate, if the meadow was let."""
        return self.book.get(evening) == town


class Forerunner:
    """Travels ahead."""

    def __init__(self, name: str, council: Council, tour: Tour) -> None:
        self.name, self.council, self.tour = name, council, tour

    def arrange(self, town: str, card: int) -> str:
        """Arrange the meadow for the evening on the route card."""
        evening = card
        if card == self.tour.case.end and self.tour.case.strikes("off_by_one"):
            evening += 1
            self.tour.case.root(
                call(self.name, "arrange", card=card), call("council", "let", evening=evening, town=town)
            )
        return self.council.let(town, evening)

    def paste(self, town: str, sheets: int) -> int:
        """Paste posters."""
        return sheets


class Wagons:
    """Brings everything to the next town."""

    def __init__(self, name: str, council: Council) -> None:
        self.name, self.council = name, council

    def roll(self, town: str, evening: int) -> str:
        """Drive to a town and onto its meadow."""
        return "on the meadow" if self.council.unlock(town, evening) else "on the verge"

    def wait_outside(self, town: str, hours: int) -> str:
        """Stand at the road."""
        return f"{hours} hours"


TRACED: tuple[tuple[type, str, str], ...] = (
    (BoxOffice, "keep_free put_on_sale sell", "sales"),
    (Usher, "seat hear send_home", "sales"),
    (CameraCrew, "set_up pack_up", "guests"),
    (Wardrobe, "rank take_in sew", "stores"),
    (Props, "lend hang_up", "stores"),
    (Artist, "leave_by rehearse fly enter", "act"),
    (Council, "let unlock", "town"),
    (Forerunner, "arrange paste", "road"),
    (Wagons, "roll wait_outside", "road"),
)
UNTRACED = ("office", "tour", "baskets", "hooks", "props", "book", "council")
for kind, methods, role in TRACED:
    instrument(kind, methods=methods.split(), agent_id="name", agent_role=role, ignore=UNTRACED)


class Tour:
    """One tour, evening by evening; the last evening of the case is a gala."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.evenings = case.rng("evenings").randint(65, 110)
        case.window(self.evenings)
        rng = case.rng("plan")
        self.star, self.other = rng.sample(ACTS, 2)
        self.block = rng.choice("CDEFG")
        self.flights = {
            evening: rng.sample(ACTS, rng.randint(2, 4)) for evening in range(self.evenings)
        }  # who flies when
        for evening in {case.begin, case.end - 1}:
            others = [one for one in self.flights[evening] if one != self.star]
            self.flights[evening] = [*others, self.star]
        self.flights[case.end] = [self.other, *(one for one in ACTS if one not in (self.star, self.other))]
        flown = sum(self.star in self.flights[evening] for evening in range(case.begin, case.end))
        self.office, self.usher = BoxOffice("box_office"), Usher("Madame Rosalie")
        self.crew, self.wardrobe = CameraCrew("camera_crew", self.office, self), Wardrobe("wardrobe")
        self.props, self.council = Props("props", flown), Council("council")
        self.acts = {name: Artist(name, self.props) for name in (*ACTS, *UNHARNESSED)}
        self.corvin, self.wagons = Forerunner("Corvin", self.council, self), Wagons("wagons", self.council)
        self.route = {evening: rng.choice(TOWNS) for evening in range(self.evenings + 12)}
        self.route[case.end + 1] = rng.choice([town for town in TOWNS if town != self.route[case.end]])
        self.mends: dict[str, str] = {}
        self.jobs = self.reels = self.reel = 0

    def job(self, sort: str, owner: str) -> str:
        """Give the wardrobe a job."""
        self.jobs += 1
        name = f"{sort[0]}{self.jobs}"
        self.wardrobe.take_in(name, sort, owner)
        return name

    def film(self, block: str) -> None:
        """Let the crew film from a block."""
        self.reels += 1
        self.crew.set_up(block, self.reels)
        self.crew.pack_up(block, self.reels)

    def is_ours(self, evening: int) -> bool:
        """Tell whether an evening is between the fault and its symptom."""
        return self.case.begin <= evening <= self.case.end

    def day(self, now: int) -> None:
        """Arrange, sew, and film."""
        case, rng = self.case, self.case.rng(f"day/{now}")
        ahead = now + 7
        if not (case.has("off_by_one") and ahead == case.end):
            self.corvin.arrange(self.route[ahead], ahead)
        if rng.random() < 0.5:
            self.corvin.paste(self.route[ahead], rng.randint(20, 90))
        for _ in range(rng.randint(1, 2)):
            self.job("rush", rng.choice(ACTS))
        for _ in range(3):
            self.job("new", rng.choice(ACTS))
        if rng.random() < 0.3:
            owner = rng.choice([*UNHARNESSED, self.star])
            self.mends[owner] = self.job("mend", owner)
        order = rng.choice((("mend", "rush", "new"), ("rush", "mend", "new"), ("rush", "new", "mend")))
        if rng.random() < 0.25 and (now < case.begin or not case.has("starved_queue")):
            self.wardrobe.rank(order[0], order[1], order[2], now)
        block = rng.choice([one for one in BLOCKS if one != self.block or not self.is_ours(now)])
        if rng.random() < 0.3:
            self.film(block)
        elif rng.random() < 0.2:
            self.office.keep_free(block, rng.choice(("wheelchairs", "school class")))
            self.office.put_on_sale(block)
        name = rng.choice([one for one in (*ACTS, *UNHARNESSED) if one != self.star])
        if rng.random() < 0.3:
            self.acts[name].leave_by(rng.choice(DOORS if name in UNHARNESSED else DOORS[:2]))
        if rng.random() < 0.6:
            self.acts[name].rehearse(rng.randint(20, 90))

    def fault(self, now: int) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case = self.case
        if case.has("off_by_one"):
            self.corvin.arrange(self.route[case.end], case.end)
        elif case.has("forgotten_undo"):
            self.reel = self.reels + 1
            self.film(self.block)
        elif case.has("starved_queue"):
            second, third = ("new", "mend") if case.strikes("starved_queue") else ("mend", "new")
            self.wardrobe.rank("rush", second, third, now + 1)
            if case.faulty:
                case.root(call("wardrobe", "rank", day=now + 1))
            self.mends[self.other] = self.job("mend", self.other)
        else:
            door = "stalls" if case.strikes("leaked_resource") else "curtain"
            self.acts[self.star].leave_by(door)
            if case.faulty:
                case.root(call(self.star, "leave_by", door=door))

    def show(self, now: int) -> None:
        """Drive, sell, fly and bow."""
        case, rng, town = self.case, self.case.rng(f"show/{now}"), self.route[now]
        is_gala = now == case.end or (now % 9 == 4 and not self.is_ours(now))
        if now >= 7 and self.wagons.roll(town, now) != "on the meadow":
            case.hop(call("council", "unlock", town=town, evening=now))
            self.wagons.wait_outside(town, 5)
            self.case.symptom(
                call("wagons", "wait_outside", town=town),
                f"We stand on the road before {town} with all animals, and nobody lets us in.",
                f"The meadow in {town} is locked, and council says that this is not our evening.",
                f"Why could wagons not get onto the grass at {town}? The posters show tonight.",
            )
        guests = SEATS * len(BLOCKS) - rng.randint(0, 9) if is_gala else rng.randint(60, 150)
        sold = self.office.sell(guests)
        self.usher.seat(guests - sold["over"], sold["blocks"])
        if sold["over"]:
            case.hop(call("camera_crew", "pack_up", reel=self.reel))
            case.hop(call("box_office", "sell", blocks=sold["blocks"], over=sold["over"]))
            case.trigger(call("box_office", "sell", blocks=sold["blocks"], over=sold["over"]))
            self.usher.send_home(sold["over"])
            self.case.symptom(
                call("Madame Rosalie", "send_home", guests=sold["over"]),
                f"{sold['over']} guests of the gala in {town} had to go home, and there were empty benches.",
                f"Madame Rosalie had to turn families away in {town}. We have more seats than that!",
                f"How could the gala be oversold? A whole part of the tent stayed dark in {town}.",
            )
        for name in self.flights[now]:
            did = self.acts[name].fly(now)
            if (
                name == self.star
                and self.is_ours(now)
                and case.strikes("leaked_resource")
                and len(case.roots) < 4
            ):
                case.root(call(name, "fly", number=now))
            if did == "stays down":
                case.hop(call("props", "lend", artist=name, result=None))
                self.case.symptom(
                    call(name, "fly", number=now),
                    f"{name} did not go up in {town}, and the public whistled.",
                    f"The flying number in {town} was dropped because nothing was there to hang on.",
                    f"Where is all the gear from props? In {town} nobody could be secured.",
                )
        self.wardrobe.sew(4 + rng.randint(0, 1) * (not self.is_ours(now)))
        if is_gala:
            self.bow(town, now)

    def bow(self, town: str, now: int) -> None:
        """Let all acts enter in their best costumes; one that is not mended is seen by all."""
        waiting = set(self.wardrobe.baskets["mend"])
        for name in sorted(self.acts, key=lambda one: one != self.other):
            is_torn = self.mends.get(name) in waiting and name == self.other
            self.acts[name].enter("rehearsal dress" if is_torn else f"gala {now}")
            if is_torn:
                self.case.hop(call(name, "enter", costume="rehearsal dress"))
                self.usher.hear("costumes", town)
                self.case.symptom(
                    call("Madame Rosalie", "hear", topic="costumes", town=town),
                    f"{name} came into the gala at {town} in practice clothes, which looked shabby.",
                    f"Why was the dress of {name} not ready? It had been handed in long ago.",
                    f"Somebody walked in without a proper costume in {town}, the press noticed it.",
                    f"A torn suit still lies in a basket, and the gala in {town} was yesterday.",
                )

    def night(self, now: int) -> None:
        """Note small troubles and settings."""
        rng = self.case.rng(f"night/{now}")
        if rng.random() < 0.15:
            AgentLogger("wagons", "road").warning(f"tyre of wagon {rng.randint(1, 14)} soft, pumped up")
        if rng.random() < 0.1 or now == self.case.decoy_at:
            AgentLogger("box_office", "sales").error("card reader timed out, second try went through")
        if rng.random() < 0.3:
            self.usher.hear(rng.choice(("thanks", "draught", "popcorn", "loud")), self.route[now])
        if rng.random() < 0.3:
            SystemLogger("office").log_config("ticket_price", 18, rng.choice((16, 18, 20, 22)))
        if now == self.case.decoy_at:
            self.film("A")
            self.acts["Fips"].leave_by("stalls")

    def travel(self) -> None:
        """Play all evenings."""
        for now in range(self.evenings):
            with tick(now):
                self.day(now)
                if now == self.case.begin:
                    self.fault(now)
                self.show(now)
                self.night(now)


def play(case: Case) -> None:
    """Play one tour."""
    Tour(case).travel()


WORLD = World(
    "bigtop", "spans", ("forgotten_undo", "leaked_resource", "starved_queue", "off_by_one"), play, author=25
)
