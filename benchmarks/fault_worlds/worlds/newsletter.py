"""A crew that writes a city newsletter: each issue is a run with steps, in which coroutines work side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

VENUES = ("Kulturhof", "Tram Depot", "Old Mint", "River Stage", "Lido", "Planetarium", "St Anne", "Gasometer")
SHOWS = (
    "jazz night",
    "puppet play",
    "flea market",
    "poetry slam",
    "bike repair day",
    "choir",
    "lantern walk",
)
TOPICS = ("families", "music", "hiking", "food", "startups")
SHOPS = ("Kaffee Lund", "Yoga Loft", "Radhaus", "Brot & Co", "Optik Sander", "Tanzschule Vey")
SLOTS = ("top", "left", "right", "foot")
GREETINGS = (
    "loves the column",
    "asks for bigger type",
    "typo on page two",
    "wants last week's issue",
    "recipe please",
)


@dataclass
class Show:
    """An event in town, as it really takes place."""

    name: str
    day: int
    told: int
    due: int
    was: int = 0


async def pause(turns: int) -> None:
    """Let others go first for some turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Colleague:
    """An agent of the crew; calls are recorded, and so is what changes in it."""

    trace_ignore: tuple[str, ...] = ("crew", "log")

    def __init__(self, agent_id: str, crew: Crew) -> None:
        self.agent_id, self.crew = agent_id, crew
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class Scout(Colleague):
    @trace_agent_action()
    async def clip(self, show: str, text: str) -> str:
        return "clipped"

    @trace_agent_action()
    async def forward_note(self, note: str, listing: str, price: int) -> str:
        return "passed on"


class CalendarTool(Colleague):
    """Answers when something takes place."""

    @trace_agent_action()
    async def when(self, query: str, show: str) -> dict[str, Any]:
        if query in self.crew.slow:
            raise TimeoutError("no answer within 5 s")
        return {"show": show, "day": self.crew.shows[show].told}


class Library(Colleague):
    """Keeps facts until an issue needs them."""

    def __init__(self, agent_id: str, crew: Crew) -> None:
        super().__init__(agent_id, crew)
        self.facts: dict[str, int] = {}

    trace_ignore = ("crew", "log", "facts")

    @trace_agent_action()
    async def keep(self, show: str, day: int) -> int:
        self.facts[show] = day
        return len(self.facts)

    @trace_agent_action()
    async def cite(self, show: str, issue: int) -> int:
        return self.facts[show]


class Writer(Colleague):
    """Researches, drafts, and claims a place for longer pieces."""

    @trace_agent_action()
    async def research(self, show: str, query: str) -> int:
        try:
            found = await self.crew.calendar.when(query, show)
        except TimeoutError:
            found = await self.crew.calendar.when(f"{query}+", show)
        await self.crew.library.keep(show, found["day"])
        return int(found["day"])

    @trace_agent_action()
    async def draft(self, piece: str, show: str, issue: int) -> dict[str, Any]:
        day = await self.crew.library.cite(show, issue)
        text = f"{show}, on day {day} of the year"
        recorder.record_model_call(
            step_id="write",
            call_id=piece,
            model_name="scribe-2",
            prompt=f"40 words: {text}",
            output=f"Go! {text}.",
        )
        return {"piece": piece, "day": day}

    @trace_agent_action()
    async def claim(self, issue: int, item: str) -> str:
        return await self.crew.reserve(self.agent_id, issue, item)


class Board(Colleague):
    """The slots of the coming issues."""

    def __init__(self, agent_id: str, crew: Crew) -> None:
        super().__init__(agent_id, crew)
        self.taken: dict[int, dict[str, str]] = {}

    trace_ignore = ("crew", "log", "taken")

    @trace_agent_action()
    async def look(self, issue: int, by: str) -> list[str]:
        return [slot for slot in SLOTS if slot not in self.taken.get(issue, {})]

    @trace_agent_action()
    async def take(self, issue: int, slot: str, item: str) -> str:
        self.taken.setdefault(issue, {})[slot] = item
        return "yours"


class AdDesk(Colleague):
    @trace_agent_action()
    async def book(self, issue: int, item: str, customer: str) -> str:
        return await self.crew.reserve(self.agent_id, issue, item)


class Gateway(Colleague):
    """The way to the mailing service."""

    def __init__(self, agent_id: str, crew: Crew) -> None:
        super().__init__(agent_id, crew)
        self.stored = 0

    @trace_agent_action()
    async def upload(self, batch: str, rows: int) -> int:
        if batch in self.crew.slow:
            self.crew.slow.discard(batch)
            raise ConnectionError(f"{batch} reset after {rows // 2} rows")
        self.crew.uploaded.add(batch)
        self.stored += rows
        return rows


