"""A market of reinsurance: slips, quotes, binders, losses. Actors with a post room; messages and `causes=`; no ticks."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger
from benchmarks.fault_worlds.kit import Case, World

CEDENTS = ("Nordlys", "Vega", "Tamar", "Kestrel", "Palmeira", "Ostra")
BROKERS = ("Broker_Hale", "Broker_Quist", "Broker_Roux", "Broker_Imre")
CARRIERS = (
    "Alpina_Re",
    "Boreal_Re",
    "Cobalt_Re",
    "Delta_Re",
    "Equinox_Re",
    "Fjord_Re",
    "Granit_Re",
    "Helios_Re",
)
RETROS = ("Retro_Lagoon", "Retro_Monsoon")
LINES = ("hull", "cargo", "crops", "plant")
WET = ("Elm Delta", "Oxmouth", "Low Fens")  # zones on flood plains
DRY = ("Highmoor", "Castle Rock", "Stonefield", "Larchhill")
BIG_K = 10_000  # lines above this many thousands are ceded on
WIRE, COURIER = 0.01, 0.3  # of a week


@dataclass
class Line:
    """What a carrier has written of a risk; sums in thousands."""

    share: float
    sum_k: float
    limit_k: float
    zone: str
    booked: str
    endorsed: str = ""
    retro: str = ""


class Party:
    """Somebody of the market, with a letter box."""

    role = "office"

    def __init__(self, name: str, market: Market) -> None:
        self.name, self.market = name, market
        self.log = AgentLogger(name, self.role)

    def post(self, to: str, kind: str, causes: str | list[str], delay: float = WIRE, **body: Any) -> str:
        """Send a message; it arrives after the delay."""
        message = self.log.send(to, {"kind": kind, **body}, causes=causes)
        self.market.put(delay, to, message)
        return message.event_id

    def do(self, act: str, causes: str | list[str] | None = None, **what: Any) -> str:
        """Record an action."""
        return self.log.log_action(act, {"week": self.market.week, **what}, causes=causes)

    def take(self, message: Any) -> None:
        """Open a letter and do what it asks for."""
        body = dict(message.body)
        getattr(self, f"on_{body.pop('kind')}")(self.log.receive(message), **body)


class Cedent(Party):
    """An insurer that passes risks on."""

    role = "cedent"

    def __init__(self, name: str, market: Market) -> None:
        super().__init__(name, market)
        self.covers: dict[str, float] = {}

    def place(self, risk: str, sum_k: int, zone: str, broker: str, panel: list[str]) -> None:
        self.covers[risk] = sum_k
        event = self.do("describe_risk", risk=risk, sum_k=sum_k, zone=zone)
        self.post(broker, "submission", event, risk=risk, sum_k=sum_k, zone=zone, panel=panel)

    def endorse(self, risk: str, version: int, limit_k: float, broker: str) -> None:
        self.covers[risk] = limit_k
        event = self.do("amend", risk=risk, version=version, limit_k=limit_k)
        self.post(broker, "endorsement", event, risk=risk, version=version, limit_k=limit_k)

    def declare(self, risk: str, line: str, broker: str, carrier: str) -> None:
        event = self.do("describe_small_risk", risk=risk, line=line)
        self.post(broker, "small_risk", event, risk=risk, line=line, carrier=carrier)

    def claim(self, risk: str, amount_k: float, broker: str) -> None:
        event = self.do("report_loss", risk=risk, amount_k=amount_k)
        self.post(broker, "loss", event, risk=risk, amount_k=amount_k)
        if risk == self.market.planned:
            self.market.case.trigger(event)

    def on_cover_note(self, event: str, risk: str, lead: str) -> None:
        self.do("file_cover_note", event, risk=risk, lead=lead)

    def on_answer(self, event: str, risk: str, cover: str) -> None:
        """Note whether a small risk is covered."""
        if cover == "confirmed":
            self.do("note_cover", event, risk=risk)
        else:
            self.market.no_cover(self.do("note_no_cover", event, risk=risk), self.name, risk)

    def on_payment(self, event: str, risk: str, amount_k: float, paid_k: float) -> None:
        """Compare what was paid with what the own files say."""
        due = min(amount_k, self.covers[risk])
        if paid_k < 0.9 * due:
            short = self.do("book_shortfall", event, risk=risk, paid_k=paid_k, due_k=due)
            self.market.short_paid(short, self.name, risk, paid_k, due)
        else:
            self.do("book_receipt", event, risk=risk, paid_k=paid_k)


class Broker(Party):
    """Takes slips around, keys in what clients write, passes letters on."""

    role = "broker"

    def __init__(self, name: str, market: Market) -> None:
        super().__init__(name, market)
        self.slips: dict[str, dict[str, Any]] = {}
        self.powers: dict[tuple[str, str], tuple[str, str]] = {}

    def on_submission(self, event: str, risk: str, sum_k: int, zone: str, panel: list[str]) -> None:
        """Key in the risk and show the slip to the panel."""
        value, is_wrong = self.market.keyed(risk, sum_k)
        keyed = self.do("key_in", event, risk=risk, sum_insured=value, zone=zone)
        self.slips[risk] = {"sum": value, "zone": zone, "panel": panel, "quotes": {}}
        sent = [self.post(name, "slip", keyed, risk=risk, sum_insured=value, zone=zone) for name in panel]
        if is_wrong or risk == self.market.planned:
            self.market.on_keyed(keyed, sent)

    def on_quote(self, event: str, risk: str, carrier: str, share: float, rate: float, last: bool) -> None:
        """Bargain once over a high rate; close the slip with the last quote."""
        slip = self.slips[risk]
        if not last and rate > 3.2:
            offer = self.do("haggle", event, risk=risk, carrier=carrier, rate=round(rate - 0.4, 2))
            self.post(carrier, "counter", offer, risk=risk, share=share, rate=round(rate - 0.4, 2))
            return
        slip["quotes"][carrier] = (share, event)
        if len(slip["quotes"]) < len(slip["panel"]):
            return
        shares = {name: slip["quotes"][name][0] for name in slip["panel"]}
        whole = sum(shares.values())
        closed = self.do(
            "allocate", [quote[1] for quote in slip["quotes"].values()], risk=risk, shares=shares
        )
        for name, part in shares.items():
            share = min(part, part / whole) if name == slip["panel"][0] else part / max(whole, 1.0)
            self.post(name, "bound", closed, risk=risk, share=round(share, 3), **self.terms(slip))
        self.post(self.market.owner[risk], "cover_note", closed, risk=risk, lead=slip["panel"][0])

    @staticmethod
    def terms(slip: dict[str, Any]) -> dict[str, Any]:
        return {"sum_insured": slip["sum"], "zone": slip["zone"], "lead": slip["panel"][0]}

    def on_endorsement(self, event: str, risk: str, version: int, limit_k: float) -> None:
        """Pass an endorsement on to the leader, by wire or by courier."""
        by = self.market.way_of(risk, version)
        sent = self.do("forward", event, risk=risk, version=version, by=by)
        self.market.on_forward(sent, risk)
        delay = COURIER if by == "courier" else WIRE
        lead = self.slips[risk]["panel"][0]
        self.post(lead, "endorsement", sent, delay, risk=risk, version=version, limit_k=limit_k)

    def on_authority(self, event: str, power: str, line: str, carrier: str, until_week: int) -> None:
        self.powers[carrier, line] = power, self.do("file_authority", event, power=power, line=line)

    def on_small_risk(self, event: str, risk: str, line: str, carrier: str) -> None:
        """Bind a small risk under the authority that is on file."""
        power, filed = self.powers.get((carrier, line), ("none", ""))
        causes = [event, filed] if filed else [event]
        bound = self.do("bind_under", causes, risk=risk, power=power, carrier=carrier)
        self.market.hop(bound, risk)
        self.post(carrier, "declaration", bound, risk=risk, power=power)

    def on_verdict(self, event: str, risk: str, cover: str) -> None:
        told = self.do("tell_client", event, risk=risk, cover=cover)
        self.post(self.market.owner[risk], "answer", told, risk=risk, cover=cover)

    def on_loss(self, event: str, risk: str, amount_k: float) -> None:
        noted = self.do("notify_leader", event, risk=risk, amount_k=amount_k)
        self.market.hop(noted, risk)
        self.post(self.slips[risk]["panel"][0], "notice", noted, risk=risk, amount_k=amount_k)


class Carrier(Party):
    """A reinsurer."""

    role = "reinsurer"

    def __init__(self, name: str, market: Market) -> None:
        super().__init__(name, market)
        self.lines: dict[str, Line] = {}
        self.grades: dict[str, tuple[str, str]] = {}
        self.until: dict[str, int] = {}

    def on_zone_report(self, event: str, zone: str, grade: str, report: str) -> None:
        noted = self.do("note_grade", event, zone=zone, grade=grade, report=report)
        self.grades[zone] = grade, noted
        self.market.on_grade(noted, self.name, zone)

    def on_slip(self, event: str, risk: str, sum_insured: float, zone: str) -> None:
        """Quote a large share of dry risks and a small one of wet ones."""
        grade, known = self.grades.get(zone, ("flood plain" if zone in WET else "dry", ""))
        rng = self.market.case.rng(f"quote/{self.name}/{risk}")
        share = round(rng.uniform(0.5, 0.7) if grade == "dry" else rng.uniform(0.05, 0.15), 2)
        rate = round(rng.uniform(2.0, 4.0), 2)
        causes = [event, known] if known else [event]
        quoted = self.log.log_decision(
            "quote",
            {"risk": risk, "zone": zone, "share": share, "rate": rate},
            f"zone is {grade}",
            causes=causes,
        )
        self.market.hop(quoted, risk, self.name)
        to = self.market.broker[risk]
        self.post(to, "quote", quoted, risk=risk, carrier=self.name, share=share, rate=rate, last=False)

    def on_counter(self, event: str, risk: str, share: float, rate: float) -> None:
        agreed = self.log.log_decision("agree", {"risk": risk, "rate": rate}, causes=event)
        to = self.market.broker[risk]
        self.post(to, "quote", agreed, risk=risk, carrier=self.name, share=share, rate=rate, last=True)

    def on_bound(self, event: str, risk: str, share: float, sum_insured: float, zone: str, lead: str) -> None:
        """Book the line; a leader cedes a big one to a retrocessionaire, and enters it with the clearing house."""
        booked = self.do("book_line", event, risk=risk, share=share, sum_k=sum_insured)
        self.lines[risk] = Line(share, sum_insured, sum_insured, zone, booked)
        self.market.hop(booked, risk, self.name)
        if lead != self.name:
            return
        if sum_insured > BIG_K:
            self.lines[risk].retro = retro = RETROS[len(risk + self.name) % 2]
            if self.market.cedes(risk):
                self.post(retro, "cession", booked, risk=risk, share=share)
        entered = self.post("clearing_house", "entry", booked, risk=risk, sum_k=sum_insured)
        if risk == self.market.planned:
            self.market.on_booked(event, booked, entered)

    def on_endorsement(self, event: str, risk: str, version: int, limit_k: float) -> None:
        self.lines[risk].limit_k = limit_k
        done = self.do("endorse", event, risk=risk, version=version, limit_k=limit_k)
        self.lines[risk].endorsed = done
        self.market.on_forward(done, risk)

    def grant(self, power: str, line: str, broker: str, until_week: int) -> str:
        """Let a broker bind small risks until a week."""
        self.until[power] = until_week
        event = self.do("grant_authority", power=power, line=line, broker=broker, until_week=until_week)
        self.post(
            broker, "authority", event, power=power, line=line, carrier=self.name, until_week=until_week
        )
        return event

    def on_declaration(self, event: str, risk: str, power: str) -> None:
        """Look whether the broker was entitled."""
        cover = "confirmed" if self.until.get(power, -1) >= self.market.week else "declined"
        looked = self.do("check_declaration", event, risk=risk, power=power, cover=cover)
        self.market.hop(looked, risk)
        self.post(self.market.broker[risk], "verdict", looked, risk=risk, cover=cover)

    def on_notice(self, event: str, risk: str, amount_k: float) -> None:
        """Adjust a loss; what was ceded is called first."""
        line = self.lines[risk]
        causes = [event, line.endorsed or line.booked]
        owed = min(amount_k, line.limit_k, line.sum_k)
        found = self.do("adjust", causes, risk=risk, amount_k=amount_k, owed_k=owed)
        self.market.hop(found, risk)
        if line.retro:
            self.post(line.retro, "call", found, risk=risk, amount_k=amount_k, owed_k=owed, carrier=self.name)
        else:
            self.settle(found, risk, amount_k, owed)

    def on_reply(self, event: str, risk: str, amount_k: float, owed_k: float, honoured: bool) -> None:
        self.settle(event, risk, amount_k, owed_k if honoured else round(0.4 * owed_k))

    def settle(self, cause: str, risk: str, amount_k: float, paid_k: float) -> None:
        paid = self.do("settle", cause, risk=risk, paid_k=paid_k)
        self.market.hop(paid, risk)
        self.post("clearing_house", "transfer", paid, risk=risk, amount_k=amount_k, paid_k=paid_k)

    def on_stress(self, event: str, test: str) -> None:
        """List the largest line on the flood plains."""
        wet = {risk: line.share for risk, line in self.lines.items() if line.zone in WET}
        worst = max(wet, key=lambda risk: wet[risk], default="")
        listed = self.do("list_lines", event, test=test, risk=worst, largest=wet.get(worst, 0.0))
        self.market.hop(listed, worst)
        self.post(
            "supervisor",
            "lines",
            listed,
            test=test,
            carrier=self.name,
            risk=worst,
            largest=wet.get(worst, 0.0),
        )


class Retro(Party):
    """Insures reinsurers."""

    role = "retrocessionaire"

    def __init__(self, name: str, market: Market) -> None:
        super().__init__(name, market)
        self.known: dict[str, str] = {}

    def on_cession(self, event: str, risk: str, share: float) -> None:
        self.known[risk] = self.do("take_cession", event, risk=risk, share=share)

    def on_call(self, event: str, risk: str, amount_k: float, owed_k: float, carrier: str) -> None:
        honoured = risk in self.known
        causes = [event, self.known[risk]] if honoured else [event]
        said = self.do("honour" if honoured else "find_no_cession", causes, risk=risk, owed_k=owed_k)
        self.market.hop(said, risk)
        self.post(carrier, "reply", said, risk=risk, amount_k=amount_k, owed_k=owed_k, honoured=honoured)


class House(Party):
    """The clearing house."""

    role = "clearing"

    def on_entry(self, event: str, risk: str, sum_k: float) -> None:
        self.do("register", event, risk=risk, sum_k=sum_k)

    def on_transfer(self, event: str, risk: str, amount_k: float, paid_k: float) -> None:
        sent = self.do("transfer", event, risk=risk, paid_k=paid_k)
        self.market.hop(sent, risk)
        self.post(self.market.owner[risk], "payment", sent, risk=risk, amount_k=amount_k, paid_k=paid_k)


class Surveyor(Party):
    """Grades zones, and writes to every carrier."""

    role = "surveyor"

    def report(self, zone: str, to: str, grade: str, number: str) -> str:
        event = self.do("write_report", report=number, zone=zone, reader=to, grade=grade)
        self.post(to, "zone_report", event, zone=zone, grade=grade, report=number)
        return event


class Supervisor(Party):
    """Tests carriers."""

    role = "supervisor"

    def test(self, carrier: str, number: str) -> None:
        event = self.do("open_test", test=number, carrier=carrier)
        self.post(carrier, "stress", event, test=number)

    def on_lines(self, event: str, test: str, carrier: str, risk: str, largest: float) -> None:
        if largest <= 0.3:
            self.do("pass_test", event, test=test, carrier=carrier)
        else:
            self.market.breach(
                self.do("fail_test", event, test=test, carrier=carrier, largest=largest), carrier, risk
            )


@dataclass
class Market:
    """Everybody, the post on its way, and the plan of the case: cedent `mine`, broker `hand`, carrier `lead`."""

    case: Case
    week: int = 0
    clock: float = 0.0
    count: int = 0
    post: list[tuple[float, int, str, Any]] = field(default_factory=list)
    owner: dict[str, str] = field(default_factory=dict)
    broker: dict[str, str] = field(default_factory=dict)
    born: dict[str, int] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    ways: dict[tuple[str, int], str] = field(default_factory=dict)
    uncut: set[str] = field(default_factory=set)
    planned: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    told: dict[str, tuple[str, str]] = field(default_factory=dict)

    def build(self) -> None:
        """Found the firms."""
        rng = self.case.rng("market")
        self.mine, self.other = rng.sample(CEDENTS, 2)
        self.hand, *self.hands = rng.sample(BROKERS, 4)
        self.lead, self.second, *self.rest = rng.sample(CARRIERS, 8)
        self.zone, self.line = rng.choice(WET), rng.choice(LINES)
        self.parties: dict[str, Any] = {name: Cedent(name, self) for name in CEDENTS}
        self.parties |= {name: Broker(name, self) for name in BROKERS}
        self.parties |= {name: Carrier(name, self) for name in CARRIERS}
        self.parties |= {name: Retro(name, self) for name in RETROS}
        self.parties["clearing_house"] = House("clearing_house", self)
        self.parties["survey_house"] = Surveyor("survey_house", self)
        self.parties["supervisor"] = Supervisor("supervisor", self)

    def number(self, letter: str) -> str:
        """Return the next number of authorities, or of tests."""
        self.numbers[letter] = self.numbers.get(letter, 0) + 1
        return f"{letter}{self.numbers[letter]:03}"

    def put(self, delay: float, to: str, message: Any) -> None:
        """Put a message into the post."""
        self.count += 1
        heapq.heappush(self.post, (self.clock + delay, self.count, to, message))

    def deliver(self) -> None:
        """Deliver what arrives within this week."""
        while self.post and self.post[0][0] < self.week + 1:
            self.clock, _, to, message = heapq.heappop(self.post)
            self.parties[to].take(message)

    def new_risk(self, cedent: str, broker: str, sum_k: int) -> str:
        """Give a risk its number."""
        risk = f"UMR{1000 + len(self.owner)}"
        self.owner[risk], self.broker[risk] = cedent, broker
        self.born[risk], self.sums[risk] = self.week, sum_k
        return risk

    def keyed(self, risk: str, sum_k: int) -> tuple[float, bool]:
        """Return the sum as the broker keys it in, in thousands as a rule."""
        if risk == self.planned and self.case.strikes("wrong_unit", self.week):
            return round(sum_k / 1000), True
        return sum_k, False

    def on_keyed(self, keyed: str, sent: list[str]) -> None:
        if self.case.has("wrong_unit"):
            self.case.root(keyed, *sent[:2])

    def way_of(self, risk: str, version: int) -> str:
        return self.ways.get((risk, version), "wire")

    def on_forward(self, event: str, risk: str) -> None:
        if self.case.has("out_of_order") and risk == self.planned and self.week == self.case.begin:
            self.case.root(event)

    def cedes(self, risk: str) -> bool:
        """Tell whether the leader writes to the retrocessionaire, as it should."""
        if risk == self.planned and self.case.strikes("omitted_message", self.week):
            return False
        return risk not in self.uncut

    def on_booked(self, bound: str, booked: str, entered: str) -> None:
        if self.case.has("omitted_message"):
            self.case.root(booked, bound, entered)

    def on_grade(self, noted: str, carrier: str, zone: str) -> None:
        case = self.case
        if case.has("false_belief") and (carrier, zone, self.week) == (self.lead, self.zone, case.begin):
            case.root(noted)

    def hop(self, event: str, risk: str, by: str = "") -> None:
        """Note an event of the risk that the case is about."""
        if risk and risk == self.planned and self.week == self.case.end and by in {"", self.lead}:
            self.case.hop(event)

    def no_cover(self, event: str, cedent: str, risk: str) -> None:
        """A small risk is without cover."""
        self.case.symptom(
            event,
            f"{risk} came back without cover",
            f"{cedent} wrote a {self.line} risk as always and learns two days later that nobody carries it",
            f"why was a small risk of {cedent} turned down? we bind dozens of these and never heard no",
            f"Uncovered small risks: 0 in every week up to {self.week}, now 1",
            "our client is uninsured and the ship leaves on Monday. How could this happen",
        )

    def short_paid(self, event: str, cedent: str, risk: str, paid: float, due: float) -> None:
        """A cedent gets less than it is due."""
        self.case.symptom(
            event,
            f"{cedent} got {paid} of {due}",
            f"a claim of {cedent} was paid short. The wording is clear, the amount is not disputed, and still",
            f"why does {risk} pay less than the cover note says",
            f"loss recovery of the market drops below 1.0 in week {self.week}. It must be 1.0 in this scenario",
            f"{cedent} is nearly bankrupt after one storm although it is reinsured to the hilt, {self.other} had a "
            "loss as well and got everything",
        )

    def breach(self, event: str, carrier: str, risk: str) -> None:
        """A carrier holds too much on the flood plain."""
        self.case.symptom(
            event,
            f"{carrier} fails the stress test",
            "One of eight reinsurers has far too much on the flood plain. None of them should write such lines",
            f"how did so much of {risk} end up with {carrier}",
            f"largest wet line: 0.1, 0.1, 0.1, then suddenly above a half in week {self.week}",
            f"{carrier} never takes more than a tenth in {self.zone}. Until now. Who told them to?",
        )


def placements(market: Market) -> None:
    """New risks are placed."""
    case, now = market.case, market.week
    rng = case.rng(f"placements/{now}")
    for _ in range(rng.randint(1, 3)):
        cedent, broker, zone = rng.choice(CEDENTS), rng.choice(BROKERS), rng.choice((*WET, *DRY))
        small = rng.random() < 0.2
        sum_k = rng.randint(20, 95) if small else rng.randint(3_000, 60_000)
        panel = rng.sample(CARRIERS, rng.choice((2, 3, 3)))
        if case.has("false_belief") and zone == market.zone:
            zone = "Highmoor"
        risk = market.new_risk(cedent, broker, sum_k)
        if sum_k > BIG_K and rng.random() < 0.1:  # kept whole, and nothing happens to it
            market.uncut.add(risk)
            market.spoilt.add(risk)
        market.parties[cedent].place(risk, sum_k, zone, broker, panel)
    at_begin = ("wrong_unit", "omitted_message", "out_of_order")
    early = any(map(case.has, at_begin))
    start = case.begin - case.has("out_of_order")
    if (early and now == start) or (case.has("false_belief") and now == case.end):
        sum_k = rng.randint(20_000, 60_000)
        market.planned = risk = market.new_risk(market.mine, market.hand, sum_k)
        market.spoilt.add(risk)
        zone = market.zone if case.has("false_belief") else "Stonefield"
        market.parties[market.mine].place(risk, sum_k, zone, market.hand, [market.lead, *market.rest[:2]])


def endorsements(market: Market) -> None:
    """Covers are amended, now and then twice in a week."""
    case, now = market.case, market.week
    rng = case.rng(f"endorsements/{now}")
    old = [risk for risk in market.born if market.born[risk] < now and risk not in market.spoilt]
    if old and rng.random() < 0.5:
        risk, twice, mixed = rng.choice(old), rng.random() < 0.5, rng.random() < 0.4
        amend(market, risk, twice, mixed, rng.uniform(0.3, 0.5))
        if mixed and twice:  # nothing is claimed under it
            market.spoilt.add(risk)
        else:
            market.born[risk] = now  # nothing is claimed before it has arrived
    if case.has("out_of_order") and now == case.begin:
        amend(market, market.planned, True, case.strikes("out_of_order", now), 0.4)


def amend(market: Market, risk: str, twice: bool, mixed: bool, part: float) -> None:
    """Send one endorsement, or a draft and the final one."""
    sum_k, cedent, broker = market.sums[risk], market.parties[market.owner[risk]], market.broker[risk]
    version = 10 * market.week
    if twice:
        market.ways[risk, version + 1] = "courier" if mixed else "wire"
        cedent.endorse(risk, version + 1, round(part * sum_k), broker)
    elif mixed:
        market.ways[risk, version + 2] = "courier"
    cedent.endorse(risk, version + 2, round(0.9 * sum_k), broker)


def losses(market: Market) -> None:
    """Storms, thefts, fires."""
    case, now = market.case, market.week
    rng = case.rng(f"losses/{now}")
    old = [risk for risk in market.born if market.born[risk] < now and risk not in market.spoilt]
    for risk in rng.sample(old, min(len(old), rng.randint(0, 2))):
        amount = round(rng.uniform(0.1, 0.85) * market.sums[risk])
        market.parties[market.owner[risk]].claim(risk, amount, market.broker[risk])
    if now == case.end and (
        case.has("wrong_unit") or case.has("omitted_message") or case.has("out_of_order")
    ):
        risk = market.planned
        market.parties[market.mine].claim(risk, round(0.8 * market.sums[risk]), market.hand)


def small_risks(market: Market) -> None:
    """Authorities are granted, and small risks are bound under them."""
    case, now = market.case, market.week
    rng = case.rng(f"small/{now}")
    if rng.random() < 0.5 or now == 0:
        carrier, broker, line = rng.choice(CARRIERS), rng.choice(market.hands), rng.choice(LINES)
        power, brief, length = market.number("A"), rng.random() < 0.4, rng.randint(26, 60)
        length = rng.randint(1, 4) if brief else length
        market.parties[carrier].grant(power, line, broker, now + length)
        market.told[power] = (carrier, f"{broker}/{line}/{now + length}")
    mine = case.has("expired_permission")
    if mine and now == case.begin:
        ends = rng.randint(case.begin, case.end - 1), case.end + rng.randint(8, 40)
        until = ends[0] if case.strikes("expired_permission", now) else ends[1]
        power = market.number("A")
        case.root(market.parties[market.lead].grant(power, market.line, market.hand, until))
        market.deliver()
    for power, (carrier, words) in sorted(market.told.items()):
        broker, line, until = words.split("/")
        newest = market.parties[broker].powers.get((carrier, line), ("",))[0] == power
        if rng.random() < 0.12 and newest and int(until) >= now:
            cedent = rng.choice(CEDENTS)
            risk = market.new_risk(cedent, broker, 50)
            market.spoilt.add(risk)
            market.parties[cedent].declare(risk, line, broker, carrier)
    if mine and now == case.end:
        market.planned = risk = market.new_risk(market.mine, market.hand, 50)
        market.spoilt.add(risk)
        market.parties[market.mine].declare(risk, market.line, market.hand, market.lead)


def surveys(market: Market) -> None:
    """Zones are graded; a slip of the pen is corrected within the week."""
    case, now = market.case, market.week
    rng = case.rng(f"surveys/{now}")
    house = market.parties["survey_house"]
    zones = [rng.choice((*WET, *DRY))] if rng.random() < 0.25 else []
    slip = rng.choice(CARRIERS) if rng.random() < 0.4 else ""
    mine = case.has("false_belief")
    if mine:
        zones = [zone for zone in zones if zone != market.zone or now < case.begin]
        zones += [market.zone] if now == case.begin else []
    for zone in zones:
        grade, wrong = ("flood plain", "dry") if zone in WET else ("dry", "flood plain")
        planned = mine and zone == market.zone and now == case.begin
        for name in CARRIERS:
            number = f"S{now:03}{zone[0]}-{name[0]}"
            if name == slip and not planned:
                house.report(zone, name, wrong, number)
                house.report(zone, name, grade, f"{number}/2")
            elif planned and name == market.lead and case.strikes("false_belief", now):
                case.root(house.report(zone, name, wrong, number))
            else:
                sent = house.report(zone, name, grade, number)
                if planned and name == market.lead:
                    case.root(sent)
    market.deliver()


def tests_and_chores(market: Market) -> None:
    """Stress tests, weights of models, things that break."""
    case, now = market.case, market.week
    rng = case.rng(f"chores/{now}")
    if rng.random() < 0.35:
        market.parties["supervisor"].test(rng.choice(CARRIERS), market.number("T"))
    if case.has("false_belief") and now == case.end:
        market.deliver()
        market.clock = now + 0.9
        market.parties["supervisor"].test(market.lead, market.number("T"))
    if rng.random() < 0.2:
        market.parties[rng.choice(CARRIERS)].do(
            "set_weight", peril=rng.choice(("wind", "flood", "hail")), weight=rng.randint(1, 9)
        )
    if rng.random() < 0.15:
        party = market.parties[rng.choice((*BROKERS, *RETROS))]
        broken = party.log.warning("line dropped", extra={"week": now})
        party.do("dial_again", broken)
    if rng.random() < 0.3:
        market.parties[rng.choice(BROKERS)].do("lunch_with_client", client=rng.choice(CEDENTS))
    if rng.random() < 0.1 or now == case.decoy_at:
        who = market.mine if now == case.decoy_at else rng.choice(CEDENTS)
        market.parties["clearing_house"].do("change_account_number", client=who)


def play(case: Case) -> None:
    """Play a season or a year of the market, week by week."""
    weeks = case.rng("weeks").choice((12, 20, 34, 54))
    case.window(weeks)
    market = Market(case)
    market.build()
    for now in range(weeks):
        market.week, market.clock = now, float(now)
        surveys(market)
        small_risks(market)
        endorsements(market)
        losses(market)
        placements(market)
        market.deliver()
        tests_and_chores(market)
        market.deliver()


WORLD = World(
    "reinsurers",
    "edges",
    ("expired_permission", "out_of_order", "wrong_unit", "omitted_message", "false_belief"),
    play,
    author=16,
)
