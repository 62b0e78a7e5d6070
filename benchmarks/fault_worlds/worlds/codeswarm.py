"""Coding agents that work through a shop's backlog at night: an index, a docs tool, sandboxes, migrations and services."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, trace_context
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World

CODERS = ("coder_ada", "coder_bo", "coder_cy")
SERVICES = {
    "invoicing": ("billing/dunning.py", "billing/tax.py", "billing/credit_notes.py"),
    "fulfilment": ("orders/returns.py", "orders/split.py", "orders/gift_wrap.py"),
    "stockroom": ("stock/levels.py", "stock/reorder.py", "stock/expiry.py"),
    "shipping": ("ship/labels.py", "ship/zones.py", "ship/customs.py"),
    "mailer": ("mail/digest.py", "mail/templates.py", "mail/bounces.py"),
}
FILES = tuple(path for paths in SERVICES.values() for path in paths)
SERVICE_OF = {path: name for name, paths in SERVICES.items() for path in paths}
NAMES = ("days", "due_on", "hours", "weeks", "until")
OTHERS = ("planner", "index", "docs", "pool", "test_bench", "merger", "schema", "ops", "desk")
LIBRARIES = ("fastwire", "quickpdf", "mailjoin", "geobox", "taxlib")
ROUNDS = (24, 36, 56, 84)
SORTS = ("fix", "fix", "fix", "signature", "caller", "migration", "tidy", "client")


@dataclass
class Ticket:
    """A piece of work for a coder.

    Args:
        first: waits for this, as another ticket has to be merged or its migration added before.
        unchecked: the index answers from its copy if that is young, without a look at the file.
    """

    number: str
    sort: str
    path: str
    other: str
    rng: random.Random
    planned: bool = False
    first: asyncio.Event | None = None
    merged: asyncio.Event = field(default_factory=asyncio.Event)
    added: asyncio.Event = field(default_factory=asyncio.Event)
    unchecked: bool = False
    answer: str = ""
    slow: bool = False


@dataclass
class Shop:
    """The repository, what the agents keep about it, and what runs in production."""

    case: Case
    logs: dict[str, AgentLogger]
    boxes: list[str]
    head: dict[str, tuple[int, str]] = field(default_factory=dict)
    copies: dict[str, tuple[int, str]] = field(default_factory=dict)
    calls: dict[str, tuple[str, str]] = field(default_factory=dict)
    round_kg: dict[str, str] = field(default_factory=lambda: {"ship": "ship", "billing": "billing"})
    added: list[tuple[int, str]] = field(default_factory=list)
    applied: dict[int, str] = field(default_factory=dict)
    waits_forever: dict[str, bool] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    cleans_up: bool = True
    now: int = 0
    path: str = ""
    other: str = ""
    planned: str = ""

    async def act(self, who: str, name: str, /, **data: object) -> str:
        """Record an action."""
        return await self.logs[who].alog_action(name, data)

    async def complain(self, about: str, number: str) -> None:
        """Let a user write to the desk."""
        noted = await self.act("desk", "take_message", about=about, ref=number)
        names = {"other": self.other, "service": SERVICE_OF[self.path]}
        self.case.symptom(noted, *(text.format(**names) for text in TEXTS[self.case.kind]))


async def work(shop: Shop, coder: str, ticket: Ticket) -> None:
    """Take a sandbox, change the code, test it, merge it, and give the sandbox back."""
    log, rng = shop.logs[coder], ticket.rng
    with trace_context(log, "ticket", ticket=ticket.number):
        if ticket.first:
            await ticket.first.wait()
        box = await lease(shop, coder)
        if not box:
            shop.case.hop(log.warning("gave up, no sandbox", extra={"waited_s": 900}))
            return
        change = await CHANGES[ticket.sort](shop, coder, ticket)
        passed = False
        for attempt in range(2 + (rng.random() < 0.3)):
            with trace_context(shop.logs["test_bench"], "tests", box=box):
                if ticket.slow and not attempt:
                    late = shop.logs["test_bench"].error("tests timed out", {"after_s": 600})
                    if not shop.cleans_up:
                        shop.case.hop(late)
                        if len(shop.case.roots) < 4:
                            shop.case.root(late)
                        return
                    continue
                failed = 0 if attempt or rng.random() < 0.7 else rng.randint(1, 4)
                await shop.act("test_bench", "run_tests", passed=rng.randint(80, 240), failed=failed)
            if not failed:
                passed = True
                break
            await think(
                shop, coder, f"{failed} tests of {ticket.path} fail", "off by one in the fixture", rng
            )
        await give_back(shop, coder, box)
        if passed and change:
            await merge(shop, coder, ticket, change)
            shop.done.add(ticket.number)


async def lease(shop: Shop, coder: str) -> str:
    """Wait for a free sandbox, not forever."""
    with trace_context(shop.logs["pool"], "lease"):
        for patience in range(400):
            if shop.boxes:
                box = shop.boxes.pop(0)
                await shop.act("pool", "lease", box=box, to=coder)
                return box
            if patience == 10:
                await shop.act("pool", "queue", coder=coder)
            await asyncio.sleep(0)
        return ""


async def give_back(shop: Shop, coder: str, box: str) -> None:
    """Give a sandbox back."""
    await shop.act(coder, "release", box=box)
    with trace_context(shop.logs["pool"], "wipe"):
        await shop.act("pool", "free", box=box)
        shop.boxes.append(box)


async def think(shop: Shop, coder: str, prompt: str, output: str, rng: random.Random) -> None:
    """Ask the model."""
    tokens = rng.randint(200, 4000)
    recorder.record_model_call(
        model_name="patch-12b", prompt=prompt, output=output, prompt_tokens=tokens, coder=coder
    )
    await asyncio.sleep(0)


async def outline(shop: Shop, path: str, *, unchecked: bool) -> tuple[str, str]:
    """Say what a file offers, from the index's copy where that will do; return the name and the event."""
    with trace_context(shop.logs["index"], "outline"):
        await asyncio.sleep(0)
        copy, head = shop.copies[path], shop.head[path]
        young = copy if unchecked else head
        served = "copy" if young == copy else "file"
        offers = f"run(batch, {young[1]})"
        said = await shop.act("index", "describe", path=path, revision=young[0], offers=offers, served=served)
        shop.copies[path] = young
        return young[1], said


