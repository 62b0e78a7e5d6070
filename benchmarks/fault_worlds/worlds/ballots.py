"""A hall in which ballots are counted: boxes, tables, entries, totals. Single actions in order, without ticks or links."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger
from benchmarks.fault_worlds.kit import Case, World

ROUNDS = 80
PARTIES = ("amber", "teal", "plum")
TABLES = tuple(f"table_{number}" for number in range(1, 8))
FIRST = ("Hollow", "Miller", "Castle", "Garden", "River", "Chestnut", "Market", "Tanner", "Abbey", "Harrow")
SECOND = (
    "Lane",
    "Gate",
    "Row",
    "Cross",
    "Green",
    "Yard",
    "Bank",
    "End",
    "Field",
    "Rise",
    "Court",
    "Steps",
    "Close",
)


@dataclass
class District:
    """A polling district: who may vote there, what was entered, and when it is announced."""

    name: str
    voters: int
    boxes: int
    announced: int
    noted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTIES, 0))
    entered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTIES, 0))
    marked: bool = False


@dataclass
class Box:
    """A box of ballots on its way through the hall."""

    number: str
    district: District
    votes: dict[str, int]
    stuck: int
    runner: str
    cellar: int
    table: str = ""
    piles: dict[str, int] = field(default_factory=dict)
    left_inside: int = 0
    marked: bool = False
    seen_free: list[str] = field(default_factory=list)
    looked: str = ""
    placed: str = ""
    counted: str = ""


class Hall:
    """One evening in the hall."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(ROUNDS, 1)
        self.rng = case.rng("boxes")
        names = [f"{one} {two}" for one in FIRST for two in SECOND]
        self.rng.shuffle(names)
        self.names = iter(names)
        roles = dict.fromkeys(TABLES, "counting table")
        roles |= dict.fromkeys(("runner_1", "runner_2", "runner_3", "runner_4"), "runner")
        roles |= dict.fromkeys(("entry_1", "entry_2", "entry_3"), "entry")
        roles |= {f"observer_{party}": "observer" for party in PARTIES}
        roles |= {
            "big_board": "board",
            "head_officer": "officer",
            "cellar_keeper": "cellar",
            "porter": "house",
        }
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.talk = InteractionLogger()
        self.announcements: dict[int, list[District]] = defaultdict(list)
        self.cellar: dict[int, list[Box]] = defaultdict(list)
        self.boxes = 0

    def district(self, now: int, boxes: int, announced: int) -> list[Box]:
        rng = self.rng
        district = District(next(self.names), 0, boxes, announced)
        self.announcements[announced].append(district)
        made = []
        for _ in range(boxes):
            self.boxes += 1
            size = rng.randint(180, 320)
            amber = rng.randint(size // 5, size // 2)
            teal = rng.randint(size // 8, size // 3)
            made.append(
                Box(
                    f"B{self.boxes:03}",
                    district,
                    {"amber": amber, "teal": teal, "plum": size - amber - teal},
                    rng.randint(9, 40) if rng.random() < 0.12 else 0,
                    f"runner_{rng.randint(1, 4)}",
                    now + rng.randint(1, 30),
                )
            )
        district.voters = round(
            sum(sum(box.votes.values()) + box.stuck for box in made) / rng.uniform(0.66, 0.93)
        )
        return made

    # One box through the hall, stage by stage

    def bring(self, box: Box) -> None:
        self.log[box.runner].log_action(
            "bring_box", {"box": box.number, "district": box.district.name, "seal": "whole"}
        )

    def look(self, box: Box, busy: set[str]) -> None:
        box.seen_free = [table for table in TABLES if table not in busy]
        box.looked = self.log[box.runner].log_action(
            "look_for_table", {"for_box": box.number, "free": box.seen_free}
        )

    def put(self, box: Box, table: str) -> None:
        box.table = table
        box.placed = self.log[box.runner].log_action("tip_out_box", {"box": box.number, "table": table})

    def tip_out(self, boxes: list[Box], pair: tuple[Box, ...], together: bool) -> None:
        """Bring each box to a free table; the boxes of a pair are looked after side by side if `together`."""
        busy: set[str] = set()
        waiting = [box for box in boxes if box not in pair]
        if pair and together:
            for box in pair:
                self.look(box, busy)
            for box in pair:
                wanted = (
                    box.seen_free[0]
                    if pair[0].marked
                    else box.seen_free[len(box.seen_free) - 1 - pair.index(box)]
                )
                self.put(box, wanted)
                busy.add(wanted)
        else:
            waiting = [*pair, *waiting]
        for box in waiting:
            self.look(box, busy)
            self.put(box, box.seen_free[0])
            busy.add(box.table)

    def count(self, box: Box, boxes: list[Box]) -> None:
        """Sort what lies on the table; two boxes on one table end up mostly in the piles of the first."""
        mixed = [other for other in boxes if other.table == box.table and other is not box]
        piles = dict(box.votes)
        for other in mixed:
            first = box.number < other.number
            for party in PARTIES:
                extra = round(0.8 * other.votes[party]) if first else -round(0.8 * box.votes[party])
                piles[party] += extra
        box.piles = piles
        box.counted = self.log[box.table].log_action("count_piles", {"box": box.number, **box.piles})
        if mixed:
            self.case.hop(box.counted)

    def look_inside(self, box: Box) -> None:
        struck = box.marked and self.case.strikes("omitted_step")
        box.left_inside = box.stuck
        if not struck:
            self.log[box.table].log_action("look_inside", {"box": box.number, "found": box.stuck})
            if box.stuck:
                box.piles["plum"] += box.stuck
                self.log[box.table].log_action("count_rest", {"box": box.number, "plum": box.stuck})
            box.left_inside = 0
        closed = self.log[box.table].log_action("close_box", {"box": box.number})
        if struck:
            self.case.root(closed, box.counted)

    def enter(self, box: Box) -> None:
        rng, case = self.rng, self.case
        clerk = self.log[f"entry_{rng.randint(1, 3)}"]
        observer = rng.choice(PARTIES)
        self.talk.log_interaction(
            "read_out", source_id=box.table, target_id=clerk.agent_id, data={"box": box.number}
        )
        figures = dict(box.piles)
        for party in PARTIES:
            box.district.noted[party] += box.piles[party]
        if box.marked and case.strikes("swapped_fields"):
            figures["amber"], figures["teal"] = figures["teal"], figures["amber"]
        entered = self.write(clerk, box, figures)
        if box.marked and case.strikes("swapped_fields"):
            case.root(entered[0])
            case.hop(entered[1])
        if rng.random() < 0.12:
            clerk.log_action("take_back_entry", {"box": box.number, "because": "wrong page"})
            self.log["big_board"].log_action(
                "subtract",
                {"district": box.district.name, "box": box.number, "ballots": sum(figures.values())},
            )
            for party in PARTIES:
                box.district.entered[party] -= figures[party]
            self.write(clerk, box, figures)
        if box.marked and case.has("doubled_act"):
            clerk.log_action("answer_phone", {"minutes": 2})
            if case.strikes("doubled_act"):
                again = self.write(clerk, box, figures)
                case.root(*again)
                case.hop(again[1])
        if rng.random() < 0.2:
            self.log[f"observer_{observer}"].log_action("nod", {"table": box.table})

    def write(self, clerk: AgentLogger, box: Box, figures: dict[str, int]) -> tuple[str, str]:
        entered = clerk.log_action("enter_box", {"box": box.number, "district": box.district.name, **figures})
        for party in PARTIES:
            box.district.entered[party] += figures[party]
        added = self.log["big_board"].log_action(
            "add", {"district": box.district.name, "box": box.number, "ballots": sum(figures.values())}
        )
        return entered, added

    # Results

    def announce(self, district: District) -> None:
        ballots = sum(district.entered.values())
        percent = round(100 * ballots / district.voters, 1)
        said = self.log["head_officer"].log_action(
            "announce",
            {
                "district": district.name,
                **district.entered,
                "may_vote": district.voters,
                "turnout_percent": percent,
            },
        )
        if ballots > district.voters:
            self.case.symptom(
                said,
                f"{district.name} has more votes than people who may vote there. head_officer read it out without blinking.",
                f"{percent} percent turnout in {district.name}? That cannot be.",
                "A turnout of far more than a hundred percent was read out this evening.",
            )
        watcher = f"observer_{self.case.rng(district.name).choice(PARTIES)}"
        compared = self.log[watcher].log_action(
            "compare_notes",
            {
                "district": district.name,
                "heard": [district.noted[party] for party in PARTIES],
                "announced": [district.entered[party] for party in PARTIES],
            },
        )
        if district.noted != district.entered:
            self.case.hop(said)
            self.case.symptom(
                compared,
                f"{watcher} protests: in {district.name} the wrong list is in front, everybody at the tables heard it differently.",
                f"The figures announced for {district.name} are not those that were read out at the table.",
                "Somewhere amber was given the votes of teal and the other way round.",
            )

    def store(self, box: Box) -> None:
        carried = self.log[box.runner].log_action("carry_down", {"box": box.number})
        if box.marked and self.case.has("omitted_step"):
            self.case.trigger(carried)
            self.case.hop(carried)
        found = self.log["cellar_keeper"].log_action(
            "turn_upside_down", {"box": box.number, "ballots": box.left_inside}
        )
        if box.left_inside:
            self.case.symptom(
                found,
                f"{box.left_inside} votes fell out of {box.number} when cellar_keeper stacked it away.",
                f"How can there still be ballots in {box.number}? Its result has long been read out.",
                "Uncounted ballots have turned up in the cellar.",
            )

    # Everyday life

    def everyday(self, now: int) -> None:
        rng = self.case.rng(f"everyday/{now}")
        if rng.random() < 0.3:
            setting, values = rng.choice(
                (("lamps", (2, 3, 4)), ("microphone", (5, 6, 7)), ("door", ("open", "shut")))
            )
            old, new = rng.sample(values, 2)
            self.log["porter"].log_state_change({setting: old}, {setting: new}, trigger="asked to")
        if rng.random() < 0.25:
            self.log["porter"].log_action(
                rng.choice(
                    (
                        "bring_coffee",
                        "empty_bin",
                        "fetch_chair",
                        "sharpen_pencils",
                        "mop_floor",
                        "count_guests",
                    )
                ),
                {"minutes": rng.randint(2, 12)},
            )
        if rng.random() < 0.1:
            clerk = self.log[f"entry_{rng.randint(1, 3)}"]
            clerk.warning("page is stuck", {"printer": rng.randint(1, 2)})
            clerk.info("page came out", {"printer": 1})
        if rng.random() < 0.2:
            clerk = self.log[f"entry_{rng.randint(1, 3)}"]
            clerk.log_action("answer_phone", {"minutes": rng.randint(1, 5)})
        if now == self.case.decoy_at:
            self.log["porter"].warning("lights flicker", {"seconds": 3})
            self.talk.log_interaction(
                "argue", source_id="observer_plum", target_id="observer_amber", data={"about": "chairs"}
            )

    def round(self, now: int) -> None:
        case, rng = self.case, self.rng
        self.everyday(now)
        boxes: list[Box] = []
        pair: tuple[Box, ...] = ()
        together = False
        marked: Box | None = None
        if now == case.begin:
            if case.has("race"):
                one = self.district(now, 1, case.end)[0]
                two = self.district(now, 1, min(ROUNDS - 1, case.end + 2))[0]
                one.runner, two.runner = "runner_2", "runner_4"
                one.marked = two.marked = True
                for box in (one, two):
                    box.district.voters = round((sum(box.votes.values()) + box.stuck) / 0.91)
                pair, together = (one, two), case.strikes("race", now)
                boxes.extend(pair)
            else:
                made = self.district(now, 2 if case.has("doubled_act") else 1, case.end)
                marked = made[-1]
                marked.marked = True
                if case.has("omitted_step"):
                    marked.stuck, marked.cellar = 27, case.end
                if case.has("swapped_fields"):
                    marked.votes["amber"] = marked.votes["teal"] + 41
                boxes.extend(made)
                total = sum(sum(box.votes.values()) + box.stuck for box in made)
                marked.district.voters = round(total / 0.91)
        if rng.random() < 0.75:
            lag = round(math.exp(rng.uniform(0, math.log(40))))
            boxes.extend(self.district(now, rng.randint(1, 3), now + lag))
        if not pair and len(boxes) > 2 and now % 3 == 0:
            pair, together = (boxes[-1], boxes[-2]), True
            if pair[0].runner == pair[1].runner:
                pair = ()
        for box in boxes:
            self.bring(box)
        self.tip_out(boxes, pair, together)
        if pair and pair[0].marked and together:
            case.root(pair[1].placed, pair[0].placed, pair[1].looked)
        for box in boxes:
            self.count(box, boxes)
        for box in boxes:
            self.look_inside(box)
        for box in boxes:
            self.enter(box)
            self.cellar[box.cellar].append(box)
        for district in self.announcements.pop(now, ()):
            self.announce(district)
        for box in self.cellar.pop(now, ()):
            self.store(box)


def play(case: Case) -> None:
    """Play one evening."""
    hall = Hall(case)
    for now in range(ROUNDS):
        hall.round(now)


WORLD = World("ballots", "bare", ("doubled_act", "swapped_fields", "omitted_step", "race"), play, author=4)
