"""A mint: silver is bought, weighed, melted with copper, cut on two lines, and sent to a bank in bags.

Functions with typed loggers for actions, decisions, interactions, metrics, states, settings; no ticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

LINES = {"east line": "adjuster Falk", "west line": "adjuster Greta"}
METALS = ("silver", "copper", "nickel", "tin")
SELLERS = ("Goldsmith Aurel", "Widow Brandt", "House of Cavendish", "Pawnshop Dietz")
CLERKS = ("clerk Hopp", "clerk Ilse")
MELTER, ASSAYER, BANK, STEWARD = "melter Jonas", "assayer Karin", "bank", "vault steward"
AUDITOR, PAYMASTER, COUNTING = "auditor", "paymaster", "counting room"
ROLES = {
    **dict.fromkeys(LINES, "line"),
    **dict.fromkeys(LINES.values(), "adjuster"),
    **dict.fromkeys(SELLERS, "seller"),
    **dict.fromkeys(CLERKS, "clerk"),
}
TARGET, LIMIT, FINE, OUNCE = 8000, 120, 0.9, 31.1035


@dataclass
class Ingot:
    """An ingot on the shelf: what it weighs, and what is noted on its slip."""

    name: str
    grams: float
    noted: float


@dataclass
class Account:
    """What a seller was paid, what it should have been, and the part of a penny that is still owed."""

    paid: int = 0
    earned: float = 0.0
    rest: float = 0.0


class Mint:
    """The mint, what is true in it, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.now, self.last = case, 0, dict.fromkeys("BDIT", case.seed % 400)
        self.turns = case.rng("turns").choice((30, 60, 100, 130))
        slow = case.has("slow_drift") or case.has("rounding_leak")
        case.window(self.turns, 6 if slow else 1)
        rng = case.rng("plan")
        self.line, self.metal, self.seller = rng.choice(list(LINES)), rng.choice(METALS), rng.choice(SELLERS)
        self.sign = rng.choice((-1, 1))
        self.off = dict.fromkeys(LINES, 0.0)
        self.book = {metal: rng.randint(4000, 9000) for metal in METALS}
        self.vault = dict(self.book)
        self.accounts = {seller: Account() for seller in SELLERS}
        self.shelf: list[Ingot] = []
        self.mine: Ingot | None = None
        self.wrong: list[str] = []

    def number(self, letter: str) -> str:
        """Return the next number of a bag, a delivery, an ingot or a turn."""
        self.last[letter] += 1
        return f"{letter}{self.last[letter]:04}"

    def act(self, who: str, what: str, /, **data: Any) -> str:
        """Record what somebody does."""
        return AgentLogger(who, ROLES.get(who, who.split(maxsplit=1)[0])).log_action(what, data)

    def measure(self, who: str, what: str, value: float, unit: str, /, **data: Any) -> str:
        """Record what somebody reads off an instrument."""
        return PerformanceLogger(who, ROLES.get(who, who.split(maxsplit=1)[0])).log_metric(
            what, value, unit, data
        )

    def hand(self, source: str, target: str, what: str, content: str, /, **data: Any) -> str:
        """Record what one hands to another."""
        return InteractionLogger(source, ROLES.get(source, source.split(maxsplit=1)[0])).log_interaction(
            what, source, target, content, data
        )

    def drift(self, line: str) -> None:
        """Let the scale of a line move a little, if it does, from the oiling on."""
        case = self.case
        if line == self.line and case.strikes("slow_drift") and self.now >= case.begin:
            self.off[line] += self.sign * (LIMIT + 25) / (case.end - case.begin)