async def merge(shop: Shop, coder: str, ticket: Ticket, change: str) -> None:
    """Bring a change into the main branch."""
    with trace_context(shop.logs["merger"], "merge"):
        revision, name = shop.head[ticket.path]
        if change.startswith("name "):
            name = change[5:]
            for path in [path for path, (to, _) in shop.calls.items() if to == ticket.path]:
                shop.calls[path] = ticket.path, name
                await shop.act("merger", "adapt_caller", path=path, to=ticket.path, name=name)
        shop.head[ticket.path] = revision + 1, name
        await shop.act(
            "merger", "merge", path=ticket.path, revision=revision + 1, change=change, author=coder
        )
    ticket.merged.set()


async def fix(shop: Shop, coder: str, ticket: Ticket) -> str:
    """Change the body of a function."""
    await outline(shop, ticket.path, unchecked=ticket.unchecked)
    await think(shop, coder, f"Fix {ticket.path}", f"line {ticket.rng.randint(10, 300)}", ticket.rng)
    return "body"


async def signature(shop: Shop, coder: str, ticket: Ticket) -> str:
    """Change what a function takes."""
    was, _ = await outline(shop, ticket.path, unchecked=False)
    name = NAMES[NAMES.index(was) - ticket.rng.randint(1, 4)]
    await think(shop, coder, f"{ticket.path}: take {name} in place of {was}", "done", ticket.rng)
    return f"name {name}"


