"""A town library: holds, transfers, fines and members' records at five branches. Each event names its causes."""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

DAYS = 110
BRANCHES = ("north", "harbour", "mill", "hill", "park")
LAPSE_DAYS = 9
BLOCKED_FROM_CENTS = 500


class Library:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("town")
        roles = {f"desk_{branch}": "desk" for branch in BRANCHES}
        roles |= {"van_red": "van", "van_blue": "van", "catalogue": "catalogue", "accounts": "accounts"}
        self.logs = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.system = SystemLogger("library")
        self.fines = {f"m{number:03}": self.rng.choice((0, 0, 40, 120)) for number in range(90)}
        self.born = {member: self.rng.randint(1931, 2011) for member in self.fines}
        self.waiting: dict[str, tuple[int, str, str, str]] = {}  # member -> day, copy, desk, shelving event
        self.has_book: set[str] = set()
        self.pickups: list[tuple[int, str, str, str]] = []
        self.parked: list[tuple[str, str, str, str, str]] = []
        self.merged: dict[str, tuple[str, str]] = {}
        self.queue: list[tuple[str, str]] = []
        self.copies = 0
        self.day = 0
        plan = case.rng("plan")
        self.guest, self.other = plan.sample(sorted(self.fines)[60:], 2)
        self.fines[self.guest] = 0
        self.fines[self.other] = 740
        self.near, self.far, self.third = plan.sample(BRANCHES, 3)
        case.window(DAYS)

    def did(self, agent: str, action: str, causes: Any = None, **data: Any) -> str:
        return self.logs[agent].log_action(action, data, causes=causes or None)

    def ordinary_member(self) -> str:
        return self.rng.choice(sorted(self.fines)[:60])

    # The way of a hold, from the counter to the shelf.

    def hold(self, member: str, branch: str, source: str, lost: bool = False, silent: bool = False) -> None:
        self.copies += 1
        copy = f"copy_{self.copies:04}"
        asked = self.did(f"desk_{branch}", "place_hold", member=member, pickup=branch)
        found = self.did("catalogue", "assign_copy", asked, copy=copy, member=member, held_at=source)
        address = "central" if lost else branch
        full = self.rng.random() < 0.12 and member != self.guest
        sent = self.did(f"desk_{source}", "request_transfer", found, copy=copy, to=address)
        if lost or full:
            reason = "no such branch" if lost else "van full"
            put = self.did("van_red", "put_aside", sent, copy=copy, to=address, reason=reason)
            if lost:
                self.case.root(put, sent)
            self.parked.append((reason, copy, member, branch, put))
            return
        self.carry(copy, member, branch, sent, silent)

    def carry(self, copy: str, member: str, branch: str, sent: str, silent: bool = False) -> None:
        van = self.rng.choice(("van_red", "van_blue"))
        moved = self.did(van, "deliver", sent, copy=copy, to=branch)
        shelved = self.did(f"desk_{branch}", "shelve_hold", moved, copy=copy, member=member)
        self.waiting[member] = (self.day, copy, f"desk_{branch}", shelved)
        if silent:
            self.case.root(shelved)
            return
        told = self.did(f"desk_{branch}", "notify_member", shelved, member=member, copy=copy)
        wait = 1 if member == self.guest else self.rng.randint(1, 4)
        self.pickups.append((self.day + wait, member, branch, told))

    def daily_rounds(self) -> None:
        for entry in [entry for entry in self.parked if entry[0] == "van full"]:
            self.parked.remove(entry)
            _, copy, member, branch, put = entry
            again = self.did("van_blue", "fetch_parked", put, copy=copy)
            self.carry(copy, member, branch, again)
        for entry in [entry for entry in self.pickups if entry[0] <= self.day]:
            self.pickups.remove(entry)
            _, member, branch, told = entry
            _, copy, desk, shelved = self.waiting.pop(member, (0, "", "", ""))
            if copy:
                self.did(f"desk_{branch}", "check_out", [told, shelved], member=member, copy=copy)
                self.has_book.add(member)
        for member, (since, copy, desk, shelved) in list(self.waiting.items()):
            if self.day - since >= LAPSE_DAYS:
                del self.waiting[member]
                lapsed = self.did(
                    "catalogue", "close_hold", shelved, member=member, copy=copy, reason="lapsed"
                )
                back = self.did(desk, "return_to_stack", lapsed, copy=copy)
                if member == self.guest:
                    self.case.hop(lapsed, back)

    def fine(self, member: str, branch: str, days_late: int, twice: bool = False) -> str:
        back = self.did(f"desk_{branch}", "take_back", member=member, days_late=days_late)
        posted = ""
        for number in range(1 + twice):
            charge = self.did(f"desk_{branch}", "charge_fine", back, member=member, cents=20 * days_late)
            self.fines[member] += 20 * days_late
            posted = self.did("accounts", "post_charge", charge, member=member, owes=self.fines[member])
            if number:
                self.case.root(charge, posted)
        return posted

    def pay(self, member: str, branch: str) -> None:
        paid = self.did(f"desk_{branch}", "take_payment", member=member, cents=self.fines[member])
        self.fines[member] = 0
        self.did("accounts", "post_payment", paid, member=member, owes=0)

    def borrow(self, member: str, branch: str, causes: Any = None) -> tuple[bool, str]:
        account, merged_by = self.merged.get(member, (member, ""))
        looked = self.did(
            "accounts",
            "read_account",
            [c for c in (causes, merged_by) if c],
            member=member,
            owes=self.fines[account],
        )
        blocked = self.fines[account] >= BLOCKED_FROM_CENTS
        if merged_by and blocked:
            self.case.hop(looked)
        answer = "blocked" if blocked else "lent"
        return blocked, self.did(f"desk_{branch}", "answer_loan", looked, member=member, answer=answer)

    def join_queue(self, member: str, branch: str, place: int) -> str:
        asked = self.did(f"desk_{branch}", "ask_for_title", member=member, title="The Salt Road")
        queued = self.did(
            "catalogue", "queue_member", asked, member=member, place=place, length=len(self.queue)
        )
        self.queue.insert(place - 1, (member, queued))
        return queued

    def title_returned(self, branch: str) -> None:
        back = self.did(f"desk_{branch}", "take_back", member=self.ordinary_member(), days_late=0)
        if self.queue:
            member, queued = self.queue.pop(0)
            given = self.did(
                "catalogue", "promise_copy", [back, queued], member=member, title="The Salt Road"
            )
            self.did(f"desk_{branch}", "check_out", given, member=member, copy="salt_road")
            self.has_book.add(member)
            self.case.trigger(back)
            self.case.hop(queued, given)

    # The planned member's days.

    def first_act(self) -> None:
        case, day = self.case, self.day
        if case.has("omitted_message") or case.has("dead_letter"):
            lost = case.strikes("dead_letter", day)
            self.hold(self.guest, self.near, self.far, lost, case.strikes("omitted_message", day))
        elif case.has("doubled_act"):
            posted = self.fine(self.guest, self.near, 15, case.strikes("doubled_act", day))
            case.hop(posted)
        elif case.has("off_by_one"):
            early = case.strikes("off_by_one", day)
            queued = self.join_queue(self.other, self.near, len(self.queue) + (0 if early else 1))
            if early:
                case.root(queued)
        elif case.has("wrong_merge"):
            wrong = case.strikes("wrong_merge", day)
            self.merge(self.guest, self.other if wrong else f"m9{self.guest[2:]}", wrong)

    def merge(self, keeps: str, gone: str, wrong: bool) -> None:
        born = (self.born[keeps], self.born[gone] if wrong else self.born[keeps])
        seen = self.did(f"desk_{self.third}", "report_duplicate", members=[keeps, gone], born=list(born))
        merged = self.did("accounts", "merge_records", seen, kept=gone, joined=keeps, born=list(born))
        if wrong:
            self.case.root(merged, seen)
            self.merged[keeps] = (gone, merged)

    def last_act(self) -> None:
        case, guest, desk = self.case, self.guest, f"desk_{self.third}"
        if case.has("omitted_message") or case.has("dead_letter"):
            missing = guest not in self.has_book
            seen = self.did(desk, "answer_visitor", member=guest, question="my hold", found=not missing)
            if missing:
                case.symptom(
                    seen,
                    f"{guest} ordered a book weeks ago and says that she never heard of it again",
                    f"a reader came to {desk} and asked where the book is that she ordered; we have no idea",
                    f"Where is the hold of {guest}? The counter {desk} could not find anything for her",
                )
        elif case.has("doubled_act") or case.has("wrong_merge"):
            blocked, seen = self.borrow(guest, self.far)
            if blocked:
                case.symptom(
                    seen,
                    f"{guest} was not allowed to borrow anything, although she is sure to owe only a few coins",
                    f"desk_{self.far} refused a loan to a reader who says that her account must be wrong",
                    "one of our readers is blocked for debts that are not hers, she says",
                )
        elif case.has("off_by_one"):
            if len(self.queue) < 2:
                return
            self.title_returned(self.far)
            passed_over = guest not in self.has_book and self.other in self.has_book
            seen = self.did(
                desk, "answer_visitor", member=guest, question="my turn", found=guest in self.has_book
            )
            if passed_over:
                case.symptom(
                    seen,
                    "somebody who asked for The Salt Road after me has it already, and I am still waiting",
                    f"{guest} complained at {desk} that others got The Salt Road before her",
                    f"readers say that the waiting list for The Salt Road is not kept in order, ask {desk}",
                )

    def everyday(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 3)):
            near, far = rng.sample(BRANCHES, 2)
            self.hold(self.ordinary_member(), near, far)
        member, branch = self.ordinary_member(), rng.choice(BRANCHES)
        self.fine(member, branch, rng.choice((0, 1, 2, 4, 9)))
        debtor = max(sorted(self.fines)[:60], key=lambda name: self.fines[name])
        if self.fines[debtor] > 380:
            self.pay(debtor, rng.choice(BRANCHES))
        self.borrow(self.ordinary_member(), rng.choice(BRANCHES))
        asker, desk = self.ordinary_member(), f"desk_{rng.choice(BRANCHES)}"
        self.did(
            desk,
            "answer_visitor",
            member=asker,
            question=rng.choice(("opening hours", "my hold")),
            found=rng.random() < 0.9,
        )
        if rng.random() < 0.3:
            keeps = self.ordinary_member()
            self.merge(keeps, f"m9{keeps[2:]}", wrong=False)
        if rng.random() < 0.35:
            queued = self.did(
                "catalogue", "queue_member", member=self.ordinary_member(), place=rng.randint(1, 6)
            )
            self.did(f"desk_{rng.choice(BRANCHES)}", "print_slip", queued)
        if rng.random() < 0.25:
            sent = self.did(desk, "request_transfer", copy=f"leaflets_{self.day}", to="central")
            self.did(
                "van_red",
                "put_aside",
                sent,
                copy=f"leaflets_{self.day}",
                to="central",
                reason="no such branch",
            )
        if rng.random() < 0.4:
            branch, hour = rng.choice(BRANCHES), rng.randint(17, 20)
            self.system.log_config(f"closing_hour_{branch}", old_value=18, new_value=hour)
        if rng.random() < 0.2:
            self.logs[desk].warning("the barcode could not be read; typed by hand", {"member": asker})
        for branch in BRANCHES:
            self.did(f"desk_{branch}", "count_visitors", visitors=rng.randint(40, 300))


def play(case: Case) -> None:
    town = Library(case)
    for day in range(DAYS):
        town.day = day
        with tick(day):
            town.daily_rounds()
            town.everyday()
            if case.has("off_by_one") and day == case.begin - 1:
                town.join_queue(town.guest, town.third, len(town.queue) + 1)
            if day == case.begin:
                town.first_act()
            if day == case.decoy_at:
                town.did("catalogue", "rebuild_index", titles=48211)
                town.logs["catalogue"].warning("the index is slow after the rebuild", {"seconds": 41})
            if day == case.end:
                town.daily_rounds()
                town.last_act()


WORLD = World(
    "library",
    "edges",
    ("dead_letter", "doubled_act", "off_by_one", "omitted_message", "wrong_merge"),
    play,
    author=2,
)