def note_ingot(mint: Mint, grams: float, *, in_ounces: bool, is_mine: bool = False) -> Ingot:
    """Weigh an ingot and write a slip; the old balance shows ounces, and the assayer converts them."""
    case, ingot = mint.case, Ingot(mint.number("I"), grams, grams)
    shown = round(grams / OUNCE, 2) if in_ounces else grams
    laid = mint.act(ASSAYER, "lay_on_balance", ingot=ingot.name, balance="old" if in_ounces else "new")
    read = mint.measure(ASSAYER, "balance", shown, "as shown", ingot=ingot.name)
    ingot.noted = shown
    if in_ounces and not (is_mine and case.strikes("wrong_unit", mint.now)):
        ingot.noted = round(shown * OUNCE, 1)
    slip = mint.act(ASSAYER, "write_slip", ingot=ingot.name, weight=ingot.noted)
    if is_mine:
        case.root(slip, read, laid)
    shelved = mint.hand(ASSAYER, MELTER, "put_on_shelf", ingot.name, weight=ingot.noted)
    if is_mine:
        case.hop(shelved)
    return ingot


def melt(mint: Mint, ingot: Ingot) -> float:
    """Melt an ingot with a ninth of copper, as its slip says; return the fineness."""
    case = mint.case
    copper = round(ingot.noted / 9, 2)
    took = mint.act(MELTER, "take_ingot", ingot=ingot.name)
    chose = AgentLogger(MELTER, "melter").log_decision(
        "copper", {"ingot": ingot.name, "grams": copper}, reasoning="a ninth of the slip"
    )
    poured = mint.act(MELTER, "pour", ingot=ingot.name, strips=3 + len(ingot.name))
    if ingot is mint.mine:
        case.trigger(took)
        case.hop(chose, poured)
    return ingot.grams / (ingot.grams + copper)


def strike_bag(mint: Mint, line: str, fineness: float) -> None:
    """Cut blanks until the scale shows the right weight, strike them, and send a bag to the bank."""
    case, bag = mint.case, mint.number("B")
    rng = case.rng(f"bag/{bag}")
    shown = TARGET + rng.randint(-14, 14)
    mint.drift(line)
    adjusted = mint.measure(LINES[line], "blank", shown, "mg", line=line, bag=bag)
    true = shown - mint.off[line]
    if mint.off[line] and len(mint.wrong) < 3:
        mint.wrong.append(adjusted)
        case.root(adjusted)
    cut = mint.act(line, "cut_blanks", bag=bag, strip_microns=round(true / 5.2 + rng.uniform(-60, 60)))
    mint.act(line, "strike", bag=bag, coins=rng.choice((400, 500, 800)))
    sent = mint.hand(line, BANK, "send_bag", bag, seal=rng.randint(1000, 9999))
    weight = mint.measure(BANK, "mean_weight", round(true + rng.uniform(-9, 9), 1), "mg", bag=bag)
    assay = mint.measure(BANK, "fineness", round(fineness + rng.uniform(-0.001, 0.001), 4), "share", bag=bag)
    if abs(true - TARGET) > LIMIT:
        case.hop(cut, weight)
        case.symptom(
            mint.act(BANK, "return_bag", bag=bag),
            "The slot machines spit out every new coin, our customers are furious",
            f"Bag {bag} does not weigh what it should, we are sending it back",
            f"Something is off with the coins of the {line}, two of them do not balance two old ones",
        )
    elif abs(fineness - FINE) > 0.02:
        case.hop(sent, assay)
        case.symptom(
            mint.act(BANK, "return_bag", bag=bag),
            f"The coins of {bag} can be bent between two fingers, this is no proper alloy",
            "Far too soft and too white: what have you put into these coins?",
            "Our touchstone says nearly pure silver, and we have paid for a coin of nine tenths",
        )
    else:
        mint.act(BANK, "accept_bag", bag=bag)


def post(mint: Mint, metal: str, change: int, clerk: str) -> None:
    """Post one change to the book of a metal."""
    read = mint.book[metal]
    mint.act(clerk, "read_book", metal=metal, grams=read)
    mint.vault[metal] += change
    mint.book[metal] = read + change
    mint.act(clerk, "write_book", metal=metal, grams=mint.book[metal])