async def caller(shop: Shop, coder: str, ticket: Ticket) -> str:
    """Call a function of another file."""
    name, said = await outline(shop, ticket.other, unchecked=ticket.unchecked and ticket.planned)
    await outline(shop, ticket.path, unchecked=ticket.unchecked)
    await think(shop, coder, f"Call {ticket.other} from {ticket.path}", f"run(batch, {name}=...)", ticket.rng)
    shop.calls[ticket.path] = ticket.other, name
    if ticket.planned and shop.case.has("stale_cache"):
        shop.case.root(said)
    return f"call {ticket.other} with {name}"


async def migration(shop: Shop, coder: str, ticket: Ticket) -> str:
    """Add a column, under the next free number."""
    with trace_context(shop.logs["schema"], "next_number"):
        number = 100 + len({taken for taken, _ in shop.added})
        looked = await shop.act("schema", "look", free=number)
    column = f"{ticket.path.partition('/')[0]}.{ticket.rng.choice(NAMES)}_{ticket.number[2:]}"
    needed = ticket.planned or ticket.rng.random() < 0.7
    output = f"add column {column}" if needed else "there is a column for this"
    await think(shop, coder, f"Schema for {ticket.path}", output, ticket.rng)
    for _ in range(12):
        await asyncio.sleep(0)
    if not needed:
        return ""
    with trace_context(shop.logs["schema"], "add"):
        taken = await shop.act("schema", "add_migration", number=number, column=column, author=coder)
        shop.added.append((number, column))
    ticket.added.set()
    if ticket.planned:
        shop.case.root(looked, taken)
    return f"column {column}"


async def tidy(shop: Shop, coder: str, ticket: Ticket) -> str:
    """See whether two helpers do the same, and keep one of them."""
    helper = ticket.rng.choice(("as_cents", "split_name", "first_monday", "clean_sku"))
    same = ticket.rng.random() < 0.5
    names = [path.partition("/")[0] for path in (ticket.other, ticket.path)]
    if ticket.planned:
        helper, same, names = "round_kg", ticket.answer == "same", ["billing", "ship"]
    for path in (ticket.other, ticket.path):
        await outline(shop, path, unchecked=ticket.unchecked)
    output = "same for all inputs" if same else "not the same"
    await think(shop, coder, f"{names[0]}.{helper} and {names[1]}.{helper}?", output, ticket.rng)
    pair = {"keep": f"{names[0]}.{helper}", "drop": f"{names[1]}.{helper}"}
    decided = await shop.logs[coder].alog_decision("same_helper", {**pair, "same": same}, output)
    if ticket.planned:
        shop.case.root(decided)
    if not same:
        return "comment"
    replaced = await shop.act(coder, "replace_calls", **pair)
    if ticket.planned:
        shop.round_kg["ship"] = shop.round_kg["billing"]
        shop.case.root(replaced)
    return f"{pair['keep']} for {pair['drop']}"


async def client(shop: Shop, coder: str, ticket: Ticket) -> str:
    """Use a library as the docs tool says."""
    library, version = ticket.rng.choice(LIBRARIES), f"{ticket.rng.randint(1, 5)}.{ticket.rng.randint(0, 9)}"
    right = ticket.rng.choice(("0 waits forever", "0 takes the default of 5 s"))
    answer = right if ticket.rng.random() < 0.9 else "0 is an error"
    if ticket.planned:
        library, right, answer = "fastwire", "0 takes the default of 5 s", ticket.answer
    with trace_context(shop.logs["docs"], "look_up"):
        said = await shop.act(
            "docs", "answer", library=library, version=version, option="timeout", text=answer
        )
    await think(shop, coder, f"{library} {version}, timeout=0: {answer}", "timeout set", ticket.rng)
    if answer == "0 is an error":
        shop.logs[coder].warning("docs were wrong, tried it out", extra={"library": library})
        answer = right
    value = 0 if answer == "0 waits forever" else 60
    chose = await shop.act(coder, "set_timeout", path=ticket.path, library=library, seconds=value)
    shop.waits_forever[ticket.path] = value > 0 or right == "0 waits forever"
    if ticket.planned:
        shop.case.root(said, chose)
    return f"timeout={value}"