class ListKeeper(Colleague):
    """Brings in new readers; small batches are tried again by the service itself."""

    @trace_agent_action()
    async def bring_in(self, batch: str, topic: str, rows: int, tries: int) -> dict[str, Any]:
        for _ in range(tries):
            try:
                await self.crew.gateway.upload(batch, rows)
                break
            except ConnectionError:
                continue
        return {"batch": batch, "readers": rows}


class Sender(Colleague):
    @trace_agent_action()
    async def send_digest(self, issue: int, topic: str) -> int:
        return sum(
            rows
            for name, (of, rows) in self.crew.batches.items()
            if of == topic and name in self.crew.uploaded
        )


class Editor(Colleague):
    """Enters changes of listings."""

    @trace_agent_action()
    async def enter_change(self, note: str, listing: str, price: int) -> int:
        self.crew.prices[listing] = price
        return price


class Layouter(Colleague):
    @trace_agent_action()
    async def lay_out(self, issue: int, slots: dict[str, str]) -> str:
        return f"{len(slots)} boxes"

    @trace_agent_action()
    async def print_listing(self, issue: int, listing: str) -> dict[str, Any]:
        return {"listing": listing, "euros": self.crew.prices[listing]}


class Mailbox(Colleague):
    @trace_agent_action()
    async def open_letter(self, letter: str, sender: str, gist: str) -> str:
        return "answered"


