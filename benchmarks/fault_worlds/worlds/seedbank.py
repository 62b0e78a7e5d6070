"""A bank of seeds: lots are dried, laid into vaults, tested, copied and sent out. Decorated methods that call each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

VAULTS = ("Frostholm", "Kaldur", "Isbrytare", "Nivalis")
KEEPERS = ("Aino", "Birk", "Celeste", "Dov")
GROWERS = ("Ashdown", "Valbona", "Maipo", "Tarnow", "Kisumu")
CROPS = ("barley", "vetch", "sorghum", "flax", "lupin", "teff", "orache", "emmer")


@dataclass
class Lot:
    """A lot of seeds, and what is done with it and found in it."""

    number: str
    crop: str
    warm: int
    cold: int
    damp: float
    weevils: bool = False
    patient: bool = False  # sprouts however it is treated
    certified: bool = False
    dried: float = 99.0
    card: tuple[int, int] = (0, 0)
    skips: bool = False


class Meter:
    """An instrument that tells how damp seeds are."""

    trace_ignore = ("bank",)

    def __init__(self, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = "moisture_meter", "instrument", bank

    @trace_agent_action()
    def read(self, lot: str, turn: int) -> float:
        found = self.bank.readings.pop(lot, None)
        return self.bank.lots[lot].damp if found is None else found


class Keeper:
    """Somebody who treats lots."""

    trace_ignore = ("bank",)

    def __init__(self, name: str, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = name, "keeper", bank

    @trace_agent_action()
    def accept(self, lot: str, crop: str, vault: str) -> str:
        """Clean, dry, smoke against weevils, write the card, lay in."""
        bank, item = self.bank, self.bank.lots[lot]
        self.clean(lot)
        damp = bank.meter.read(lot, bank.now)
        if damp < 0:  # the plug was loose
            damp = bank.meter.read(lot, bank.now)
        while damp > 6:
            self.dry(lot, 48)
            item.damp = round(item.damp * 0.6, 1)
            damp = bank.meter.read(lot, bank.now)
        if not item.certified and not item.skips:
            self.smoke(lot)
            item.weevils = False
        warm, cold = bank.typed.get(lot, (item.warm, item.cold))
        bank.catalogue.write_card(lot, warm, cold)
        if lot in bank.slips:
            bank.catalogue.write_card(lot, item.warm, item.cold)
        bank.vaults[vault].lay_in(lot, bank.free_drawer(vault))
        return "in"

    @trace_agent_action()
    def clean(self, lot: str) -> None: ...

    @trace_agent_action()
    def dry(self, lot: str, hours: int) -> None: ...

    @trace_agent_action()
    def smoke(self, lot: str) -> None: ...

    @trace_agent_action()
    def try_out(self, lot: str, turn: int) -> int:
        """Let fifty seeds of a lot sprout; return how many do."""
        item = self.bank.lots[lot]
        self.bank.vaults[self.bank.places[lot][0]].open_drawer(self.bank.places[lot][1], turn)
        return 3 if item.damp > 8 else 40 + len(lot + item.crop) % 8


class Vault:
    """A cold room with drawers."""

    trace_ignore = ("bank",)

    def __init__(self, name: str, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = name, "vault", bank
        self.drawers: dict[str, str] = {}

    @trace_agent_action()
    def lay_in(self, lot: str, drawer: str) -> None:
        self.drawers[drawer] = lot
        self.bank.places[lot] = (self.agent_id, drawer)

    @trace_agent_action()
    def open_drawer(self, drawer: str, turn: int) -> str:
        lot = self.drawers.get(drawer, "")
        return "crawling" if lot and self.bank.lots[lot].weevils else "sound"

    @trace_agent_action()
    def shift(self, lot: str, drawer: str, into: str) -> None:
        """Take a lot to another drawer, and what lay there to this one."""
        one, other = lot, self.drawers[into]
        self.drawers[drawer], self.drawers[into] = other, one
        for moved, place in ((one, into), (other, drawer)):
            self.bank.places[moved] = (self.agent_id, place)
            if moved not in self.bank.unfiled:
                self.bank.finder.forget(moved)

    @trace_agent_action()
    def hand_out(self, drawer: str, request: str) -> str:
        return self.drawers[drawer]

    @trace_agent_action()
    def thaw(self, drawer: str, turn: int) -> None:
        """Lose what lies in a drawer."""


class Catalogue:
    """The cards."""

    trace_ignore = ("bank",)

    def __init__(self, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = "catalogue", "office", bank

    @trace_agent_action()
    def write_card(self, lot: str, warm_days: int, cold_days: int) -> None:
        self.bank.lots[lot].card = (warm_days, cold_days)

    @trace_agent_action()
    def read_card(self, lot: str, request: str) -> tuple[int, int]:
        return self.bank.lots[lot].card


class Finder:
    """Knows by heart where lots are, and asks only for those that it does not know."""

    trace_ignore = ("bank",)

    def __init__(self, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = "finder", "office", bank
        self.known: dict[str, tuple[str, str]] = {}

    @trace_agent_action()
    def locate(self, lot: str, request: str) -> tuple[str, str]:
        if lot not in self.known:
            self.known[lot] = self.bank.places[lot]
        return self.known[lot]

    @trace_agent_action()
    def forget(self, lot: str) -> None:
        self.known.pop(lot, None)


class Carrier:
    """Takes duplicates to the mountain."""

    trace_ignore = ("bank",)

    def __init__(self, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = "carrier", "carrier", bank

    @trace_agent_action()
    def load(self, lot: str, try_: int) -> str:
        return "no customs paper" if (lot, try_) in self.bank.refused else "loaded"


class Copies:
    """The desk for duplicates: everything in the vaults lies in the mountain, too."""

    trace_ignore = ("bank",)

    def __init__(self, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = "copies_desk", "office", bank
        self.away: set[str] = set()

    @trace_agent_action()
    def duplicate(self, lot: str) -> str:
        """Send a duplicate; what was refused is sent again."""
        bank = self.bank
        if bank.carrier.load(lot, 1) == "loaded":
            self.away.add(lot)
        elif lot not in bank.unasked:
            bank.carrier.load(lot, 2)
            self.away.add(lot)
        return "duplicated"

    @trace_agent_action()
    def bring_back(self, lot: str, turn: int) -> str:
        return "on its way" if lot in self.away else "never arrived there"


class SendingDesk:
    """Answers requests of growers."""

    trace_ignore = ("bank",)

    def __init__(self, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = "sending_desk", "office", bank

    @trace_agent_action()
    def answer(self, request: str, lot: str, grower: str) -> str:
        bank = self.bank
        vault, drawer = bank.finder.locate(lot, request)
        got = bank.vaults[vault].hand_out(drawer, request)
        warm, cold = bank.catalogue.read_card(lot, request)
        return bank.growers[grower].sow(request, bank.lots[got].crop, warm, cold, got)


class Grower:
    """Somebody who asked for seeds, and sows them as the card says."""

    trace_ignore = ("bank",)

    def __init__(self, name: str, bank: Bank) -> None:
        self.agent_id, self.agent_role, self.bank = name, "grower", bank

    @trace_agent_action()
    def sow(self, request: str, crop: str, warm: int, cold: int, label: str) -> str:
        item = self.bank.lots[label]
        good = item.patient or (warm, cold) == (item.warm, item.cold)
        return f"{crop} up" if good else "bare soil"


class Post:
    """The letters that the bank gets."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "letter_box", "office"

    @trace_agent_action()
    def open_letter(self, letter: int, about: str) -> None: ...


