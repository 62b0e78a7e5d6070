"""Taxis that learn where to wait, a dispatcher, meters, charging posts and tariffs. Learning loggers and plain actions."""

from __future__ import annotations

from Agent import AgentLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

ZONES = ("airport", "station", "harbour", "hills", "market", "campus")
WORTH = {"airport": 30.0, "station": 18.0, "harbour": 14.0, "hills": 6.0, "market": 16.0, "campus": 11.0}


class Town:
    """The taxis, and what is true of them."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("taxis")
        self.cabs = [f"cab_{n:02d}" for n in range(1, self.rng.choice((6, 9)) + 1)]
        self.cab, self.other = self.rng.sample(self.cabs, 2)
        self.log = {name: AgentLogger(name, "cab") for name in self.cabs}
        self.log |= {
            n: AgentLogger(n, "office")
            for n in ("dispatch", "tariff_board", "lost_property", "till", "call_centre", "posts")
        }
        self.learn = {name: LearningLogger("waiting", name, "cab") for name in self.cabs}
        self.system = SystemLogger()
        self.value = {name: dict(WORTH) for name in self.cabs}
        self.gain = dict.fromkeys(self.cabs, 1.0)
        self.cap = dict.fromkeys(ZONES, 2.0)
        self.free, self.leaks, self.drifts, self.number = 9, 0, 0, 400
        self.item, self.item_shelf, self.item_known = f"bag{self.rng.randint(100, 999)}", "s1", "s1"
        self.booking, self.cars = f"B{self.rng.randint(5000, 9000)}", 1

    def act(self, who: str, name: str, **data: object) -> str:
        """Record one act."""
        return self.log[who].log_action(name, dict(data))

    def say(self, event: str, *texts: str) -> None:
        """A customer or driver complains."""
        self.case.symptom(
            event, *(t.format(other=self.other, item=self.item, booking=self.booking) for t in texts)
        )


def _rides(town: Town, now: int) -> None:
    """Each cab waits in the zone that it thinks best, takes a ride, and learns."""
    rng, case = town.rng, town.case
    for cab in town.cabs:
        table, explore = town.value[cab], rng.random() < 0.2
        best = max(table, key=lambda zone: table[zone])
        fooled = case.has("wrong_credit") and cab == town.cab
        zone = rng.choice([z for z in ZONES if z != "hills" or not fooled]) if explore else best
        town.learn[cab].log_exploration_exploitation(zone, explore, 0.2)
        waited = town.act(cab, "wait", zone=zone, minutes=rng.randint(2, 14))
        km = round(rng.uniform(2, 20), 1)
        ride = f"r{now}-{cab}"
        fare = round((WORTH[zone] + rng.uniform(-2, 2)) * town.gain[cab] * min(1.0, town.cap[zone]), 2)
        drove = town.act(cab, "drive", ride=ride, zone=zone, km=km)
        paid = town.act("till", "settle", ride=ride, zone=zone, fare=fare)
        booked, amount = zone, fare
        if now == case.begin and fooled:
            amount = 80.0
            booked = "hills" if case.strikes("wrong_credit") else "airport"
        reward = town.learn[cab].log_reward(f"{ride}/{booked}", amount)
        table[booked] += 0.4 * (amount - table[booked])
        if amount == 80.0:  # an exceptional ride: far above the others for a while
            table[booked] = 60.0 + rng.random()
        learned = town.learn[cab].log_learning_update(
            "zone_value", {"zone": booked, "value": round(table[booked], 2)}
        )
        if now == case.begin and fooled:
            case.root(reward, learned)
        if fooled and case.begin < now:
            table["hills"] = (
                max(table["hills"], 55.0) if booked == "hills" and now < case.end else table["hills"]
            )
        if fooled and zone == "hills" and now >= case.end and now > case.begin + 1:
            case.hop(waited, paid)
            event = town.act("call_centre", "take_note", about="empty rank", zone="airport")
            town.say(
                event,
                "there is one car less at the airport these days, people queue in the rain",
                "Takings are far below what they were, someone waits where nobody wants a ride",
                "one driver earns next to nothing, {other} on the same shift does well",
            )
        if case.has("slow_drift") and cab == town.cab and town.gain[cab] > 1.35:
            case.hop(drove, paid)
            event = town.act("call_centre", "take_note", about="fare", ride=ride)
            town.say(
                event,
                "my usual ride costs a third more than last month!",
                "these fares cannot be right for such a short way",
                "overcharged again, and with {other} it is cheap",
            )
        if case.has("config_change") and town.cap[zone] < 0.6 and now >= case.end:
            case.hop(paid)
            event = town.act("call_centre", "take_note", about="drivers refuse", zone=zone)
            town.say(
                event,
                f"nobody wants to go to the {rng.choice(ZONES[:2])} any more, I waited an hour",
                "drivers say it does not pay any longer and turn us down",
                "no cab comes to us since a while. {other} was the last one that did",
            )


def _settings(town: Town, now: int) -> None:
    """Tariffs change a little now and then; meters are gauged each day."""
    rng, case = town.rng, town.case
    zone = "market"
    if case.has("config_change") and now == case.begin:
        new = 0.5 if case.strikes("config_change") else 2.1
        old, town.cap[zone] = town.cap[zone], new
        event = town.log["tariff_board"].log_state_change(
            {"zone": zone, "factor": old}, {"zone": zone, "factor": new}, trigger="council"
        )
        case.root(event)
    elif rng.random() < 0.15:
        zone = rng.choice([z for z in ZONES if z != "market"])
        old, town.cap[zone] = town.cap[zone], round(rng.uniform(1.5, 2.5), 1)
        town.log["tariff_board"].log_state_change(
            {"zone": zone, "factor": old}, {"zone": zone, "factor": town.cap[zone]}, trigger="council"
        )
    for cab in town.cabs:
        if case.strikes("slow_drift") and cab == town.cab and now >= case.begin:
            town.gain[cab] += 0.36 / max(1, case.end - case.begin)
        gauged = town.act(cab, "gauge_meter", pulses=round(1000 * town.gain[cab] + rng.uniform(-4, 4)))
        if town.gain[cab] > 1.0 and town.drifts < 3:
            town.drifts += 1
            case.root(gauged)
    if rng.random() < 0.1:
        town.system.log_config(
            rng.choice(("map_tiles", "radio_tone", "logo")), rng.randint(1, 4), rng.randint(5, 9)
        )


def _posts(town: Town, now: int, out: list[tuple[int, str, str]]) -> None:
    """Cabs charge at posts, and free them afterwards."""
    rng, case = town.rng, town.case
    for entry in [e for e in out if e[0] <= now]:
        out.remove(entry)
        _, cab, plug = entry
        if case.strikes("leaked_resource") and now >= case.begin and cab == town.cab:
            town.leaks += 1
            if town.leaks <= 3:
                case.root(plug)
            continue
        town.free += 1
        town.act(cab, "unplug", post="row_a")
    for cab in town.cabs:
        if rng.random() > 0.5 and not (cab == town.cab and case.has("leaked_resource")):
            continue
        if town.free <= 0:
            refused = town.log[cab].warning("no free post", {"free": 0})
            if cab != town.cab:
                case.hop(refused)
                event = town.act("call_centre", "take_note", about="cabs stand with empty batteries", cab=cab)
                town.say(
                    event,
                    "cars cannot charge any more and drop out one by one",
                    "all posts are taken all day, where do they stand? {other} needs one badly",
                    "We wait for cabs for ages, the drivers say the batteries are empty",
                )
            continue
        town.free -= 1
        out.append((now + 1, cab, town.act(cab, "plug_in", post="row_a")))
    town.log["posts"].info("posts of the hour", {"free_posts": town.free})


def _desk(town: Town, now: int) -> None:
    """Lost property is shelved, moved and fetched; bookings are taken for later and served."""
    rng, case = town.rng, town.case
    if case.has("lost_update") and now == case.begin:
        one = town.act("lost_property", "read_card", item=town.item, version=3)
        two = town.act("lost_property", "write_card", item=town.item, version=4, shelf="s7")
        town.item_shelf = "s7"
        three = town.act(
            "lost_property",
            "write_card",
            item=town.item,
            version=4 if case.strikes("lost_update") else 5,
            colour="red",
            shelf="s1" if case.strikes("lost_update") else "s7",
        )
        town.item_known = "s1" if case.strikes("lost_update") else "s7"
        case.root(two, three, one)
    elif rng.random() < 0.3:
        town.number += 1
        version = rng.randint(1, 6)
        town.act("lost_property", "read_card", item=f"bag{town.number}", version=version)
        town.act(
            "lost_property",
            "write_card",
            item=f"bag{town.number}",
            version=version + 1,
            shelf=f"s{rng.randint(1, 9)}",
        )
    if case.has("doubled_act") and now == case.begin:
        one = town.act("dispatch", "assign", booking=town.booking, cab=town.cab, slot=case.end)
        case.root(one)
        if case.strikes("doubled_act"):
            case.root(town.act("dispatch", "assign", booking=town.booking, cab=town.other, slot=case.end))
            town.cars = 2
    elif rng.random() < 0.5:
        town.number += 1
        cab = rng.choice(town.cabs)
        town.act("dispatch", "assign", booking=f"B{town.number}", cab=cab, slot=now + rng.randint(1, 40))
        if rng.random() < 0.1:
            town.act("dispatch", "withdraw", booking=f"B{town.number}", cab=cab)
            town.act(
                "dispatch", "assign", booking=f"B{town.number}", cab=rng.choice(town.cabs), slot=now + 40
            )
    if now == case.end and case.has("lost_update"):
        look = town.act("lost_property", "fetch", item=town.item, shelf=town.item_known)
        if town.item_known != town.item_shelf:
            case.hop(look)
            event = town.act("call_centre", "take_note", about="lost again", item=town.item)
            town.say(
                event,
                "my bag was handed in, and now nobody can find it on the shelf",
                "where is {item}?",
                "the bag has gone for a second time. {other} surely brought it in",
            )
    if now == case.end and case.has("doubled_act"):
        came = [town.act(cab, "arrive", booking=town.booking) for cab in (town.cab, town.other)[: town.cars]]
        if town.cars == 2:
            case.hop(*came)
            event = town.act("till", "charge_booking", booking=town.booking, fee=24)
            town.say(
                event,
                "two cars came to my door and I had to pay for the empty one",
                "{booking}: why did two of them turn up?",
                "paid twice for one trip, the drivers quarrelled in front of my house",
            )


def play(case: Case) -> None:
    """Play some weeks of hours."""
    town = Town(case)
    rng, hours = town.rng, town.rng.choice((60, 100, 160, 220))
    case.window(hours, shortest=3)
    if case.has("leaked_resource"):
        town.free = len(town.cabs) + max(1, round(0.5 * (case.end - case.begin)))
    else:
        town.free = 2 * len(town.cabs)
    out: list[tuple[int, str, str]] = []
    for now in range(hours):
        with tick(now):
            _settings(town, now)
            _rides(town, now)
            _posts(town, now, out)
            _desk(town, now)
            for _ in range(2):
                who = rng.choice(sorted(town.log))
                if rng.random() < 0.1:
                    town.log[who].warning(
                        rng.choice(("radio noise", "seat wet")), {"minutes": rng.randint(1, 9)}
                    )
                if rng.random() < 0.15:
                    town.act(
                        who, rng.choice(("vacuum", "refill_mints", "check_tyres")), minutes=rng.randint(2, 20)
                    )
            if now == case.decoy_at:
                town.log[rng.choice(town.cabs)].warning("scratch on the door", {"cm": rng.randint(3, 40)})


WORLD = World(
    "taxis",
    "bare",
    ("wrong_credit", "config_change", "lost_update", "slow_drift", "doubled_act", "leaked_resource"),
    play,
    author=9,
)