class Crew:
    """The crew, and what is true in town."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.serial = case, case.rng("newsletter"), 0
        self.calendar, self.library, self.board = (
            CalendarTool("calendar_tool", self),
            Library("fact_library", self),
            Board("slot_board", self),
        )
        self.ads, self.gateway, self.lists = (
            AdDesk("ad_desk", self),
            Gateway("mail_gateway", self),
            ListKeeper("list_keeper", self),
        )
        self.sender, self.layouter, self.mail = (
            Sender("sender", self),
            Layouter("layouter", self),
            Mailbox("reader_mail", self),
        )
        self.scouts = [Scout(name, self) for name in ("scout_rss", "scout_web")]
        self.writers = [Writer(name, self) for name in ("writer_ida", "writer_kofi", "writer_zoe")]
        self.editors = [Editor(name, self) for name in ("editor_north", "editor_south")]
        self.shows: dict[str, Show] = {}
        self.slow: set[str] = set()
        self.pace: dict[str, tuple[int, int]] = {}
        self.batches: dict[str, tuple[str, int]] = {}
        self.uploaded: set[str] = set()
        self.prices: dict[str, int] = {f"{venue} card": self.rng.randint(9, 30) for venue in VENUES}
        self.asked = dict(self.prices)
        self.booked: list[tuple[int, str, str]] = []
        self.listing = self.rng.choice(sorted(self.prices))
        self.topic, self.shop = self.rng.choice(TOPICS), self.rng.choice(SHOPS)
        self.show = self.batch = ""

    def next(self, letter: str) -> str:
        self.serial += self.rng.randint(1, 5)
        return f"{letter}{self.serial:05}"

    async def reserve(self, by: str, issue: int, item: str) -> str:
        """Look for a slot and take the first free one."""
        before, between = self.pace.get(item, (0, 0))
        await pause(before)
        free = await self.board.look(issue, by)
        await pause(between)
        if not free:
            return "full"
        await self.board.take(issue, free[0], item)
        return free[0]

    async def hear_of(self, issue: int, *, planned: bool) -> None:
        """A scout clips an announcement, and a writer looks the day up."""
        rng, case = self.rng, self.case
        scout, writer = rng.choice(self.scouts), rng.choice(self.writers)
        name = f"{rng.choice(SHOWS)} at {rng.choice(VENUES)} no. {self.next('')}"
        day, query, other = rng.randint(40, 300), self.next("q"), rng.choice((-10, -7, 7, 10))
        moved, due = rng.random() < 0.12 and not planned, case.end if planned else issue + rng.randint(1, 8)
        if rng.random() < 0.15 and not planned:
            self.slow.add(query)
        show = self.shows[name] = Show(name, day, day, due)
        if planned:
            self.show = name
            if case.strikes("trusted_tool", issue):
                show.told = day + other
        await scout.clip(name, f"{name}: doors open on day {day}")
        if moved:
            show.day = show.told = day + other
            await scout.clip(name, f"{name} is put off to day {day + other}")
        await writer.research(name, query)
        if planned:
            case.root(call("calendar_tool", "when", show=name))
            case.hop(call(writer.agent_id, "research", query=query), call("fact_library", "keep", show=name))

    async def take_changes(self, issue: int) -> None:
        """Venues write new prices, sometimes twice; two editors enter them side by side."""
        rng, case = self.rng, self.case
        planned = case.has("out_of_order") and issue == case.begin
        free = [each for each in sorted(self.prices) if each != self.listing or issue < case.begin]
        listing = self.listing if planned else rng.choice(free)
        first, second = self.next("n"), self.next("n")
        low = rng.randint(9, 30)
        high, twice = low + rng.randint(3, 9), rng.random() < 0.4 or planned
        late = planned and case.strikes("out_of_order", issue)
        scout, (one, two) = rng.choice(self.scouts), rng.sample(self.editors, 2)
        await scout.forward_note(first, listing, low)
        self.asked[listing] = high if twice else low
        if twice:
            await scout.forward_note(second, listing, high)

        async def enter(editor: Editor, turns: int, note: str, price: int) -> None:
            await pause(turns)
            await editor.enter_change(note, listing, price)

        work = [enter(one, 4 if late else 0, first, low)]
        work += [enter(two, 1, second, high)] if twice else []
        await asyncio.gather(*work)
        if planned:
            case.root(
                *(
                    call(who.agent_id, "enter_change", note=note)
                    for who, note in ((one, first), (two, second))
                )
            )

    async def book_slots(self, issue: int) -> None:
        """An ad and a long piece are placed in coming issues."""
        rng, case = self.rng, self.case
        planned = case.has("race") and issue == case.begin
        coming = [each for each in range(issue + 1, issue + 9) if each != case.end or not case.has("race")]
        at, other = (case.end, case.end) if planned else rng.sample(coming, 2)
        ad, piece = self.next("ad"), self.next("p")
        shop, writer = self.shop if planned else rng.choice(SHOPS), rng.choice(self.writers)
        self.pace[ad], self.pace[piece] = (0, rng.randint(0, 3)), (1, rng.randint(0, 3))
        if rng.random() < 0.2 and not planned:  # both want the same issue, one after the other
            other, self.pace[ad] = at, (0, 0)
        if planned:
            self.pace[ad], self.pace[piece] = (0, 2 if case.strikes("race", issue) else 0), (1, 2)
        slot, _ = await asyncio.gather(self.ads.book(at, ad, shop), writer.claim(other, piece))
        if slot != "full":
            self.booked.append((at, ad, shop))
        if planned:
            for item, act, who in ((ad, "book", "ad_desk"), (piece, "claim", writer.agent_id)):
                case.root(call(who, act, item=item), call("slot_board", "take", item=item))
                case.root(call("slot_board", "look", issue=at, by=who))

    async def sign_up(self, issue: int) -> None:
        """New readers come in a batch."""
        rng, case = self.rng, self.case
        planned = case.has("swallowed_failure") and issue == case.begin
        batch, rows = self.next("b"), rng.randint(12, 300)
        topic = self.topic if planned else rng.choice(TOPICS)
        self.batches[batch] = (topic, rows)
        breaks, tries = rng.random() < 0.2 or planned, 3
        if breaks:
            self.slow.add(batch)
        if rng.random() < 0.3 and not breaks:
            tries = 1
        if planned:
            self.batch = batch
            tries = 1 if case.strikes("swallowed_failure", issue) else 3
        await self.lists.bring_in(batch, topic, rows, tries)
        if planned:
            broken = f"{batch} reset after {rows // 2} rows"
            case.root(
                call("list_keeper", "bring_in", batch=batch), call("mail_gateway", "upload", batch=batch)
            )
            case.root(call("mail_gateway", "upload", error_message=broken))

    async def publish(self, issue: int) -> None:
        """Write what is due, lay it out and send it; then letters come."""
        rng, case = self.rng, self.case
        with recorder.step("write"):
            for show in [each for each in self.shows.values() if each.due == issue]:
                writer, piece = rng.choice(self.writers), self.next("t")
                draft = await writer.draft(piece, show.name, issue)
                if draft["day"] != show.day:
                    case.hop(
                        call("fact_library", "cite", show=show.name),
                        call(writer.agent_id, "draft", piece=piece),
                    )
                    await self.complain("a guest", "stood before a locked hall", day=draft["day"])
        with recorder.step("lay_out"):
            slots = dict(self.board.taken.get(issue, {}))
            await self.layouter.lay_out(issue, slots)
            listings = rng.sample([each for each in sorted(self.prices) if each != self.listing], 2)
            for listing in [*listings, *([self.listing] if issue == case.end else [])]:
                printed = await self.layouter.print_listing(issue, listing)
                if printed["euros"] != self.asked[listing]:
                    case.hop(call("layouter", "print_listing", issue=issue, listing=listing))
                    await self.complain(
                        listing.removesuffix(" card"), "other price at the door", euros=printed["euros"]
                    )
            for at, ad, shop in self.booked:
                if at == issue and ad not in slots.values():
                    case.hop(call("layouter", "lay_out", issue=issue))
                    await self.complain(shop, "did not find the advertisement")
        with recorder.step("send"):
            due = issue == case.end and case.has("swallowed_failure")
            rests = case.has("swallowed_failure") and case.begin <= issue
            topic = (
                self.topic
                if due
                else rng.choice([each for each in TOPICS if each != self.topic or not rests])
            )
            await self.sender.send_digest(issue, topic)
            if due:
                case.trigger(call("sender", "send_digest", issue=issue))
            if any(of == topic and name not in self.uploaded for name, (of, _) in self.batches.items()):
                case.hop(call("sender", "send_digest", issue=issue))
                await self.complain("a reader", "signed up, nothing came")
        if rng.random() < 0.6:
            await self.mail.open_letter(self.next("L"), "a reader", rng.choice(GREETINGS))

    async def complain(self, sender: str, gist: str, **values: Any) -> None:
        letter = self.next("L")
        await self.mail.open_letter(letter, sender, gist)
        words: dict[str, Any] = {
            "show": self.show,
            "shop": self.shop,
            "listing": self.listing,
            "topic": self.topic,
            "sender": sender,
        }
        words |= {"issue": self.case.end, **values}
        self.case.symptom(
            call("reader_mail", "open_letter", letter=letter), *(each.format(**words) for each in TEXTS[gist])
        )


TEXTS = {
    "stood before a locked hall": (
        "We drove there with the children on day {day} as you wrote, and the doors were locked: {show}",
        "wrong date in the newsletter for {show}, dozens of people came in vain",
        "Who put day {day} into the text? fact_library has it too, but the venue says otherwise",
    ),
    "other price at the door": (
        "Your paper says {euros} euros for the {listing}, at the till they wanted more",
        "{sender} is cross, layouter printed a price of {euros} that they had replaced long ago",
        "why did we publish {euros} euros for {listing}?",
    ),
    "did not find the advertisement": (
        "{shop} paid for a place in issue {issue} and their advertisement is not in it",
        "Where is our ad? We were promised a place in number {issue}. {shop}",
        "layouter left out the ad of {shop} in issue {issue}, a long article stands there instead",
    ),
    "signed up, nothing came": (
        "I signed up for {topic} and never received anything, my neighbours did",
        "sender mailed the digest on {topic} but a whole group of new readers got none",
        "new subscribers of {topic} complain that nothing arrives, though they are counted as readers",
    ),
}


async def spare_time(crew: Crew, issue: int) -> None:
    """Chores, hiccups, and a harmless thing that looks important shortly before the symptom."""
    rng = crew.rng
    people: list[Colleague] = [*crew.writers, *crew.scouts, *crew.editors, crew.lists, crew.sender, crew.ads]
    for who in rng.sample(people, 3):
        dice = rng.random()
        if dice < 0.3:
            who.log.log_action(
                rng.choice(("tidy_inbox", "trim_cache", "read_feed")), {"items": rng.randint(1, 60)}
            )
        elif dice < 0.45:
            who.log.warning(rng.choice(("rate limit near", "feed is malformed", "long answer cut")))
        elif dice < 0.55:
            who.log.log_action("set_weight", {"humour": round(rng.random(), 1)})
        elif dice < 0.65:
            who.log.log_decision("headline", {"words": rng.randint(4, 9)}, reasoning="shorter is read more")
    if issue == crew.case.decoy_at:
        who = rng.choice(people)
        if rng.random() < 0.5:
            who.log.error("model provider was down", extra={"seconds": rng.randint(10, 200)})
        else:
            who.log.log_action("set_threshold", {"spelling": 0.8, "was": 0.7})


async def season(case: Case, issues: int) -> None:
    """Make issue after issue; inside one, most things go on side by side."""
    crew = Crew(case)
    for issue in range(issues):
        with recorder.run("newsletter", {"issue": str(issue)}):
            await spare_time(crew, issue)
            with recorder.step("gather"):
                planned = case.has("trusted_tool") and issue == case.begin
                await asyncio.gather(
                    *(crew.hear_of(issue, planned=planned and place == 0) for place in range(2))
                )
                await asyncio.gather(crew.take_changes(issue), crew.book_slots(issue), crew.sign_up(issue))
            await crew.publish(issue)


def play(case: Case) -> None:
    """Play some dozens of issues."""
    issues = case.rng("issues").choice((20, 35, 60, 90))
    case.window(issues)
    asyncio.run(season(case, issues))


WORLD = World(
    "newsletter", "spans", ("trusted_tool", "race", "swallowed_failure", "out_of_order"), play, author=19
)