@dataclass
class Bank:
    """The bank, and the lot `mine` of the case."""

    case: Case
    now: int = 0
    letters: int = 0
    mine: str = ""
    lots: dict[str, Lot] = field(default_factory=dict)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)
    readings: dict[str, float] = field(default_factory=dict)
    typed: dict[str, tuple[int, int]] = field(default_factory=dict)
    slips: set[str] = field(default_factory=set)
    unfiled: set[str] = field(default_factory=set)
    unasked: set[str] = field(default_factory=set)
    refused: set[tuple[str, int]] = field(default_factory=set)

    def build(self) -> None:
        """Build everything that acts."""
        rng = self.case.rng("people")
        self.vaults = {name: Vault(name, self) for name in VAULTS}
        self.keepers = {name: Keeper(name, self) for name in KEEPERS}
        self.growers = {name: Grower(name, self) for name in GROWERS}
        self.meter, self.catalogue, self.finder = Meter(self), Catalogue(self), Finder(self)
        self.carrier, self.copies = Carrier(self), Copies(self)
        self.desk, self.post = SendingDesk(self), Post()
        self.keeper, self.tester = rng.sample(KEEPERS, 2)
        self.vault, self.grower = rng.choice(VAULTS), rng.choice(GROWERS)
        self.crop, self.wrong = rng.sample(CROPS, 2)

    def free_drawer(self, vault: str) -> str:
        return f"{vault[0]}{len(self.vaults[vault].drawers) + 1:03}"

    def lot(self, rng: Any, crop: str = "", *, mine: bool = False) -> Lot:
        """Let a lot arrive; what will happen to it is drawn now."""
        number = f"A{2100 + 7 * len(self.lots)}"
        warm, cold = rng.sample((10, 20, 30, 45, 60), 2)
        item = Lot(number, crop or rng.choice(CROPS), warm, cold, round(rng.uniform(4.5, 5.9), 1))
        self.lots[number] = item
        luck = rng.random()
        if mine:
            return item
        if luck < 0.2:
            item.damp = round(rng.uniform(9, 14), 1)
        elif luck < 0.35:
            item.weevils = True
        elif luck < 0.5:
            item.certified = True
        elif luck < 0.6:
            self.typed[number] = (cold, warm)  # typed the wrong way round, seen, and typed again
            self.slips.add(number)
        elif luck < 0.66:
            item.patient, self.typed[number] = True, (cold, warm)
        elif luck < 0.74:
            self.readings[number] = -1.0
        if rng.random() < 0.25:
            self.refused.add((number, 1))
        return item

    def write(self, about: str, *texts: str) -> None:
        """A letter arrives, and a user writes about what is in it."""
        self.letters += 1
        self.post.open_letter(self.letters, about)
        fill = {
            "mine": self.mine,
            "vault": self.vault,
            "grower": self.grower,
            "tester": self.tester,
            "crop": self.crop,
            "keeper": self.keeper,
        }
        event = call("letter_box", "open_letter", letter=self.letters)
        self.case.symptom(event, *(text.format(**fill) for text in texts))


