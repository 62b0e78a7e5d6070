"""A translation bureau: coroutines side by side, runs with steps, model calls and a recorded tool, and no ticks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from Agent import trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

ROUNDS = 84
ROUNDS_PER_RUN = 12
WORDS = {
    "valve": ("Ventil", "Klappe"),
    "seal": ("Dichtung", "Robbe"),
    "shaft": ("Welle", "Schacht"),
    "nut": ("Mutter", "Nuss"),
    "spring": ("Feder", "Quelle"),
    "crane": ("Kran", "Kranich"),
    "bolt": ("Bolzen", "Blitz"),
    "bearing": ("Lager", "Haltung"),
    "pinion": ("Ritzel", "Fittich"),
}
CLIENTS = ("client_ara", "client_bela", "client_cord", "client_dura", "client_emil")
USUAL_TRIES = 3


@record_tool
def count_words(document: str, pages: int) -> dict[str, int]:
    """Count the words of a document, for the invoice."""
    return {"words": pages * 230 + len(document)}


@dataclass
class Document:
    """One order: who works on it, what is in it, and what becomes of it."""

    name: str
    client: str
    translator: int
    reviser: int
    due: int
    terms: list[str]
    pages: int
    words: dict[str, str] = field(default_factory=dict)
    tone: str = ""
    latest: int = 0
    shelved: int = 0


class Member:
    """An agent of the bureau; the bureau itself is no part of its state."""

    trace_ignore = ("bureau",)
    agent_role = "member"

    def __init__(self, agent_id: str, bureau: Bureau) -> None:
        self.agent_id = agent_id
        self.bureau = bureau


class TermBase(Member):
    agent_role = "term tool"

    @trace_agent_action()
    async def look_up(self, term: str, asked_for: str, ticket: int) -> dict[str, str]:
        return {"term": term, "word": WORDS[term][self.bureau.misled(ticket)]}


class Engine(Member):
    agent_role = "draft engine"

    @trace_agent_action()
    async def draft(self, document: str, attempt: int) -> dict[str, Any]:
        return self.bureau.spend(document, attempt)


class Translator(Member):
    agent_role = "translator"

    def __init__(self, agent_id: str, bureau: Bureau) -> None:
        super().__init__(agent_id, bureau)
        self.noted: dict[str, str] = {}
        self.tries = USUAL_TRIES

    @trace_agent_action()
    async def set_profile(self, profile: str, tries: int) -> str:
        self.tries = tries
        return profile

    @trace_agent_action()
    async def prepare(self, client: str, term: str, ticket: int) -> str:
        answer = await self.bureau.term_base.look_up(term, client, ticket)
        self.noted[f"{client}/{term}"] = answer["word"]
        return answer["word"]

    @trace_agent_action()
    async def pause(self, document: str, seconds: int) -> None:
        await asyncio.sleep(0)

    @trace_agent_action()
    async def translate(self, document: str, client: str, terms: list[str]) -> dict[str, Any]:
        attempt = 0
        while True:
            attempt += 1
            answer = await self.bureau.engine.draft(document, attempt)
            if answer["status"] == "done" or answer["status"] == "no allowance":
                break
            if self.tries and attempt >= self.tries:
                break
            if self.tries:
                await self.pause(document, 5 * attempt)
            elif attempt >= self.bureau.burst:
                break  # the rest of the attempts come in the next round
        words = {}
        for term in terms:
            if f"{client}/{term}" not in self.noted:
                await self.prepare(client, term, -1)
            words[term] = self.noted[f"{client}/{term}"]
        return {"draft": answer["status"], "words": words}


class Reviser(Member):
    agent_role = "reviser"

    def __init__(self, agent_id: str, bureau: Bureau) -> None:
        super().__init__(agent_id, bureau)
        self.believes: dict[str, str] = {}

    @trace_agent_action()
    async def hear(self, client: str, topic: str, value: str) -> str:
        self.believes[f"{client}/{topic}"] = value
        return "noted"

    @trace_agent_action()
    async def revise(self, document: str, client: str) -> dict[str, str]:
        return {"tone": self.believes.get(f"{client}/tone", self.bureau.wishes[client])}


class Account(Member):
    agent_role = "account"

    @trace_agent_action()
    async def tell(self, reviser: str, client: str, topic: str, value: str) -> str:
        return await next(one for one in self.bureau.revisers if one.agent_id == reviser).hear(
            client, topic, value
        )


class Shelf(Member):
    agent_role = "shelf"

    @trace_agent_action()
    async def put_revision(self, document: str, revision: int) -> str:
        self.bureau.documents[document].shelved = revision
        return "kept"

    @trace_agent_action()
    async def hold_back(self, document: str, revision: int) -> str:
        return "waits for the one before"

    @trace_agent_action()
    async def fetch(self, document: str) -> int:
        return self.bureau.documents[document].shelved


class Courier(Member):
    agent_role = "courier"

    @trace_agent_action()
    async def pick_up(self, document: str) -> int:
        return await self.bureau.shelf.fetch(document)

    @trace_agent_action()
    async def deliver(self, document: str, client: str, revision: int) -> dict[str, Any]:
        order = self.bureau.documents[document]
        return await self.bureau.clients[client].read(
            document, order.words, order.tone, revision, order.latest
        )

    @trace_agent_action()
    async def call_portal(self, host: str) -> str:
        raise ConnectionError(f"{host} closed the line")

    @trace_agent_action()
    async def call_portal_again(self, host: str) -> str:
        return "connected"

    @trace_agent_action()
    async def chore(self, what: str) -> str:
        return "done"


class Client(Member):
    agent_role = "client"

    @trace_agent_action()
    async def read(
        self, document: str, words: dict[str, str], tone: str, revision: int, sent: int
    ) -> dict[str, Any]:
        odd = sorted(word for term, word in words.items() if word != WORDS[term][0])
        return {
            "odd_words": odd,
            "address": tone,
            "wished": self.bureau.wishes[self.agent_id],
            "my_correction": sent,
            "in_text": revision,
        }


class Bureau:
    """One session of the bureau."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(ROUNDS, 4 if case.has("retry_storm") else 1)
        self.rng = case.rng("orders")
        self.now = 0
        self.documents: dict[str, Document] = {}
        self.due: dict[int, list[Document]] = defaultdict(list)
        self.term_base = TermBase("term_base", self)
        self.engine = Engine("draft_engine", self)
        self.translators = [Translator(f"translator_{number}", self) for number in range(1, 6)]
        self.revisers = [Reviser(f"reviser_{number}", self) for number in range(1, 4)]
        self.accounts = [Account(f"account_{number}", self) for number in range(1, 4)]
        self.shelf = Shelf("text_shelf", self)
        self.couriers = [Courier(f"courier_{number}", self) for number in (1, 2)]
        self.clients = {name: Client(name, self) for name in CLIENTS}
        who = case.rng("who")
        self.wishes = {name: who.choice(("formal", "informal")) for name in CLIENTS}
        self.client = who.choice(CLIENTS)
        self.term = who.choice(sorted(WORDS))
        self.member = who.randrange(3)
        self.tickets = 0
        self.special = False  # whether the question that the plan names is being asked
        self.allowance = 6 * ROUNDS
        self.burst = 0
        self.excess = 0

    def misled(self, ticket: int) -> int:
        """Return 1 if the tool answers this question with the word of another field, else 0."""
        return int(self.special and ticket == self.tickets and self.case.strikes("trusted_tool", self.now))

    def spend(self, document: str, attempt: int) -> dict[str, Any]:
        """Use up one piece of the allowance of the day, if there is one left."""
        if self.allowance <= 0:
            return {"status": "no allowance", "left": 0}
        self.allowance -= 1
        if attempt > USUAL_TRIES and self.excess < 3:
            self.excess += 1
            wasted = call("draft_engine", "draft", document=document, attempt=attempt)
            self.case.root(wasted)
            self.case.hop(wasted)
        broken = document == "D7777"
        busy = self.case.rng(f"busy/{document}/{attempt}").random() < 0.2
        return {"status": "busy" if busy or broken else "done", "left": self.allowance}

    def order(
        self,
        due: int,
        client: str = "",
        reviser: int = -1,
        translator: int = -1,
        terms: list[str] | None = None,
    ) -> Document:
        rng = self.rng
        case = self.case
        client = client or rng.choice(CLIENTS)
        reviser = rng.randrange(3) if reviser < 0 else reviser
        translator = rng.randrange(5) if translator < 0 else translator
        chosen = rng.sample(sorted(WORDS), rng.randint(1, 3)) if terms is None else terms
        if terms is None and client == self.client and case.begin <= self.now <= case.end:
            if case.has("false_belief") and reviser == self.member:
                reviser = (reviser + 1) % 3
            if case.has("trusted_tool") and translator == self.member:
                translator = 4
        document = Document(
            f"D{100 + len(self.documents)}", client, translator, reviser, due, chosen, rng.randint(1, 12)
        )
        self.documents[document.name] = document
        self.due[due].append(document)
        return document

    async def work(self, document: Document) -> None:
        """Translate, revise and shelve one document."""
        with recorder.step("translate", f"Translate {document.name}"):
            count_words(document.name, document.pages)
            translator = self.translators[document.translator]
            draft = await translator.translate(document.name, document.client, document.terms)
            if draft["draft"] == "no allowance" and document.due < ROUNDS + 1:
                ref = call(translator.agent_id, "translate", document=document.name)
                self.case.symptom(
                    ref,
                    f"{translator.agent_id} gets no more drafts: no allowance left, and it is not even evening.",
                    "The allowance of drafts is used up far too early today. We have no more orders than on other days!",
                    f"{document.name} went out without a draft because the engine has no allowance any more. Who used it all?",
                )
            document.words = draft["words"]
            await asyncio.sleep(0)
            if int(document.name[1:]) % 9 == 0:
                recorder.record_model_call(
                    step_id="translate",
                    call_id=f"polish_{document.name}",
                    model_name="polisher",
                    prompt=f"Polish {document.name}",
                    output="polished",
                )
        with recorder.step("revise", f"Revise {document.name}"):
            document.tone = (await self.revisers[document.reviser].revise(document.name, document.client))[
                "tone"
            ]
            await self.shelf.put_revision(document.name, 1)
            document.latest = 1

    async def correct(self, document: Document, swapped: bool) -> None:
        """Two more revisions arrive at once; the shelf has to take them one after the other."""
        early, late = document.latest + 1, document.latest + 2
        if swapped:
            await self.shelf.put_revision(document.name, late)
            await self.shelf.put_revision(document.name, early)
            self.case.root(
                *(
                    call("text_shelf", "put_revision", document=document.name, revision=number)
                    for number in (early, late)
                )
            )
        else:
            if self.case.rng(f"hold/{document.name}").random() < 0.3:
                await self.shelf.hold_back(document.name, late)
            await self.shelf.put_revision(document.name, early)
            await self.shelf.put_revision(document.name, late)
        document.latest = late

    async def deliver(self, document: Document) -> None:
        courier = self.couriers[self.case.rng(f"courier/{document.name}").randrange(2)]
        revision = await courier.pick_up(document.name)
        answer = await courier.deliver(document.name, document.client, revision)
        case = self.case
        ref = call(document.client, "read", document=document.name)
        fetched = call(courier.agent_id, "pick_up", document=document.name)
        if answer["odd_words"]:
            odd = answer["odd_words"][0]
            case.hop(
                call(self.translators[document.translator].agent_id, "translate", document=document.name)
            )
            case.symptom(
                ref,
                f"{document.client} laughs at {document.name}: it says {odd}, in a manual for a gearbox.",
                f"What is {odd} doing in a technical text? The other manuals have the right word.",
                "A manual for machines went out with a word from an entirely different field in it.",
            )
        if answer["address"] != answer["wished"]:
            case.hop(call(self.revisers[document.reviser].agent_id, "revise", document=document.name))
            case.symptom(
                ref,
                f"{document.client} is cross: {document.name} uses the {answer['address']} address, they have always wished the other.",
                f"Why is {document.name} {answer['address']}? That client has had the {answer['wished']} tone for years.",
                "One of our best clients was addressed in the wrong tone today.",
            )
        if answer["in_text"] != answer["my_correction"]:
            case.hop(fetched)
            case.symptom(
                ref,
                f"{document.client} misses the last correction in {document.name}: the text is the one from before.",
                f"{document.name} was delivered without the newest revision, although it had come in long before.",
                "A customer got an old state of a text. The last changes had been sent to us in good time.",
            )

    async def everyday(self) -> None:
        rng = self.case.rng(f"everyday/{self.now}")
        if rng.random() < 0.5:
            self.tickets += 1
            await rng.choice(self.translators[3:]).prepare(
                rng.choice(CLIENTS), rng.choice(sorted(WORDS)), self.tickets
            )
        if rng.random() < 0.5:
            client, topic = rng.choice(CLIENTS), rng.choice(("tone", "units", "quotes"))
            value = {"tone": self.wishes[client], "units": "metric", "quotes": "low"}[topic]
            protected = self.case.has("false_belief") and topic == "tone" and client == self.client
            reviser = self.revisers[(self.member + 1) % 3 if protected else rng.randrange(3)]
            await rng.choice(self.accounts).tell(reviser.agent_id, client, topic, value)
        if rng.random() < 0.2:
            profile, tries = rng.choice((("brisk", 2), ("normal", 3), ("patient", 4)))
            await rng.choice(self.translators[3:]).set_profile(profile, min(tries, USUAL_TRIES))
        if rng.random() < 0.1:
            host = rng.choice(("portal north", "portal south"))
            try:
                await self.couriers[0].call_portal(host)
            except ConnectionError:
                await self.couriers[0].call_portal_again(host)
        if rng.random() < 0.2:
            await self.couriers[1].chore(
                rng.choice(
                    ("sort inbox", "archive invoices", "back up memory", "greet visitor", "update price list")
                )
            )
        if self.now == self.case.decoy_at:
            await self.couriers[1].chore("renew licence of the spelling checker")
            await self.translators[3].set_profile("brisk", 2)

    async def begin(self) -> None:
        """Do what the plan has for the round in which the fault begins."""
        case, now = self.case, self.now
        if case.has("trusted_tool"):
            self.tickets += 1
            self.special = True
            translator = self.translators[self.member]
            await translator.prepare(self.client, self.term, self.tickets)
            self.special = False
            if case.strikes("trusted_tool", now):
                case.root(call("term_base", "look_up", ticket=self.tickets))
                case.hop(call(translator.agent_id, "prepare", ticket=self.tickets))
        if case.has("false_belief"):
            true = self.wishes[self.client]
            value = (
                ("informal" if true == "formal" else "formal") if case.strikes("false_belief", now) else true
            )
            account, reviser = self.accounts[self.member], self.revisers[self.member]
            await account.tell(reviser.agent_id, self.client, "tone", value)
            if case.strikes("false_belief", now):
                where = {"client": self.client, "topic": "tone", "value": value}
                case.root(call(account.agent_id, "tell", **where), call(reviser.agent_id, "hear", **where))
        if case.has("out_of_order"):
            document = self.order(case.end)
            await self.work(document)
            await self.correct(document, case.strikes("out_of_order", now))
        if case.has("retry_storm"):
            translator = self.translators[self.member]
            tries = 0 if case.strikes("retry_storm", now) else 2
            await translator.set_profile("eager", tries)
            if tries == 0:
                case.root(call(translator.agent_id, "set_profile", profile="eager"))
            expected = 4 * (case.end - now)
            self.burst = max(6, (self.allowance - expected) // max(1, case.end - now))
            document = self.order(ROUNDS + 1, translator=self.member)
            self.documents["D7777"] = document
            document.name = "D7777"

    async def round(self, now: int) -> None:
        case, rng = self.case, self.rng
        self.now = now
        await self.everyday()
        if now == case.begin:
            await self.begin()
        jobs = [self.order(min(ROUNDS, now + rng.randint(1, 30))) for _ in range(rng.randint(2, 3))]
        if now == case.end and case.has("trusted_tool"):
            jobs.append(self.order(now, self.client, translator=self.member, terms=[self.term]))
        if now == case.end and case.has("false_belief"):
            jobs.append(self.order(now, self.client, reviser=self.member, terms=["bolt"]))
        await asyncio.gather(*(self.work(document) for document in jobs))
        if case.has("retry_storm") and now >= case.begin:
            await self.work(self.documents["D7777"])
        for document in jobs:
            if document.due > now and rng.random() < 0.3:
                await self.correct(document, swapped=False)
        for document in self.due.pop(now, ()):
            await self.deliver(document)


async def session(case: Case) -> None:
    bureau = Bureau(case)
    for first in range(0, ROUNDS, ROUNDS_PER_RUN):
        with recorder.run("bureau", {"shift": str(first // ROUNDS_PER_RUN)}):
            for now in range(first, first + ROUNDS_PER_RUN):
                await bureau.round(now)


def play(case: Case) -> None:
    """Play one session."""
    asyncio.run(session(case))


WORLD = World(
    "translators", "spans", ("trusted_tool", "false_belief", "out_of_order", "retry_storm"), play, author=4
)