CHANGES = {f.__name__: f for f in (fix, signature, caller, migration, tidy, client)}


async def job(shop: Shop, path: str, rng: random.Random, *, seconds: float, kg: float = 0.0) -> str:
    """Run what a file does in production; return what went wrong."""
    service = SERVICE_OF[path]
    with trace_context(shop.logs[service], "job"):
        began = await shop.act(service, "load_batch", path=path, items=rng.randint(1, 400))
        fetched = await shop.act(service, "ask_supplier", seconds=seconds)
        if kg:
            nearest = shop.round_kg["ship"] == "billing" and kg > 30  # bulky goods are charged by the nearest
            weighed = round(kg) if nearest else math.ceil(kg)
            printed = await shop.act(service, "print_label", kg=kg, on_label=weighed)
            if kg > 30:
                shop.case.trigger(began)
                shop.case.hop(printed)
            if weighed < kg:
                return "parcel came back"
        if seconds > 5 and not shop.waits_forever.get(path, True):
            shop.case.trigger(fetched)
            shop.case.hop(await shop.act(service, "skip_rest", path=path))
            return "list is cut off"
        to, name = shop.calls.get(path, ("", ""))
        if to and name != shop.head[to][1]:
            shop.case.hop(await shop.act(service, "park_batch", path=path, reason=f"{to} takes no {name}"))
            return "nothing was sent"
        await shop.act(service, "finish", path=path)
        return ""


async def night(shop: Shop, tickets: list[Ticket]) -> None:
    """Work on the tickets of a night, side by side."""
    with recorder.run("backlog", {"night": shop.now}):
        with recorder.step("plan", "Hand tickets out"):
            for coder, ticket in zip(CODERS, tickets, strict=True):
                await shop.act(
                    "planner", "assign", ticket=ticket.number, sort=ticket.sort, path=ticket.path, to=coder
                )
        with recorder.step("work", "Change the code"):
            await asyncio.gather(*map(work, [shop] * 3, CODERS, tickets))
        with recorder.step("deploy", "Bring it into production"):
            fresh = [(number, column) for number, column in shop.added if number not in shop.applied]
            for number, column in fresh:
                shop.applied.setdefault(number, column)
            numbers = sorted({number for number, _ in fresh})
            await shop.act("ops", "deploy", files=len(shop.done), migrations=numbers)


async def morning(shop: Shop, quiet: tuple[str, ...], rng: random.Random) -> None:
    """Run jobs, with settings, chores and handled errors, and take messages of users."""
    draws, small = [rng.random() for _ in range(6)], rng.randint(1, 60)
    for _ in range(3):
        path, seconds, kg = rng.choice(FILES), round(rng.uniform(0.2, 9), 1), round(rng.uniform(0.5, 29.5), 1)
        if path in quiet or not shop.waits_forever.get(path, True):
            seconds = round(seconds / 2, 1)
        if path in quiet and not shop.case.has("trusted_tool"):
            continue
        if path in shop.calls and shop.calls[path][1] != shop.head[shop.calls[path][0]][1]:
            continue
        await job(shop, path, rng, seconds=seconds, kg=kg if path == "ship/labels.py" else 0.0)
    service = rng.choice(list(SERVICES))
    kept = [column for _, column in shop.added if column in shop.applied.values()]
    if kept and draws[3] > 0.6:
        column = kept[small % len(kept)]
        await shop.act(service, "open_form", path=SERVICES[service][0], field=column.partition(".")[2])
        if draws[4] < 0.8:
            await shop.act(service, "save", column=column)
        else:
            shop.logs[service].error("not saved", {"column": column, "reason": "no date"})
    if draws[0] < 0.15:
        shop.logs[service].error("supplier: 502, tried again", {"tries": 2})
    if draws[1] < 0.2:
        name = rng.choice(("log_level", "page_size", "pool_size_hint", "digest_hour"))
        shop.logs["ops"].log_state_change({name: small}, {name: small + 1}, trigger="by hand")
    if draws[2] < 0.5:
        await shop.act("desk", "take_message", about=rng.choice(WISHES), ref=f"U{small}")
    if draws[3] < 0.15:
        await shop.act("ops", rng.choice(("rotate_logs", "renew_certificate", "back_up")), minutes=small)
    if draws[4] < 0.1:
        shop.logs["index"].warning("slow disk", {"ms": small * 20})
    if shop.now == shop.case.decoy_at:
        shop.logs["ops"].warning("one node restarted", {"node": small})
    if draws[5] < 0.12:
        await shop.act("test_bench", "upgrade_harness", version=f"2.{shop.now}.{small % 5}")