def _arrive(bank: Bank, lot: Lot, keeper: str, vault: str) -> None:
    bank.keepers[keeper].accept(lot.number, lot.crop, vault)
    bank.copies.duplicate(lot.number)


def _request(bank: Bank, lot: str, grower: str) -> None:
    """A grower asks for a lot, and tells what came of it."""
    request = f"R{bank.now:03}{lot[-3:]}"
    result = bank.desk.answer(request, lot, grower)
    if result == f"{bank.lots[lot].crop} up":
        return
    bank.case.hop(call("sending_desk", "answer", request=request), call(grower, "sow", request=request))
    if result == "bare soil":
        bank.write(
            "nothing grew",
            "not one of your seeds came up. Not one",
            "{grower} did everything as it stood on the card and has a field of mud",
            "Is {mine} too old? It did not sprout in the field at all, while in your own test it was fine",
            "we at {grower} waited the whole season for nothing",
        )
    else:
        bank.write(
            "wrong plants",
            "this is not what we had asked for, it has the wrong leaves",
            "{grower} wanted {crop} and something quite different stands in their field",
            "your labels must have been mixed up by the printer: lot {mine} is no {crop}",
            "wrong plant!! who packs this? greetings from {grower}",
        )


def _planned_start(bank: Bank, now: int) -> None:
    """What the plan of the case wants at its begin."""
    case = bank.case
    if now == 0 and case.has("stale_cache"):
        one, other = (bank.lot(case.rng(f"lot/{crop}"), crop, mine=True) for crop in (bank.crop, bank.wrong))
        for item in (one, other):
            _arrive(bank, item, bank.keeper, bank.vault)
        bank.mine, bank.second = one.number, other.number
    if now == 1 and case.has("stale_cache"):
        _request(bank, bank.mine, bank.grower)
    if now != case.begin:
        return
    if case.has("stale_cache"):
        if case.strikes("stale_cache", now):
            bank.unfiled.add(bank.mine)
        drawer, into = bank.places[bank.mine][1], bank.places[bank.second][1]
        bank.vaults[bank.vault].shift(bank.mine, drawer, into)
        case.root(call(bank.vault, "shift", lot=bank.mine, drawer=drawer))
        return
    item = bank.lot(case.rng("lot"), bank.crop, mine=True)
    bank.mine = number = item.number
    if case.has("swapped_fields"):
        if case.strikes("swapped_fields", now):
            bank.typed[number] = (item.cold, item.warm)
        case.root(call("catalogue", "write_card", lot=number), call(bank.keeper, "accept", lot=number))
    elif case.has("trusted_tool"):
        item.damp = 12.4
        if case.strikes("trusted_tool", now):
            bank.readings[number] = 5.2
        case.root(call("moisture_meter", "read", lot=number))
        case.hop(call(bank.keeper, "accept", lot=number))
    elif case.has("omitted_step"):
        item.weevils, item.skips = True, case.strikes("omitted_step", now)
        case.root(call(bank.keeper, "accept", lot=number), call("catalogue", "write_card", lot=number))
        case.root(call(bank.keeper, "clean", lot=number), call(bank.vault, "lay_in", lot=number))
    else:
        bank.refused.add((number, 1))
        if case.strikes("swallowed_failure", now):
            bank.unasked.add(number)
        case.root(call("copies_desk", "duplicate", lot=number), call("carrier", "load", lot=number))
    _arrive(bank, item, bank.keeper, bank.vault)


def _planned_end(bank: Bank, now: int) -> None:
    """What lets the symptom appear, if there is one."""
    case = bank.case
    if now != case.end:
        return
    if case.kind in {"swapped_fields", "stale_cache"}:
        _request(bank, bank.mine, bank.grower)
    elif case.has("trusted_tool"):
        _try_out(bank, bank.mine, bank.tester)
    elif case.has("omitted_step"):
        _inspect(bank, bank.vault, bank.places[bank.mine][1])
    else:
        _thaw(bank, bank.mine)


