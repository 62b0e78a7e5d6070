"""A patent firm: attorneys answer letters of the office with the help of a search service, a docket, a filer and a payer.

Coroutines, a run for each letter with steps, model calls and tool calls; actions name their causes, and there are no ticks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World

ATTORNEYS = ("Ines", "Okoro", "Tamm")
CLIENTS = ("Brandl Pumps", "Kiwa Toys", "Lumera", "Orrin Bros", "Saltpan Labs")
THINGS = ("a hinge", "a dry pump", "a lens mount", "a quiet fan", "a seed drill", "a folding oar")
SCOUT, DOCKET, FILER, PAYER, OFFICE = "scout", "docket", "filer", "payer", "patent office"
STORM, USUAL_TRIES = 40, 3


@dataclass
class Matter:
    """An answer that is due at the office."""

    number: str
    attorney: str
    client: str
    due: int
    cause: str = ""
    is_filed: bool = False


@record_tool
async def deadline_calculator(matter: str, received: int, extra: int) -> int:
    """Count the rounds until an answer is due."""
    await asyncio.sleep(0)
    return received + extra


@record_tool
async def prior_art_search(words: str, is_up: bool) -> str:
    """Search old patents."""
    await asyncio.sleep(0)
    return f"{len(words) * 3} hits" if is_up else "timeout"


@record_tool
async def office_gateway(matter: str, is_whole: bool) -> str:
    """Hand a file to the office."""
    await asyncio.sleep(0)
    return "accepted" if is_whole else "status 409"


class Firm:
    """Who works here, what lies at the office, and the plan of one case."""

    def __init__(self, case: Case, rounds: int) -> None:
        self.case, self.rounds, self.now, self.numbers = case, rounds, 0, case.seed % 500
        rng = case.rng("plan")
        self.first, self.second = rng.sample(ATTORNEYS, 2)
        self.client = rng.choice(CLIENTS)
        self.logs: dict[str, AgentLogger] = {}
        self.filings: dict[int, list[Matter]] = {}
        self.office_dates: dict[int, list[Matter]] = {}
        self.next_reference = 100 + case.seed % 90
        self.references: dict[int, list[tuple[str, str, str]]] = {}
        self.fees: dict[int, list[int]] = {}
        self.quota, self.spender = 10**6, ""
        if case.has(
            "retry_storm"
        ):  # the firm buys what it will need until a while after the end, and some more
            plans = [(now, who) for now in range(min(case.end + 1, rounds)) for who in ATTORNEYS]
            self.quota = sum(sum(self.tries(now, who)) for now, who in plans) + STORM - USUAL_TRIES - 2

    def tries(self, now: int, who: str) -> list[int]:
        """Return how many tries each search of an attorney needs in a round."""
        rng = self.case.rng(f"search/{who}/{now}")
        tries = [USUAL_TRIES if rng.random() < 0.15 else 1 for _ in range(rng.randint(1, 3))]
        if self.case.has("retry_storm") and now == self.case.begin and who == self.first:
            tries[0] = USUAL_TRIES
        return tries

    def number(self, letters: str) -> str:
        """Return the next number of a matter."""
        self.numbers += 2 + self.numbers % 4
        return f"{letters}{self.numbers}"

    def do(self, who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
        """Record an act."""
        if who not in self.logs:
            role = "attorney" if who in ATTORNEYS else ("client" if who in CLIENTS else "desk")
            self.logs[who] = AgentLogger(who, role)
        return self.logs[who].log_action(what, data, causes=causes)


async def search(f: Firm, who: str, matter: Matter, cause: str) -> str:
    """Have the scout search; a search that times out is tried a few times."""
    case, last = f.case, cause
    for place, usual in enumerate(f.tries(f.now, who)):
        planned = case.has("retry_storm") and f.now == case.begin and who == f.first and place == 0
        asked = f.do(who, "ask_scout", last, matter=matter.number, question=place)
        tries = STORM if planned and case.strikes("retry_storm", f.now) else usual
        for attempt in range(tries):
            if f.quota < 1:
                refused = f.do(SCOUT, "stop_searching", [asked, f.spender], matter=matter.number, left=0)
                went = f.do(who, "file_unsearched", refused, matter=matter.number)
                case.hop(f.spender, refused, went)
                case.symptom(
                    f.do(matter.client, "read_opinion", went, matter=matter.number, pages=1),
                    f"The opinion on {matter.number} is one page and says that no search could be made",
                    f"{who} told us the search plan is empty, in the middle of the month",
                    "We pay for a proper novelty search and got an excuse",
                )
                return went
            f.quota -= 1
            tried = f.do(SCOUT, "try_search", asked, matter=matter.number, attempt=attempt)
            if planned and tries == STORM:
                f.spender = tried
                if attempt in {2, 3, 4, 5}:
                    case.root(tried)
            f.spender = f.spender or tried
            found = await prior_art_search(matter.number, usual == 1)
            if found != "timeout":
                last = f.do(SCOUT, "hand_hits", tried, matter=matter.number, hits=found)
                break
    return last


async def send_file(f: Firm, matter: Matter, cause: str, planned: bool) -> None:
    """File an answer at the office; one that the gateway sends back is made whole and filed again."""
    sent = f.do(FILER, "send_file", cause, matter=matter.number)
    is_whole = not planned and f.case.rng(f"gate/{matter.number}").random() < 0.8
    answer = await office_gateway(matter.number, is_whole)
    read = f.do(FILER, "read_answer", sent, matter=matter.number, answer=answer)
    if planned:
        f.case.root(read)
    if answer != "accepted" and not (planned and f.case.strikes("swallowed_failure", f.now)):
        mended = f.do(FILER, "add_page", read, matter=matter.number)
        sent = f.do(FILER, "send_file", mended, matter=matter.number)
        answer = await office_gateway(matter.number, is_whole=True)
        read = f.do(FILER, "read_answer", sent, matter=matter.number, answer=answer)
    matter.is_filed = answer == "accepted"
    reported = f.do(FILER, "report_filed", read, matter=matter.number)
    if planned:
        f.case.root(reported)
    matter.cause = f.do(matter.attorney, "close_letter", reported, matter=matter.number)
    if planned:
        f.case.hop(matter.cause)


async def answer_letter(f: Firm, who: str) -> None:
    """Work on one letter of the office, in a run of its own."""
    case, rng = f.case, f.case.rng(f"letter/{who}/{f.now}")
    mine = f.now == case.begin and who == f.first
    misses, hurries = mine and case.has("trusted_tool"), mine and case.has("swallowed_failure")
    matter = Matter(f.number("M"), who, rng.choice(CLIENTS), f.now + rng.randint(1, 9))
    file_on = rng.randint(f.now, matter.due)
    if misses or hurries:
        matter.due = case.end
        matter.client = f.client
        file_on = f.now if hurries else case.end
    async with recorder.run("patents", {"letter": matter.number}):
        async with recorder.step(f"read-{matter.number}", "Read the letter", step_type="read") as step:
            read = f.do(who, "read_letter", None, matter=matter.number, thing=rng.choice(THINGS))
            extra = matter.due - f.now + (2 if misses and case.strikes("trusted_tool", f.now) else 0)
            asked = f.do(who, "ask_calculator", read, matter=matter.number, received=f.now)
            date = await deadline_calculator(matter.number, f.now, extra)
            noted = f.do(who, "note_date", asked, matter=matter.number, date=date)
            entered = f.do(DOCKET, "enter_date", noted, matter=matter.number, date=date)
            if misses:
                case.root(asked, noted)
                case.hop(entered)
            step.output = {"date": date}
        if hurries:
            await send_file(f, matter, entered, planned=True)
        else:
            found = await search(f, who, matter, entered)
            async with recorder.step(f"write-{matter.number}", "Write the answer", step_type="write"):
                text = f"Claim 1 of {matter.number} differs in the bearing"
                recorder.record_model_call(
                    step_id=f"write-{matter.number}",
                    model_name="clause-1",
                    prompt=f"Answer {found}",
                    output=text,
                )
                matter.cause = f.do(
                    who, "write_answer", found, matter=matter.number, words=rng.randint(90, 900)
                )
            day = date if misses else file_on
            f.filings.setdefault(day, []).append(matter)
        f.office_dates.setdefault(matter.due, []).append(matter)


async def open_case(f: Firm, who: str, fee_on: int, turn: asyncio.Event, is_late: bool) -> None:
    """Look which reference is free, and take it for a new case; whoever is late looks when the other has taken one."""
    if is_late:
        await turn.wait()
    reference = f.next_reference
    looked = f.do(who, "look_up_reference", None, free=reference)
    await asyncio.sleep(0)
    client = f.case.rng(f"client/{who}/{f.now}").choice(CLIENTS)
    taken = f.do(who, "take_reference", looked, reference=reference, client=client)
    f.next_reference = reference + 1
    booked = f.do(DOCKET, "book_fee", taken, reference=reference, round=fee_on)
    f.references.setdefault(reference, []).append((f.number("A"), client, booked))
    if reference not in f.fees.setdefault(fee_on, []):
        f.fees[fee_on].append(reference)
    if f.case.has("race") and f.now == f.case.begin:
        f.case.root(looked, taken)
    turn.set()


async def open_cases(f: Firm) -> None:
    """Let two attorneys open a case side by side."""
    case, rng = f.case, f.case.rng(f"open/{f.now}")
    planned = f.now == case.begin and case.has("race")
    fee_on, turn = f.now + rng.randint(1, 10), asyncio.Event()
    if rng.random() < 0.5 or planned:
        pair = (f.first, f.second) if rng.random() < 0.5 or planned else (f.second, f.first)
        is_late = not (planned and case.strikes("race", f.now))
        fee_on = case.end if planned else fee_on
        jobs = [open_case(f, who, fee_on, turn, is_late and place == 1) for place, who in enumerate(pair)]
        await asyncio.gather(*jobs)


def pay_fees(f: Firm) -> None:
    """Pay what is due today: an amount for each reference; the office books it for the oldest case of that name."""
    for reference in f.fees.pop(f.now, []):
        cases = f.references.pop(reference)
        paid = f.do(PAYER, "pay_fee", cases[0][2], reference=reference, euros=320)
        for place, (number, client, booked) in enumerate(cases):
            if place == 0:
                f.do(OFFICE, "book_payment", paid, reference=reference, application=number)
                continue
            lapsed = f.do(OFFICE, "declare_lapsed", [booked, paid], application=number)
            f.case.hop(booked, paid, lapsed)
            f.case.symptom(
                f.do(client, "lose_right", lapsed, application=number),
                f"A letter came today that our application {number} is dead because nobody paid for it",
                f"{client} sent 320 euros in time and still lost the application",
                "How can a fee be missed when the invoice was settled two weeks ago?",
                f"{PAYER} says everything has been paid, the register says the contrary",
            )


async def file_and_lapse(f: Firm) -> None:
    """File what the docket shows for today; then the office looks at its own dates."""
    for matter in f.filings.pop(f.now, []):
        shown = f.do(DOCKET, "remind", matter.cause, matter=matter.number)
        await send_file(f, matter, shown, planned=False)
    for matter in f.office_dates.pop(f.now, []):
        if matter.is_filed:
            f.do(OFFICE, "examine", matter.cause, matter=matter.number)
            continue
        lapsed = f.do(OFFICE, "declare_lapsed", matter.cause, application=matter.number)
        f.case.hop(lapsed)
        f.case.symptom(
            f.do(matter.client, "lose_right", lapsed, application=matter.number),
            f"The register shows {matter.number} as withdrawn, we never withdrew anything",
            f"{matter.client} hears from a competitor that its patent is gone",
            f"{OFFICE} writes that no answer ever came for {matter.number}",
            "We lost three years of work over a missed letter, please explain",
        )


async def chores(f: Firm) -> None:
    """Do what belongs to any week."""
    rng = f.case.rng(f"rest/{f.now}")
    who, minutes = rng.choice(ATTORNEYS), rng.randint(2, 50)
    if rng.random() < 0.5:
        f.do(who, rng.choice(("call_client", "sort_drawer", "train_junior")), None, minutes=minutes)
    if rng.random() < 0.25:
        SystemLogger("firm").log_config(rng.choice(("hourly_rate", "font", "reminder_hour")), 3, minutes)
    if rng.random() < 0.15 or f.now == f.case.decoy_at:
        AgentLogger(rng.choice((FILER, DOCKET, SCOUT)), "desk").error(
            "printer jam, page printed again", {"page": minutes}
        )
    if f.now == f.case.end + 1 and f.case.has("retry_storm"):
        f.quota = 10**6
    await asyncio.sleep(0)


async def work(f: Firm) -> None:
    """Play all rounds."""
    for now in range(f.rounds):
        f.now = now
        await chores(f)
        await asyncio.gather(*(answer_letter(f, who) for who in ATTORNEYS), open_cases(f))
        pay_fees(f)
        await file_and_lapse(f)


def play(case: Case) -> None:
    """Play some months of the firm."""
    rounds = case.rng("rounds").choice((12, 25, 45, 70))
    case.window(rounds)
    asyncio.run(work(Firm(case, rounds)))


WORLD = World("patents", "edges", ("trusted_tool", "retry_storm", "race", "swallowed_failure"), play, 27)