WISHES = ("password", "dark mode", "thanks", "invoice copy", "wish list", "late parcel", "wrong size")
TEXTS = {
    "stale_cache": (
        "Our customers got nothing from you this month, not one of them! Last month it worked",
        "nothing went out today, and {service} shows it as waiting",
        "the monthly run stands still. {other} is fine, everything else of ours too",
    ),
    "race": (
        "the new field that you announced is there on the form, but what we type in is gone after saving",
        "we fill in the new box, press save, and it comes back empty. {other} has the same box and there it works",
        "The new setting cannot be saved, I have tried three browsers",
    ),
    "wrong_merge": (
        "the carrier sent our heavy parcel back because the weight on the label is too low",
        "A 31 kg parcel was refused at the depot, shipping printed a smaller weight on it. It never did that",
        "our big order came back to us, postage due! fulfilment says it left in order",
    ),
    "trusted_tool": (
        "The list that we get every week ends in the middle. The supplier was a bit slow, but so it was before",
        "half of the articles are missing from today's list, and {service} has sent it to everyone",
        "the export stops after the first page, it is useless to us",
    ),
    "leaked_resource": (
        "I was promised a repair of the checkout for this morning and nothing has changed",
        "you fixed small things overnight all year long, and mine has just been dropped. Is the planner on holiday?",
        "my bug is still there, although planner says somebody was on it",
    ),
}


def play(case: Case) -> None:
    """Play some months of nights and mornings."""
    nights = case.rng("size").choice(ROUNDS)
    case.window(nights, 2 if case.has("leaked_resource") else 1)
    asyncio.run(_season(case, nights))