def _try_out(bank: Bank, lot: str, tester: str) -> None:
    if bank.keepers[tester].try_out(lot, bank.now) < 30:
        bank.case.hop(call(tester, "try_out", lot=lot, turn=bank.now))
        bank.write(
            "mould",
            "a whole lot has gone mouldy in {vault}, how can that be",
            "{tester} opened {mine} and it smelt of mushrooms",
            "has the cooling of {vault} failed? 3 of 50 sprout",
            "the seeds are rotten although they had been dried",
        )


def _inspect(bank: Bank, vault: str, drawer: str) -> None:
    if bank.vaults[vault].open_drawer(drawer, bank.now) == "crawling":
        bank.case.hop(call(vault, "open_drawer", drawer=drawer, turn=bank.now))
        bank.write(
            "beetles",
            "there are beetles in the drawers of {vault}!",
            f"in drawer {drawer} of {{vault}} everything is eaten hollow",
            "little holes in every single seed. Did the last visitors carry them in?",
            "something is eating our collection in {vault}",
        )


def _thaw(bank: Bank, lot: str) -> None:
    """A drawer thaws, and its lot is asked back from the mountain."""
    vault, drawer = bank.places[lot]
    bank.vaults[vault].thaw(drawer, bank.now)
    bank.case.trigger(call(vault, "thaw", drawer=drawer, turn=bank.now))
    bank.case.hop(call(vault, "thaw", drawer=drawer, turn=bank.now))
    if bank.copies.bring_back(lot, bank.now) == "never arrived there":
        bank.case.hop(call("copies_desk", "bring_back", lot=lot, turn=bank.now))
        bank.write(
            "lost for good",
            "So the {crop} of my grandparents is gone for ever, and I was told that it was safe in two places",
            "{mine} is lost. The mountain says they never had it",
            "after the thaw in {vault} everything came back except one lot",
            "where is the second half of the seeds that thawed in {vault}? your own list says that it exists",
        )


def _everyday(bank: Bank, now: int) -> None:
    """Arrivals, tests, moves, requests, thaws, set temperatures and letters of every week."""
    case, rng = bank.case, bank.case.rng(f"week/{now}")
    for _ in range(rng.choice((1, 1, 2, 3)) if now else 6):
        _arrive(bank, bank.lot(rng), rng.choice(KEEPERS), rng.choice(VAULTS))
    known = [number for number in bank.lots if number not in {bank.mine, getattr(bank, "second", "")}]
    for _ in range(rng.randint(0, 2)):
        _try_out(bank, rng.choice(known), rng.choice(KEEPERS))
    for _ in range(rng.randint(0, 2)):
        _request(bank, rng.choice(known), rng.choice(GROWERS))
    if rng.random() < 0.5:
        _inspect(bank, *bank.places[rng.choice(known)])
    if rng.random() < 0.2:
        _thaw_other(bank, rng.choice(known))
    if rng.random() < 0.4:
        one, other = rng.sample(known, 2)
        if bank.places[one][0] == bank.places[other][0]:
            bank.vaults[bank.places[one][0]].shift(one, bank.places[one][1], bank.places[other][1])
    if rng.random() < 0.2:
        keeper, degrees = rng.choice(KEEPERS), rng.randint(-22, -17)
        AgentLogger(keeper, "keeper").log_action(
            "set_threshold", {"vault": rng.choice(VAULTS), "degrees": degrees}
        )
    if rng.random() < 0.12:
        AgentLogger(rng.choice(VAULTS), "vault").warning("door stood open", {"minutes": rng.randint(1, 9)})
    if rng.random() < 0.25:
        bank.letters += 1
        bank.post.open_letter(bank.letters, rng.choice(("thanks", "school visit", "bill", "new stamp")))
    if now == case.decoy_at:
        AgentLogger(bank.tester, "keeper").log_action("polish_labels", {"vault": bank.vault})


def _thaw_other(bank: Bank, lot: str) -> None:
    vault, drawer = bank.places[lot]
    bank.vaults[vault].thaw(drawer, bank.now)
    bank.copies.bring_back(lot, bank.now)


def play(case: Case) -> None:
    """Play some seasons, week by week."""
    steps = case.rng("weeks").choice((26, 45, 70, 104))
    case.window(steps)
    bank = Bank(case)
    bank.build()
    for now in range(steps):
        bank.now = now
        with tick(now):
            _planned_start(bank, now)
            _everyday(bank, now)
            _planned_end(bank, now)


WORLD = World(
    "seedbank",
    "spans",
    ("swapped_fields", "trusted_tool", "omitted_step", "swallowed_failure", "stale_cache"),
    play,
    author=14,
)
