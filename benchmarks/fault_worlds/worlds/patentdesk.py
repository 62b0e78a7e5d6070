"""A firm of patent attorneys: docket, attorneys, annuities, mailroom, clients, and the office that grants patents.

Whoever has something to say writes a letter; letters are read in the order in which they were written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World, call

ATTORNEYS = ("lindqvist", "abara", "feldman")
CLIENTS = ("aquila_pumps", "brightbox", "corvid_labs", "dune_optics", "emmer_mills")
SORTS = ("annuity", "reply", "advice", "filing")
SORT_OF = {
    "omitted_message": "annuity",
    "wrong_recipient": "reply",
    "dead_letter": "advice",
    "expired_permission": "filing",
}
THINGS = ("hinge", "pump seal", "lens mount", "bread oven", "trap door", "filter cloth", "cable gland")
PATIENCE = 3


@dataclass
class Matter:
    """An application or a patent."""

    file: str
    sort: str
    client: str
    attorney: str
    due: int
    thing: str
    done: bool = False


class Firm:
    """All who write letters, and the letters under way."""

    def __init__(self, case: Case, weeks: int) -> None:
        self.case, self.weeks, self.week = case, weeks, 0
        roles = {"docket": "clerk", "annuities": "payer", "mailroom": "post", "reception": "desk"}
        roles |= dict.fromkeys(ATTORNEYS, "attorney") | dict.fromkeys(CLIENTS, "client")
        roles["patent_office"] = "office"
        self.logs = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.letters: deque[Any] = deque()
        self.files: dict[str, Matter] = {}
        self.watched: dict[str, str] = {}
        self.assigned: dict[str, dict[str, str]] = {name: {} for name in ATTORNEYS}
        self.told: dict[str, str] = {}
        self.powers: dict[str, tuple[int, str]] = {}
        self.tray: list[tuple[str, str, str]] = []
        self.number, self.key = 4000 + case.seed % 700, ""
        self.readers: dict[str, Callable[[str, dict[str, Any], str, str], None]] = {
            "docket": self.docket,
            "annuities": self.annuities,
            "mailroom": self.mailroom,
            "reception": self.reception,
            "patent_office": self.patent_office,
        }

    def write(self, sender: str, to: str, body: dict[str, Any], *causes: str) -> str:
        """Write a letter."""
        letter = self.logs[sender].send(to, body, causes=list(causes) or None)
        self.letters.append(letter)
        return str(letter.event_id)

    def deliver(self) -> None:
        """Have all letters read, and the answers to them."""
        while self.letters:
            letter = self.letters.popleft()
            to, body = letter.recipient, letter.body
            read = self.logs[to].receive(letter)
            if to in self.readers:
                self.readers[to](to, body, read, letter.sender)
            elif to in ATTORNEYS:
                self.attorney(to, body, read, letter.sender)
            else:
                self.client(to, body, read, letter.sender)

    def strikes(self, kind: str, file: str) -> bool:
        """Tell whether the planned slip happens in this file now."""
        return file == self.key and self.case.strikes(kind, self.week)

    # how each reads a letter

    def docket(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Enter what the office says, and tell those who must act."""
        case, matter, log = self.case, self.files[body["file"]], self.logs[me]
        if body["says"] == "lost":
            entered = log.log_action("strike_off", {"file": matter.file}, causes=[read])
            gone = self.write(me, matter.client, {"file": matter.file, "says": "lost"}, entered)
            if matter.file == self.key:
                case.hop(read, gone)
            return
        if body["says"] == "granted":
            entered = log.log_action(
                "enter_grant", {"file": matter.file, "fee_week": matter.due}, causes=[read]
            )
            sent = self.write(me, matter.attorney, {"file": matter.file, "says": "for_information"}, entered)
            if self.strikes("omitted_message", matter.file):
                case.root(entered, read, sent)
            else:
                self.write(
                    me, "annuities", {"file": matter.file, "says": "watch", "week": matter.due}, entered
                )
            return
        entered = log.log_action("enter_term", {"file": matter.file, "week": matter.due}, causes=[read])
        wrong = self.strikes("wrong_recipient", matter.file)
        rest = [name for name in ATTORNEYS if name != matter.attorney]
        to, copied = (rest[0], matter.attorney) if wrong else (matter.attorney, rest[0])
        sent = self.write(me, to, {"file": matter.file, "says": "answer", "week": matter.due}, entered)
        if wrong:
            case.root(sent)
        elif self.number % 3 == 0 and matter.file != self.key:
            self.write(me, copied, {"file": matter.file, "says": "for_information"}, entered)

    def annuities(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Watch fees."""
        self.watched[body["file"]] = self.logs[me].log_action(
            "diarise", {"file": body["file"], "week": body["week"]}, causes=[read]
        )

    def attorney(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Take on what is one's own; lay aside the rest."""
        file, log = body["file"], self.logs[me]
        matter = self.files[file]
        if body["says"] == "answer" and matter.attorney == me:
            self.assigned[me][file] = log.log_action("take_on", {"file": file}, causes=[read])
        elif body["says"] == "opinion":
            self.told[file] = log.log_action("note_wish", {"file": file, "wish": body["wish"]}, causes=[read])
        elif body["says"] == "power":
            filed = log.log_action("file_power", {"file": file, "until": body["until"]}, causes=[read])
            self.powers[file] = body["until"], filed
        else:
            laid = log.log_action("lay_aside", {"file": file}, causes=[read])
            if file == self.key and self.case.has("wrong_recipient"):
                self.case.hop(laid)

    def mailroom(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Carry a letter to an address, or put it into the tray of those that came back."""
        known = {f"{name.split('_')[0]}@{name}.example": name for name in CLIENTS}
        if body["address"] in known:
            self.write(me, known[body["address"]], {"file": body["file"], "says": "ask"}, read)
            return
        laid = self.logs[me].log_action(
            "undeliverable", {"file": body["file"], "address": body["address"]}, causes=[read]
        )
        if body["file"] == self.key:
            self.case.root(laid)
        self.tray.append((laid, body["file"], body["address"]))

    def client(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Say what is wished, or be angry."""
        matter = self.files[body["file"]]
        if body["says"] == "ask":
            self.write(me, matter.attorney, {"file": matter.file, "says": "opinion", "wish": "pursue"}, read)
        elif body["says"] == "lost":
            rang = self.write(me, "reception", {"about": matter.file, "mood": "angry"}, read)
            self.case.hop(rang)
            texts = [
                text.format(file=matter.file, client=me, thing=matter.thing, attorney=matter.attorney)
                for text in WORDS[matter.sort]
            ]
            self.case.symptom(call("reception", "received", about=matter.file, mood="angry"), *texts)

    def reception(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Write a slip."""
        self.logs[me].log_action("slip", {"about": body["about"]}, causes=[read])

    def patent_office(self, me: str, body: dict[str, Any], read: str, sender: str) -> None:
        """Take in what parties file."""
        matter = self.files[body["file"]]
        until, _ = self.powers.get(matter.file, (self.weeks, ""))
        if matter.sort == "filing" and until < self.week:
            refused = self.logs[me].log_action(
                "refuse", {"file": matter.file, "ground": "no power"}, causes=[read]
            )
            self.case.hop(refused)
            return
        self.logs[me].log_action("enter", {"file": matter.file, "what": body["what"]}, causes=[read])
        matter.done = True

    # what the calendar brings

    def open(self, sort: str, client: str, attorney: str, due: int, thing: str) -> str:
        """Begin a matter of one sort."""
        self.number += 1
        matter = Matter(f"P{self.number}", sort, client, attorney, due, thing)
        self.files[matter.file] = matter
        if due == self.case.end and self.week == self.case.begin and not self.key:
            self.key = matter.file
        if sort == "annuity":
            self.write("patent_office", "docket", {"file": matter.file, "says": "granted"})
        elif sort == "reply":
            self.write("patent_office", "docket", {"file": matter.file, "says": "objection"})
        elif sort == "advice":
            self.ask(matter)
        else:
            until = due - 1 if self.strikes("expired_permission", matter.file) else due + 26
            signed = self.write(client, attorney, {"file": matter.file, "says": "power", "until": until})
            if matter.file == self.key:
                self.case.root(signed)
        return matter.file

    def ask(self, matter: Matter) -> None:
        """Ask a client what is wished."""
        first = matter.client.split("_")[0]
        is_wrong = self.strikes("dead_letter", matter.file)
        address = f"{first}@{matter.client}.example"
        if is_wrong:
            address = f"{first}@{first[:-1]}.example"
        elif matter.file != self.key and self.number % 6 == 0:
            address = address.upper()
        sent = self.write(matter.attorney, "mailroom", {"file": matter.file, "address": address})
        if is_wrong:
            self.case.root(sent)

    def act(self) -> None:
        """Let everybody do what is due this week."""
        due = [matter for matter in self.files.values() if matter.due == self.week]
        for matter in due:
            cause = self.prompt(matter)
            if not cause:
                continue
            sender = "annuities" if matter.sort == "annuity" else matter.attorney
            sent = self.write(sender, "patent_office", {"file": matter.file, "what": matter.sort}, cause)
            if matter.file == self.key and matter.sort == "filing":
                self.case.trigger(sent)
        self.deliver()
        for matter in due:
            if not matter.done:
                closed = self.logs["patent_office"].log_action("close_file", {"file": matter.file})
                self.case.hop(closed)
                self.write("patent_office", "docket", {"file": matter.file, "says": "lost"}, closed)
        self.deliver()

    def prompt(self, matter: Matter) -> str:
        """Return what makes somebody act in a matter, if anything does."""
        if matter.sort == "annuity":
            return self.watched.pop(matter.file, "")
        if matter.sort == "reply":
            return self.assigned[matter.attorney].pop(matter.file, "")
        if matter.sort == "filing":
            return self.powers[matter.file][1]
        return self.told.pop(matter.file, "")

    def empty_tray(self) -> None:
        """Look through the letters that came back, and send those again whose address can be read."""
        for laid, file, address in self.tray:
            again = self.logs["mailroom"].log_action("look_up_address", {"file": file}, causes=[laid])
            name = address.lower().partition("@")[2].removesuffix(".example")
            if name in CLIENTS:
                self.write("mailroom", name, {"file": file, "says": "ask"}, again)
        self.tray.clear()

    def everyday(self) -> None:
        """Begin some matters, and do small things."""
        rng = self.case.rng(f"week/{self.week}")
        for _ in range(rng.randint(1, 3)):
            due = self.week + rng.randint(1, 1 + self.weeks // 3)
            self.open(rng.choice(SORTS), rng.choice(CLIENTS), rng.choice(ATTORNEYS), due, rng.choice(THINGS))
            self.deliver()
        self.empty_tray()
        self.deliver()
        draw, somebody = rng.random(), rng.choice(ATTORNEYS)
        if draw < 0.3:
            self.logs[somebody].log_action("record_hours", {"hours": rng.randint(20, 60)})
        elif draw < 0.45:
            self.write(rng.choice(CLIENTS), "reception", {"about": "invoice", "mood": "calm"})
        elif draw < 0.55:
            self.logs["mailroom"].warning("franking machine out of ink, cartridge changed")
        elif draw < 0.7:
            SystemLogger().log_config("hourly_rate", 310, 300 + 5 * rng.randint(0, 6))
        if self.week == self.case.decoy_at:
            self.logs["annuities"].error("card terminal of the office busy, paid on second attempt")
        self.deliver()


WORDS = {
    "annuity": (
        "The patent for our {thing} has lapsed, and nobody told us that anything was owed!",
        "{client} reads in the register that {file} is gone for want of a fee",
        "who pays our renewals? annuities say they know of no such patent. {file}",
        "patent_office has struck {file} off",
    ),
    "reply": (
        "our application is deemed withdrawn, there was a term and it passed",
        "Why did {attorney} never answer the objection in {file}?",
        "{file} closed without any answer from us. The {thing} can be copied by everyone now.",
        "{client} is on the phone and wants to know why the case is lost",
    ),
    "advice": (
        "We would have gone on with the {thing}, but nobody ever asked us.",
        "{client} hears that {file} was dropped because they kept silent. They were not asked",
        "dropped without a word! I was at my desk all those weeks",
        "patent_office closed {file}, and the owners swear that no question reached them",
    ),
    "filing": (
        "The office sent our papers for the {thing} back, the filing date is lost.",
        "{attorney} filed in good time and {file} was refused all the same",
        "a competitor is first now since {file} was not accepted",
        "patent_office did not take our papers",
    ),
}


def play(case: Case) -> None:
    """Practise for some weeks."""
    weeks = case.rng("weeks").choice((26, 40, 60, 104))
    case.window(weeks)
    firm = Firm(case, weeks)
    rng = case.rng("key")
    client, attorney, thing = rng.choice(CLIENTS), rng.choice(ATTORNEYS), rng.choice(THINGS)
    for week in range(weeks):
        firm.week = week
        with tick(week):
            if week == case.begin:
                firm.open(SORT_OF[case.kind], client, attorney, case.end, thing)
                firm.deliver()
            firm.everyday()
            firm.act()


WORLD = World(
    "patentdesk",
    "edges",
    ("omitted_message", "wrong_recipient", "dead_letter", "expired_permission"),
    play,
    28,
)