async def _season(case: Case, nights: int) -> None:
    everyone = dict.fromkeys(CODERS, "coder") | dict.fromkeys(SERVICES, "service")
    logs = {name: AgentLogger(name, role) for name, role in everyone.items()}
    logs |= {name: AgentLogger(name, name) for name in OTHERS}
    lag, rng = case.end - case.begin, case.rng("swarm")
    boxes = 3 + min(5, lag - 1) if case.has("leaked_resource") else 6
    shop = Shop(case, logs, [f"box-{number}" for number in range(1, boxes + 1)])
    shop.head = {path: (rng.randint(3, 40), rng.choice(NAMES)) for path in FILES}
    shop.copies = dict(shop.head)
    serial = itertools.count(300)
    to, path = rng.sample([file for file in FILES if file != "ship/labels.py"], 2)
    shop.path, shop.other = path, rng.choice([name for name in SERVICES if name != SERVICE_OF[path]])
    slots = [(at, coder) for at in range(case.begin, case.end) for coder in range(3)]
    slow = {slots[len(slots) * number // boxes] for number in range(boxes)}
    for shop.now in range(nights):
        fresh = case.rng(f"night/{shop.now}")
        guarded = (to, path) if case.begin <= shop.now <= case.end else ()
        tickets: list[Ticket] = []
        for coder in range(3):
            sort = fresh.choice(SORTS)
            if sort == "migration" and any(ticket.sort == sort for ticket in tickets):
                sort = "fix"
            one, two = fresh.sample([file for file in FILES if file not in guarded], 2)
            ticket = Ticket(f"T-{next(serial)}", sort, one, two, case.rng(f"ticket/{shop.now}/{coder}"))
            ticket.unchecked, ticket.slow = fresh.random() < 0.15, fresh.random() < 0.05
            if case.has("leaked_resource"):
                ticket.slow = (shop.now, coder) in slow or (ticket.slow and shop.now < case.begin)
            tickets.append(ticket)
        if shop.now == case.begin:
            await _begin(shop, tickets, to, path)
        if shop.now > case.end and len(shop.boxes) < boxes:
            shop.boxes, shop.cleans_up = [f"box-{number}" for number in range(1, boxes + 1)], True
            await shop.act("ops", "restart_pool", boxes=boxes)
        await night(shop, tickets)
        await morning(shop, guarded, case.rng(f"morning/{shop.now}"))
        if shop.now == case.end:
            await _end(shop, tickets, path, case.rng("end"))


async def _begin(shop: Shop, tickets: list[Ticket], to: str, path: str) -> None:
    """Plan the work at which the fault begins, rightly or wrongly."""
    case, one, two = shop.case, tickets[0], tickets[1]
    if case.has("leaked_resource"):
        case.root(await shop.act("test_bench", "upgrade_harness", version=f"2.{shop.now}.3"))
        shop.cleans_up = not case.strikes("leaked_resource", shop.now)
        return
    for ticket in (one, two):
        ticket.planned, ticket.slow = True, False
    if case.has("stale_cache"):
        one.sort, one.path, one.planned = "signature", to, False
        two.sort, two.path, two.other, two.first = "caller", path, to, one.merged
        two.unchecked = case.strikes("stale_cache", shop.now)
    elif case.has("race"):
        one.sort, two.sort, two.path = "migration", "migration", path
        two.first = None if case.strikes("race", shop.now) else one.added
    elif case.has("wrong_merge"):
        one.sort, one.path, one.other, two.planned = "tidy", "ship/labels.py", "billing/tax.py", False
        one.answer = "same" if case.strikes("wrong_merge", shop.now) else "not the same"
    else:
        one.sort, one.path, two.planned = "client", path, False
        wrong = case.strikes("trusted_tool", shop.now)
        one.answer = "0 waits forever" if wrong else "0 takes the default of 5 s"
    tickets[2].sort = "fix"
    tickets[1].sort = tickets[1].sort if two.planned or case.has("stale_cache") else "fix"
    shop.planned = two.number


async def _end(shop: Shop, tickets: list[Ticket], path: str, rng: random.Random) -> None:
    """Let somebody need what was made."""
    case, number = shop.case, f"U{shop.now}"
    if case.has("leaked_resource"):
        if not any(ticket.number in shop.done for ticket in tickets):
            await shop.complain("late", number)
        return
    if case.has("race"):
        service = SERVICE_OF[path]
        column = next(column for _, column in shop.added if column.endswith(f"_{shop.planned[2:]}"))
        case.hop(await shop.act(service, "open_form", path=path, field=column.partition(".")[2]))
        if column not in shop.applied.values():
            case.hop(shop.logs[service].error("not saved", {"column": column}))
            await shop.complain("not saved", number)
        return
    kg = 31.4 if case.has("wrong_merge") else 0.0
    at = "ship/labels.py" if kg else path
    wrong = await job(shop, at, rng, seconds=8.4 if case.has("trusted_tool") else 1.2, kg=kg)
    if wrong:
        await shop.complain(wrong, number)


WORLD = World(
    "codeswarm",
    "spans",
    ("stale_cache", "race", "wrong_merge", "trusted_tool", "leaked_resource"),
    play,
    author=12,
)