def post_two(
    mint: Mint, metal: str, changes: tuple[int, int], clerks: list[str], *, is_mine: bool = False
) -> None:
    """Post two changes at one time; who comes second looks again before writing."""
    case, (one, other) = mint.case, clerks
    read = mint.book[metal]
    first = mint.act(one, "read_book", metal=metal, grams=read)
    mint.act(one, "count_bars", metal=metal, bars=abs(changes[0]) // 7)
    post(mint, metal, changes[1], other)
    if not (is_mine and case.strikes("lost_update", mint.now)):
        read = mint.book[metal]
        mint.act(one, "read_book", metal=metal, grams=read)
    mint.vault[metal] += changes[0]
    mint.book[metal] = read + changes[0]
    wrote = mint.act(one, "write_book", metal=metal, grams=mint.book[metal])
    if is_mine:
        case.root(wrote, first)


def take_stock(mint: Mint, metal: str) -> None:
    """Weigh what is in the vault and compare it with the book."""
    case = mint.case
    counted = mint.measure(STEWARD, "in_vault", mint.vault[metal], "g", metal=metal)
    told = mint.hand(STEWARD, AUDITOR, "tell_stock", metal, grams=mint.vault[metal])
    if mint.vault[metal] == mint.book[metal]:
        mint.act(AUDITOR, "sign_audit", metal=metal, missing=0)
        return
    case.hop(counted, told)
    case.symptom(
        mint.act(AUDITOR, "refuse_audit", metal=metal, missing=mint.book[metal] - mint.vault[metal]),
        f"The {metal} in the vault is not what the book says, and I am asked who stole it",
        f"I cannot sign for the {metal}: {abs(mint.book[metal] - mint.vault[metal])} grams do not add up",
        "The scales are right, the doors were locked, and still book and cellar do not agree",
    )


def buy(mint: Mint, seller: str) -> None:
    """Buy scrap silver and pay whole pennies; what is left of a penny is kept for the next time."""
    case, delivery, account = mint.case, mint.number("D"), mint.accounts[seller]
    rng = case.rng(f"buy/{delivery}")
    ounces, price = rng.randint(3, 60) / 4, rng.choice((55.3, 56.1, 57.7, 58.9))
    worth = ounces * price
    brought = mint.hand(seller, PAYMASTER, "bring_scrap", delivery, ounces=ounces)
    pence = int(worth + account.rest)
    account.rest = worth + account.rest - pence
    if seller == mint.seller and case.strikes("rounding_leak") and mint.now >= case.begin:
        account.rest = 0.0
    account.paid += pence
    account.earned += worth
    paid = mint.act(PAYMASTER, "pay", delivery=delivery, seller=seller, price=price, pence=pence)
    if seller == mint.seller and case.has("rounding_leak") and mint.now >= case.begin and len(mint.wrong) < 3:
        mint.wrong.append(paid)
        case.root(paid)
        case.hop(brought)
    if rng.random() < 0.3:
        mint.act(seller, "put_receipt_away", delivery=delivery, drawer=rng.randint(1, 9))


def state_account(mint: Mint, seller: str) -> None:
    """Draw up a statement, which the seller compares with the receipts."""
    case, account = mint.case, mint.accounts[seller]
    drawn = mint.act(COUNTING, "draw_up_statement", seller=seller, pence=account.paid)
    mint.hand(COUNTING, seller, "post_statement", seller, pence=account.paid)
    if account.earned - account.paid < 2:
        mint.act(seller, "file_statement", pence=account.paid)
        return
    case.hop(drawn)
    case.symptom(
        mint.act(seller, "object", pence=account.paid),
        f"By my receipts I am short of {account.earned - account.paid:.0f} pence, a little on every sale",
        f"{seller} disputes the statement: each line looks right, and the sum is too small",
        "I have added it up three times. You owe me more than you paid, not much, but always in your favour.",
    )


def begin(mint: Mint) -> None:
    """Do what the case is about, well or badly."""
    case, rng = mint.case, mint.case.rng("begin")
    if case.has("slow_drift"):
        case.root(mint.act(LINES[mint.line], "oil_scale", line=mint.line, drops=rng.randint(1, 4)))
    elif case.has("wrong_unit"):
        mint.mine = note_ingot(mint, round(rng.uniform(280, 900), 1), in_ounces=True, is_mine=True)
    elif case.has("lost_update"):
        changes = rng.randint(40, 400), rng.randint(40, 400)
        post_two(mint, mint.metal, changes, rng.sample(CLERKS, 2), is_mine=True)
    else:
        ruled = mint.act(PAYMASTER, "rule_new_page", seller=mint.seller, columns=rng.randint(4, 6))
        case.root(ruled)
        buy(mint, mint.seller)


def end(mint: Mint) -> None:
    """Let somebody come upon it."""
    if mint.case.has("lost_update"):
        take_stock(mint, mint.metal)
    elif mint.case.has("rounding_leak"):
        state_account(mint, mint.seller)
    elif mint.mine is not None:
        strike_bag(mint, mint.line, melt(mint, mint.mine))


def everyday(mint: Mint) -> None:
    """Do what belongs to any turn."""
    case, rng = mint.case, mint.case.rng(f"turn/{mint.now}")
    is_open = case.begin <= mint.now < case.end
    for line, adjuster in LINES.items():
        if rng.random() < 0.15:
            mint.act(adjuster, "oil_scale", line=line, drops=rng.randint(1, 4))
        if rng.random() < 0.25:
            mint.act(adjuster, "set_to_zero", line=line)
    for _ in range(rng.randint(1, 3)):
        grams = round(rng.uniform(18, 60) if rng.random() < 0.35 else rng.uniform(200, 900), 1)
        mint.shelf.append(note_ingot(mint, grams, in_ounces=rng.random() < 0.4))
    for _ in range(rng.randint(1, 2)):
        metal, change = rng.choice(METALS), rng.randint(-300, 400)
        if rng.random() < 0.3 or mint.now == case.decoy_at:
            post_two(mint, metal, (change, rng.randint(-200, 300)), rng.sample(CLERKS, 2))
        else:
            post(mint, metal, change, rng.choice(CLERKS))
    metal, seller = rng.choice(METALS), rng.choice(SELLERS)
    if rng.random() < 0.3 and not (is_open and metal == mint.metal and case.has("lost_update")):
        take_stock(mint, metal)
    for one in SELLERS:
        if rng.random() < (0.95 if one == mint.seller else 0.4):
            buy(mint, one)
            if one == mint.seller:
                buy(mint, one)
    if rng.random() < 0.3 and not (is_open and seller == mint.seller and case.has("rounding_leak")):
        state_account(mint, seller)
    if rng.random() < 0.35:
        mint.act(PAYMASTER, "rule_new_page", seller=rng.choice(SELLERS), columns=rng.randint(4, 6))
    if rng.random() < 0.3:
        name, value = rng.choice(("bell", "lamp_oil", "guard_round", "forge_draught")), rng.randint(1, 9)
        SystemLogger("mint").log_config(name, 5, value)
    if rng.random() < 0.3:
        AgentLogger(MELTER, "melter").log_state_change({"fire": "low"}, {"fire": "high"}, trigger="new coal")
    if rng.random() < 0.15 or mint.now == case.decoy_at:
        AgentLogger(rng.choice(list(LINES)), "line").warning(
            "a die cracked, put in the spare one", {"die": 7}
        )
    if mint.now == case.decoy_at:
        AgentLogger(COUNTING, "counting").error("ink on a page, copied it", {"page": rng.randint(1, 99)})


def play(case: Case) -> None:
    """Play some weeks of turns."""
    mint = Mint(case)
    for now in range(mint.turns):
        mint.now = now
        everyday(mint)
        if now == case.begin:
            begin(mint)
        for line in LINES:
            ingot = mint.shelf.pop(0) if mint.shelf else note_ingot(mint, 500.0, in_ounces=False)
            strike_bag(mint, line, melt(mint, ingot))
        if now == case.end:
            end(mint)


FAULTS = ("slow_drift", "lost_update", "rounding_leak", "wrong_unit")
WORLD = World("mint", "bare", FAULTS, play, 30)
