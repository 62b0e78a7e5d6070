"""A team of agents that answers the mail of an insurer: sorting, reading, looking up terms, drafting, posting, visits.

Each agent is a coroutine with a queue; they run side by side, send and receive messages, and name the causes of acts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World, call

NAMES = ("Keller", "Dubois", "Novak", "Haugen", "Moreau", "Costa", "Byrne")
BORN = (1949, 1957, 1961, 1968, 1975, 1984, 1992)
DRAFTERS = ("drafter_ann", "drafter_ben")
ATTEMPTS, INSISTENT = 3, 4
EXCESSES = (150, 300, 450, 600, 900)

Answer = asyncio.Future[Any]


@dataclass
class Letter:
    """A letter that came in, and what is true of it."""

    number: str
    name: str
    born: int
    damage: int
    excess: int
    dossier: str = ""
    noted: int = 0


class Colleague:
    """One agent of the team with its queue."""

    def __init__(self, team: Team, name: str, role: str, work: Callable[..., Awaitable[None]]) -> None:
        self.team, self.name, self.work = team, name, work
        self.log = AgentLogger(name, role)
        self.queue: asyncio.Queue[tuple[Any, Answer | None]] = asyncio.Queue()

    def tell(self, to: str, cause: str | None, body: dict[str, Any], future: Answer | None = None) -> str:
        """Send a message; one that needs an answer comes with a future for it."""
        message = self.log.send(to, body, causes=[cause] if cause else None)
        self.team.open += 1
        self.team.quiet.clear()
        self.team.staff[to].queue.put_nowait((message, future))
        return str(message.event_id)

    async def ask(self, to: str, cause: str, body: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
        """Send a question and wait; return the answer, the event of its arrival and that of the question."""
        future: Answer = asyncio.get_running_loop().create_future()
        asked = self.tell(to, cause, body, future)
        answer = await future
        return answer.body, self.log.receive(answer), asked

    async def serve(self) -> None:
        """Work on one message after the other."""
        while True:
            message, future = await self.queue.get()
            heard = self.log.receive(message)
            await self.work(self, message, heard, future)
            self.team.finish()

    def reply(self, message: Any, future: Answer | None, cause: str, body: dict[str, Any]) -> str:
        """Answer a question."""
        answer = self.log.send(message.sender, body, causes=[cause])
        if future is not None:
            future.set_result(answer)
        return str(answer.event_id)


class Team:
    """The team, one delivery of mail after the other."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rounds = case.rng("rounds").randint(46, 74)
        case.window(self.rounds)
        self.now = self.open = 0
        self.quiet = asyncio.Event()
        self.quiet.set()
        works: dict[str, tuple[str, Callable[..., Awaitable[None]]]] = {
            "sorter": ("sorter", self.sort),
            "reader_1": ("reader", self.read),
            "reader_2": ("reader", self.read),
            "terms_tool": ("tool", self.look_up),
            "archive": ("archive", self.keep),
            "drafter_ann": ("drafter", self.draft),
            "drafter_ben": ("drafter", self.draft),
            "checker": ("checker", self.check),
            "gateway": ("gateway", self.post),
            "calendar": ("calendar", self.arrange),
            "surveyor": ("surveyor", self.visit),
            "complaints_desk": ("desk", self.note),
        }
        self.staff = {name: Colleague(self, name, role, work) for name, (role, work) in works.items()}
        self.mailbox, self.board = (
            Colleague(self, "mailbox", "source", self.note),
            Colleague(self, "board", "source", self.note),
        )
        self.hotline = Colleague(self, "hotline", "source", self.note)
        self.letters: dict[str, Letter] = {}
        self.dossiers: dict[tuple[str, int], str] = {}
        self.owners: dict[str, tuple[str, int]] = {}
        self.booked: dict[int, list[str]] = {}
        self.phone = asyncio.Lock()
        self.pending: list[tuple[str, str, str]] = []
        self.key, self.noted = "", 0
        self.pair: list[str] = []
        rng = case.rng("key")
        self.name, (self.born, self.other) = rng.choice(NAMES), rng.sample(BORN, 2)
        self.excess, self.lie = rng.sample(EXCESSES, 2)
        self.damage = 100 * rng.randint(14, 60)
        self.decisions = {now: self.plan(now) for now in range(self.rounds)}
        used = sum(
            ATTEMPTS if lost else 1 for now in range(case.begin, case.end) for lost in self.decisions[now]
        )
        self.allowance = used + INSISTENT * (case.end - case.begin)
        self.credit = 400

    def plan(self, now: int) -> list[bool]:
        """Draw how many letters are decided in a round, and which of them have an address that nobody knows."""
        rng = self.case.rng(f"decisions/{now}")
        return [rng.random() < 0.12 for _ in range(rng.randint(1, 2))]

    # what each agent does with a message

    async def sort(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Open a letter, lay it into the dossier of its sender, and give it to a reader."""
        letter, case = self.letters[message.body["letter"]], self.case
        who = (letter.name, letter.born)
        merges = letter.number == self.key and case.strikes("wrong_merge")
        if merges:
            who = (letter.name, self.other)
        opened = who not in self.dossiers
        if opened:
            self.dossiers[who] = f"D{len(self.dossiers) + 210}"
            self.owners[self.dossiers[who]] = who
        letter.dossier = self.dossiers[who]
        event = me.log.log_action(
            "open_dossier" if opened else "lay_into",
            {"letter": letter.number, "dossier": letter.dossier, "sender": letter.name, "born": letter.born},
            causes=[heard],
        )
        if merges:
            case.root(event, heard)
        reader = f"reader_{1 + len(self.letters) % 2}"
        me.tell(reader, event, {"letter": letter.number, "damage": letter.damage})

    async def read(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Find out which excess belongs to a letter, and have it noted."""
        letter = self.letters[message.body["letter"]]
        await asyncio.sleep(0)
        terms = f"{letter.name[:2].upper()}{letter.excess // 10}-{letter.born % 100}"
        answer, at, _ = await me.ask(
            "terms_tool", heard, {"letter": letter.number, "contract": terms, "ask": "excess"}
        )
        letter.noted = answer["excess"]
        fact = me.log.log_action(
            "extract", {"letter": letter.number, "excess": answer["excess"]}, causes=[at]
        )
        if letter.number == self.key and self.case.strikes("trusted_tool"):
            self.case.root(fact, at)
        me.tell(
            "archive", fact, {"keep": letter.number, "dossier": letter.dossier, "excess": answer["excess"]}
        )

    async def look_up(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Answer what a contract says."""
        letter = self.letters[message.body["letter"]]
        is_wrong = letter.number == self.key and self.case.strikes("trusted_tool")
        excess = self.lie if is_wrong else letter.excess
        sent = me.reply(message, future, heard, {"contract": message.body["contract"], "excess": excess})
        if is_wrong:
            self.case.root(sent)

    async def keep(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Keep facts, or tell them."""
        if "keep" in message.body:
            me.log.log_action("shelve", {"letter": message.body["keep"]}, causes=[heard])
            return
        letter = self.letters[message.body["tell"]]
        name, born = self.owners[letter.dossier]
        body = {
            "letter": letter.number,
            "owner": name,
            "born": born,
            "excess": letter.noted,
            "damage": letter.damage,
        }
        sent = me.reply(message, future, heard, body)
        if letter.number == self.key:
            self.case.hop(sent)

    async def draft(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Decide a letter, or arrange a visit."""
        body = message.body
        if "visit" in body:
            await self.book(me, body, heard)
            return
        letter = self.letters[body["decide"]]
        facts, at, _ = await me.ask("archive", heard, {"tell": letter.number})
        pays = max(0, facts["damage"] - facts["excess"])
        wrote = me.log.log_decision(
            "settle",
            {"letter": letter.number, "pays": pays, "to": facts["owner"], "born": facts["born"]},
            causes=[at],
        )
        verdict, at, _ = await me.ask("checker", wrote, {"letter": letter.number, "pays": pays})
        if letter.number == self.key:
            self.case.hop(wrote, at)
        if not verdict["ok"]:
            at = me.log.log_action("reword", {"letter": letter.number}, causes=[at])
        insists = (
            body["decide"] == self.key and self.now == self.case.begin and self.case.strikes("retry_storm")
        )
        code, at = await self.attempt(me, letter.number, at, body["street"], 1 if insists else ATTEMPTS)
        if insists:
            self.pending.append((me.name, letter.number, at))
        elif code == 422:
            me.log.log_action("give_to_human", {"letter": letter.number}, causes=[at])
        elif code == 402:
            at = me.log.log_action("put_aside", {"letter": letter.number}, causes=[at])
        self.judge(letter, facts, code, at)

    async def attempt(
        self, me: Colleague, number: str, cause: str, street: str, limit: int
    ) -> tuple[int, str]:
        """Have a letter posted, a few times if need be; return the last code."""
        for _ in range(limit):
            answer, cause, asked = await me.ask("gateway", cause, {"post": number, "street": street})
            if number == self.key and street == "?" and self.case.strikes("retry_storm") and self.noted < 3:
                self.case.root(asked)
                self.noted += 1
            if answer["code"] != 422:
                break
        return answer["code"], cause

    async def check(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Look at the tone of a draft, not at its facts."""
        is_fine = self.case.rng(f"tone/{self.now}/{message.body['letter']}").random() < 0.8
        me.reply(message, future, heard, {"letter": message.body["letter"], "ok": is_fine})

    async def post(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Post a letter; each attempt costs one credit."""
        code = 422 if message.body["street"] == "?" else 200
        if self.credit <= 0:
            code = 402
        else:
            self.credit -= 1
        sent = me.reply(message, future, heard, {"post": message.body["post"], "code": code})
        if code == 402:
            self.case.hop(sent)

    async def arrange(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Tell a free slot, or keep one."""
        body = message.body
        if "wish" in body:
            slot = body["wish"]
            while slot in self.booked:
                slot += 1
            me.reply(message, future, heard, {"free": slot})
        else:
            self.booked.setdefault(body["slot"], []).append(body["file"])
            me.log.log_action("enter", {"slot": body["slot"], "file": body["file"]}, causes=[heard])

    async def book(self, me: Colleague, body: dict[str, Any], heard: str) -> None:
        """Look for a free slot and take it, while no other drafter does the same."""
        races = body["visit"] in self.pair and self.case.strikes("race", self.now)
        guard: contextlib.AbstractAsyncContextManager[Any] = contextlib.nullcontext() if races else self.phone
        async with guard:
            answer, at, asked = await me.ask("calendar", heard, {"wish": body["wish"], "file": body["visit"]})
            for _ in range(4):
                await asyncio.sleep(0)
            took = me.tell("calendar", at, {"slot": answer["free"], "file": body["visit"]})
            for _ in range(4):
                await asyncio.sleep(0)
        if races:
            self.case.root(asked, at, took)

    async def visit(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Drive to those who have a slot now; there is time for one."""
        first, *rest = message.body["files"]
        seen = me.log.log_action("inspect", {"file": first}, causes=[heard])
        for file in rest:
            missed = me.log.log_action("leave_card", {"file": file}, causes=[seen])
            self.case.hop(missed)
            self.blame(
                missed,
                file,
                f"Nobody came to look at the damage of {file}, and the client had taken a day off.",
                f"The surveyor left a card at {file} and was gone, although an hour had been agreed.",
                f"The complaints_desk has somebody who waited for a visit in vain, {file}. It was agreed long ago.",
            )

    async def note(self, me: Colleague, message: Any, heard: str, future: Answer | None) -> None:
        """Note what a client says on the telephone."""
        me.log.log_action("file_note", {"about": message.body["about"]}, causes=[heard])

    # what comes of it

    def blame(self, cause: str, about: str, *texts: str) -> None:
        """Let a client telephone, which is how anybody learns of a mistake."""
        self.hotline.tell("complaints_desk", cause, {"about": about})
        self.case.symptom(call("complaints_desk", "received", about=about), *texts)

    def judge(self, letter: Letter, facts: dict[str, Any], code: int, at: str) -> None:
        """Let the client of a letter telephone if he was not served well."""
        if code == 402:
            self.blame(
                at,
                letter.number,
                f"The answer to {letter.number} was written and never left the house.",
                f"{letter.name} has had no reply since the letter {letter.number}, where does it lie?",
                "The gateway turns our answers down, no client gets anything today.",
                f"Why was {letter.number} never posted? checker had released it, {letter.name} says that nothing came.",
            )
        elif facts["born"] != letter.born:
            self.blame(
                at,
                letter.number,
                f"A stranger got the answer to {letter.number}, and told hotline all about somebody's accident.",
                f"There are two people called {letter.name}, and the wrong one was paid.",
                f"checker let a letter out that went to another {letter.name} than the one who wrote {letter.number}.",
            )
        elif facts["excess"] != letter.excess and code == 200:
            owed = letter.damage - letter.excess
            self.blame(
                at,
                letter.number,
                f"The settlement of {letter.number} is not what the contract says; {owed} would be right.",
                f"{letter.name} holds a policy in hand and says that our sum for {letter.number} cannot be.",
                f"checker passed an answer to {letter.number} with a wrong sum, why?",
            )

    def write_in(self, name: str, born: int, damage: int, excess: int) -> str:
        """Let a letter come in."""
        number = f"L-{len(self.letters) + 1001}"
        self.letters[number] = Letter(number, name, born, damage, excess)
        body = {"letter": number, "sender": name, "born": born, "damage": damage}
        self.mailbox.tell("sorter", None, body)
        return number

    def decide(self, number: str, lost: bool, drafter: str) -> None:
        """Let the board have a letter decided."""
        street = "?" if lost else f"{len(number) + int(number[2:]) % 90} High Street"
        self.board.tell(drafter, None, {"decide": number, "street": street})

    def finish(self) -> None:
        """Note that a message was worked on."""
        self.open -= 1
        if not self.open:
            self.quiet.set()

    def renew(self, credit: int) -> None:
        """Let the gateway have new credit."""
        self.credit = credit
        self.staff["gateway"].log.log_action("renew", {"credit": credit})

    async def settle_down(self) -> None:
        """Wait until nobody has anything to do."""
        await self.quiet.wait()

    async def everyday(self) -> None:
        """Let the mail of an ordinary round come, and old letters be decided."""
        case, now = self.case, self.now
        rng = case.rng(f"round/{now}")
        old = [number for number in self.letters if number != self.key]
        for lost in self.decisions[now] if old else []:
            self.decide(rng.choice(old), lost, rng.choice(DRAFTERS))
        for _ in range(rng.randint(1, 2)):
            name, born = rng.choice(NAMES), rng.choice(BORN)
            if name != self.name or born != self.born or not case.has("wrong_merge"):
                self.write_in(name, born, 100 * rng.randint(14, 60), rng.choice(EXCESSES))
        wish = now + rng.randint(1, 12)
        if rng.random() < 0.45 and not (case.has("race") and abs(wish - case.end) <= 8):
            drafters = rng.sample(DRAFTERS, rng.randint(1, 2))
            for place, drafter in enumerate(drafters):
                self.hotline.tell(drafter, None, {"visit": f"V-{now + 100}{place}", "wish": wish})
        if now in self.booked:
            self.staff["calendar"].tell("surveyor", None, {"files": self.booked[now]})
        await self.settle_down()
        for name, number, cause in self.pending if now < case.end else []:
            code, _ = await self.attempt(
                self.staff[name], number, cause, "?", INSISTENT - (now == case.begin)
            )
            case.hop(self.staff[name].log.log_action("wait", {"letter": number, "code": code}))
        self.chatter()
        await self.settle_down()

    def chatter(self) -> None:
        """Note small troubles, settings and calls about other things."""
        rng = self.case.rng(f"chatter/{self.now}")
        near = self.now == self.case.decoy_at
        if rng.random() < 0.25 or near:
            self.hotline.tell(
                "complaints_desk", None, {"about": rng.choice(("music on hold", "thanks", "new bank"))}
            )
        if rng.random() < 0.15 or near:
            self.staff["terms_tool"].log.warning("index rebuilt, first question took two seconds")
        if rng.random() < 0.1:
            self.staff["sorter"].log.error("page 2 unreadable, scanned again")
        if rng.random() < 0.3:
            SystemLogger("team").log_config(
                rng.choice(("tone", "signature", "font_pt")), 11, rng.randint(9, 13)
            )

    def fault(self) -> None:
        """Let that come in with which the fault begins, or which is harmless in the other twin."""
        case = self.case
        if case.has("race"):
            self.pair = [f"V-{self.now + 100}{place + 2}" for place in range(len(DRAFTERS))]
            for file, drafter in zip(self.pair, DRAFTERS, strict=True):
                self.hotline.tell(drafter, None, {"visit": file, "wish": case.end})
            return
        self.key = f"L-{len(self.letters) + 1001}"
        self.write_in(self.name, self.born, self.damage, self.excess)

    async def run(self) -> None:
        """Play all rounds."""
        case = self.case
        loops = [asyncio.ensure_future(one.serve()) for one in self.staff.values()]
        if case.has("wrong_merge"):
            self.write_in(self.name, self.other, 3100, 300)
            await self.settle_down()
        for now in range(self.rounds):
            self.now = now
            if now == case.begin and case.has("retry_storm"):
                self.renew(self.allowance)
            if now == case.begin:
                self.fault()
                await self.settle_down()
                if case.has("retry_storm"):
                    self.decide(self.key, True, case.rng("drafter").choice(DRAFTERS))
                    await self.settle_down()
            if now == case.end and not case.has("race"):
                number = next(iter(self.letters)) if case.has("retry_storm") else self.key
                if case.has("wrong_merge"):
                    case.trigger(call("board", "sent", decide=number))
                self.decide(number, False, case.rng("last").choice(DRAFTERS))
                await self.settle_down()
                self.renew(400)
            elif now % 20 == 7 and not case.begin <= now <= case.end:
                self.renew(400)
            await self.everyday()
        for loop in loops:
            loop.cancel()


def play(case: Case) -> None:
    """Play some weeks of the team."""

    async def main() -> None:
        await Team(case).run()

    asyncio.run(main())


WORLD = World("mailteam", "edges", ("race", "retry_storm", "trusted_tool", "wrong_merge"), play, author=25)
