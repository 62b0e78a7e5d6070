"""Vaccines on their way from a store to clinics. Everything that one place tells another is a message, sent and received."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from Agent import AgentLogger, PerformanceLogger, tick
from benchmarks.fault_worlds.kit import Case, World

HOURS = 100
FRIDGES = ("fridge_a", "fridge_b", "fridge_c", "fridge_d", "fridge_e")
CLINICS = ("clinic_oak", "clinic_elm", "clinic_ash", "clinic_fir")
TRUCKS = ("truck_1", "truck_2", "truck_3")
ROADS = ("pass road", "coast road", "ferry")
WARM_AT = 8.0


class Post:
    """Every place has a logger, and an inbox that keeps the id of what last arrived on a subject."""

    def __init__(self, case: Case) -> None:
        self.case = case
        roles = dict.fromkeys(FRIDGES, "fridge") | dict.fromkeys(CLINICS, "clinic")
        roles |= dict.fromkeys(TRUCKS, "truck")
        roles |= {"dispatch": "office", "duty_nurse": "nurse", "road_news": "news", "returns": "office"}
        self.at = {name: AgentLogger(name, role) for name, role in roles.items()}

    def tell(self, sender: str, to: str, causes: Any = None, **body: Any) -> tuple[str, str]:
        message = self.at[sender].send(to, body, causes=causes)
        return message.event_id, self.at[to].receive(message)

    def do(self, who: str, what: str, causes: Any = None, **data: Any) -> str:
        return self.at[who].log_action(what, data, causes=causes)


def play(case: Case) -> None:
    post = Post(case)
    rng, plan = case.rng("weather"), case.rng("plan")
    begin, end = case.window(HOURS)
    bad_fridge = plan.choice(FRIDGES)
    clinic, _other_clinic = plan.sample(CLINICS, 2)
    truck = plan.choice(TRUCKS)
    road = plan.choice(ROADS)
    offset: dict[str, float] = defaultdict(float)
    true_air = dict.fromkeys(FRIDGES, 4.6)
    beliefs: dict[str, tuple[bool, str]] = dict.fromkeys(ROADS, (True, ""))
    warming: set[str] = set()
    metrics = PerformanceLogger("dispatch")
    step_down = 4.2 / max(1, end - begin)
    last_reading: dict[str, str] = {}
    highest: dict[str, float] = defaultdict(float)
    noted: dict[str, str] = {}

    def read(fridge: str, hour: int, scale: str = "C") -> None:
        """A fridge regulates on its own probe, reports it, and the office answers if it is warm."""
        if case.has("slow_drift") and fridge == bad_fridge and begin <= hour < end and case.faulty:
            offset[fridge] -= step_down
        target = 4.6 - offset[fridge]
        if fridge in warming:
            target = 15.0
        noise = rng.uniform(-0.25, 0.25)
        true_air[fridge] += (target - true_air[fridge]) * (0.7 if fridge in warming else 0.95)
        shown = round(true_air[fridge] + offset[fridge] + noise, 2)
        probe = round(true_air[fridge] + noise / 2, 2)
        value = round(shown * 9 / 5 + 32, 1) if scale == "F" else shown
        taken = post.do(fridge, "read_probe", shown=value, wall=round(probe, 1), door="closed")
        sent, received = post.tell(fridge, "dispatch", taken, topic="temperature", value=value)
        last_reading[fridge] = received
        highest[fridge] = max(highest[fridge], value)
        if scale == "F":
            case.root(taken, sent)
        if offset[fridge] and len(case.roots) < 6:
            case.root(taken, sent)

    def note_highest(fridge: str) -> None:
        """The office notes the highest value that a fridge reported; it goes with the papers of the next box."""
        noted[fridge] = post.do(
            "dispatch", "note_highest", last_reading[fridge], fridge=fridge, value=highest[fridge]
        )
        if fridge != bad_fridge:
            highest[fridge] = 0.0

    def deliver(place: str, carrier: str, fridge: str, hour: int, way: str, causes: Any) -> tuple[bool, str]:
        packed = post.do(
            fridge, "pack_box", causes, box=f"box_{hour:03}{place[-1]}", doses=rng.randint(40, 200)
        )
        _, got = post.tell(fridge, carrier, packed, topic="box", way=way)
        drove = post.do(carrier, "drive", got, way=way, to=place)
        _, came = post.tell(carrier, place, drove, topic="handed over")
        warm = true_air[fridge] > WARM_AT
        verdict = post.do(place, "check_vials", came, colour="grey" if warm else "clear")
        if case.kind in {"slow_drift", "swallowed_failure"} and place == clinic and carrier == truck:
            case.hop(packed, drove)
        return warm, verdict

    def restart(fridge: str, really: bool) -> str:
        """The nurse has a compressor restarted; its answer says whether it runs."""
        _, got = post.tell("duty_nurse", fridge, None, topic="restart compressor")
        tried = post.do(fridge, "restart_compressor", got, ok=True, current_ampere=1.9 if really else 0.0)
        sent, _ = post.tell(fridge, "duty_nurse", tried, topic="restarted", ok=True)
        if not really:
            warming.add(fridge)
            case.root(tried, sent)
        return tried

    def news(way: str, open_: bool, false: bool = False) -> None:
        others = [name for name in TRUCKS if name != truck]
        source = others[0] if rng.random() < 0.3 or false else "road_news"
        sent, got = post.tell(source, "dispatch", None, topic="road", way=way, open=open_)
        kept = post.do("dispatch", "note_road", got, way=way, open=open_)
        beliefs[way] = (open_, kept)
        if false:
            case.root(sent, got, kept)

    def undelivered(message_id: str, to: str, topic: str) -> str:
        data = {"to": to, "topic": topic}
        return post.at["returns"].warning("no such address, kept here", data, causes=message_id)

    def alarm(fridge: str, lost: bool) -> None:
        opened = post.do(fridge, "door_open", seconds=240)
        if lost:
            message = post.at[fridge].send("nurse_on_duty", {"topic": "door open"}, causes=opened)
            put = undelivered(message.event_id, "nurse_on_duty", "door open")
            case.root(put, message.event_id)
            warming.add(fridge)
            return
        _, got = post.tell(fridge, "duty_nurse", opened, topic="door open")
        post.do("duty_nurse", "close_door", got, fridge=fridge)

    spoilt = (
        f"the nurse of {clinic} threw a whole box away because the vials were grey",
        "a delivery arrived spoilt although nobody saw anything unusual on the way",
        f"{truck} brought a box to us that cannot be used any more",
        "grey vials again, who can tell me why",
    )

    for hour in range(HOURS):
        with tick(hour):
            for fridge in FRIDGES:
                wrong = fridge == bad_fridge and case.strikes("wrong_unit", hour)
                read(fridge, hour, "F" if wrong else "C")
                if wrong:
                    case.root(last_reading[fridge])
                if rng.random() < 0.2 or (fridge == bad_fridge and hour == begin):
                    note_highest(fridge)
            for _ in range(rng.randint(0, 2)):
                carrier = rng.choice([name for name in TRUCKS if name != truck])
                place = rng.choice([name for name in CLINICS if name != clinic])
                fridge = rng.choice([name for name in FRIDGES if name != bad_fridge])
                way = rng.choice([name for name in ROADS if name != road])
                chosen = post.do("dispatch", "choose_way", beliefs[way][1] or None, to=place, way=way)
                deliver(place, carrier, fridge, hour, way, chosen)
            if rng.random() < 0.25:
                news(rng.choice([name for name in ROADS if name != road]), rng.random() < 0.7)
            if rng.random() < 0.2:
                restart(rng.choice([name for name in FRIDGES if name != bad_fridge]), really=True)
            if rng.random() < 0.2:
                alarm(rng.choice([name for name in FRIDGES if name != bad_fridge]), lost=False)
            if rng.random() < 0.2:
                lost = post.at[rng.choice(TRUCKS)].send(
                    rng.choice(("depot_south", "nurse_on_duty")), {"topic": "greetings"}
                )
                undelivered(lost.event_id, lost.recipient, "greetings")
            if rng.random() < 0.3:
                name = rng.choice(TRUCKS)
                post.at[name].log_strategy_update("speed", {"kmh": 80}, {"kmh": rng.choice((60, 70, 90))})
            if rng.random() < 0.2:
                post.at[rng.choice(TRUCKS)].error("no radio contact, tried again", {"attempt": 1})
            metrics.log_metric("boxes_on_the_way", rng.randint(0, 5), "boxes")
            if hour == case.decoy_at:
                post.do("duty_nurse", "change_shift", at=hour)
                post.at["duty_nurse"].warning("the list of the last shift was hard to read", {"page": 2})

            if hour == begin and case.has("swallowed_failure"):
                restart(bad_fridge, really=not case.strikes("swallowed_failure", hour))
            if hour == begin and case.has("dead_letter"):
                alarm(bad_fridge, lost=case.strikes("dead_letter", hour))
            if hour == begin and case.has("false_belief"):
                news(road, not case.strikes("false_belief", hour), false=case.strikes("false_belief", hour))
            if hour != end:
                continue
            if case.kind in {"slow_drift", "swallowed_failure", "dead_letter"}:
                for _ in range(3):
                    read(bad_fridge, hour)
                order = post.do(
                    "dispatch", "order_box", last_reading[bad_fridge], clinic=clinic, fridge=bad_fridge
                )
                case.hop(order)
                case.trigger(order)
                warm, verdict = deliver(clinic, truck, bad_fridge, hour, road, order)
                if warm:
                    case.symptom(verdict, *spoilt)
            elif case.has("wrong_unit"):
                limit = highest[bad_fridge]
                papers = post.do(
                    "dispatch", "print_papers", noted[bad_fridge], fridge=bad_fridge, highest=limit
                )
                _, got = post.tell("dispatch", truck, papers, topic="papers", highest=limit)
                _, came = post.tell(truck, clinic, got, topic="box with papers", highest=limit)
                case.hop(papers, got)
                verdict = post.do(clinic, "accept_box", came, accepted=limit <= WARM_AT)
                if limit > WARM_AT:
                    case.symptom(
                        verdict,
                        f"{clinic} sent a good box back, and the nurse says the papers forbid its use",
                        f"why did {truck} have to drive back with all the doses",
                        "a clinic refuses our doses although the vials look clear",
                    )
            elif case.has("false_belief"):
                is_open, kept = beliefs[road]
                way = road if is_open else "long way round"
                chosen = post.do("dispatch", "choose_way", kept or None, to=clinic, way=way)
                drove = post.do(truck, "drive", chosen, way=way, to=clinic)
                case.hop(chosen, drove)
                _, came = post.tell(truck, clinic, drove, topic="handed over", hours=2 if is_open else 9)
                verdict = post.do(clinic, "open_doors", came, waiting=rng.randint(20, 60), late=not is_open)
                if not is_open:
                    case.symptom(
                        verdict,
                        f"sixty people waited at {clinic} and the doses were seven hours late",
                        f"{truck} took the whole day for a drive of two hours",
                        "the doses came in the evening when everybody had gone home",
                    )


WORLD = World(
    "coldchain",
    "edges",
    ("slow_drift", "wrong_unit", "swallowed_failure", "false_belief", "dead_letter"),
    play,
    author=2,
)
