"""A coral nursery: trees of fragments, divers, a skiff to the reef and tanks of larvae. Plain classes, instrumented from outside."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from random import Random

from Agent import instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

TREES = ("Acacia", "Baobab", "Cedar", "Dogwood", "Elder", "Fig", "Ginkgo")
PLOTS = ("Lagoon_1", "Lagoon_2", "Crest", "Channel", "Wreck")
DIVERS = ("Amadou", "Bea", "Cornelis", "Djuna", "Efua")
TANKS = ("Tank_North", "Tank_South")
PLACES = 3  # jobs of scrubbing that the divers manage in half a day


class Tree:
    """A frame on which fragments hang, with a card that says how many."""

    def __init__(self, name: str, nursery: Nursery, count: int) -> None:
        self.name, self.nursery = name, nursery
        self.hanging = self.card = count
        self.shaded = 0

    def read_card(self, slip: str) -> int:
        return self.card

    def write_card(self, slip: str, count: int) -> None:
        self.card = count

    def hang(self, slip: str, change: int) -> None:
        self.hanging += change

    def cut(self, order: str, count: int) -> int:
        """Cut fragments for an order, as many as there are."""
        got = min(count, self.hanging)
        self.hanging -= got
        return got

    def scrub(self, job: str) -> None:
        self.nursery.waiting.pop(job, None)

    def look(self, visit: str) -> str:
        return "overgrown" if self.name in self.nursery.waiting.values() else "clean"

    def warm_up(self, turn: int) -> str:
        """Warm water comes; where somebody watches with a probe, the shade is drawn in time."""
        return "pale" if self.shaded == turn else "white"

    def draw_shade(self, turn: int) -> None:
        self.shaded = turn


class Diver:
    """A diver, who counts, scrubs and measures."""

    def __init__(self, name: str, nursery: Nursery) -> None:
        self.name, self.nursery, self.in_mind = name, nursery, 0

    def see_card(self, slip: str, tree: str) -> int:
        self.in_mind = self.nursery.trees[tree].read_card(slip)
        return self.in_mind

    def tally(self, slip: str, tree: str, change: int) -> int:
        """Hang or take away fragments, and write down what is there now."""
        frame = self.nursery.trees[tree]
        frame.hang(slip, change)
        frame.write_card(slip, self.in_mind + change)
        return self.in_mind + change

    def recount(self, slip: str, tree: str) -> int:
        frame = self.nursery.trees[tree]
        frame.write_card(slip, frame.hanging)
        return frame.hanging

    def work_off(self, job: str, tree: str) -> None:
        self.nursery.trees[tree].scrub(job)

    def survey(self, visit: str, tree: str) -> str:
        return self.nursery.trees[tree].look(visit)

    def measure(self, loan: str, tree: str) -> str:
        """Fetch a probe, read it at a tree, and bring it back."""
        nursery = self.nursery
        if not nursery.box.lend(loan):
            return "no probe"
        if loan not in nursery.kept:
            nursery.box.put_back(loan)
        return "read"


class ProbeBox:
    """The box of probes."""

    def __init__(self, count: int) -> None:
        self.name, self.inside = "probe_box", count

    def lend(self, loan: str) -> bool:
        if not self.inside:
            return False
        self.inside -= 1
        return True

    def put_back(self, loan: str) -> int:
        self.inside += 1
        return self.inside


class Planner:
    """Says who scrubs what."""

    def __init__(self, nursery: Nursery) -> None:
        self.name, self.nursery = "dive_planner", nursery
        self.usual: list[str] = []
        self.later: list[str] = []

    def file(self, job: str, tree: str, group: str) -> None:
        self.nursery.waiting[job] = tree
        (self.later if group == "hardy" else self.usual).append(job)

    def brief(self, turn: int) -> list[str]:
        """Give out jobs, those of hardy corals last."""
        jobs = [*self.usual, *self.later][:PLACES]
        self.usual = [job for job in self.usual if job not in jobs]
        self.later = [job for job in self.later if job not in jobs]
        divers = Random(turn).sample(DIVERS, len(jobs))
        for diver, job in zip(divers, jobs, strict=True):
            self.nursery.divers[diver].work_off(job, self.nursery.waiting[job])
        return jobs


class Plot:
    """A place on the reef, with crates of corals that bear heat."""

    def __init__(self, name: str) -> None:
        self.name, self.crates = name, ["first"]

    def take(self, crate: str) -> None:
        self.crates.append(crate)

    def give_up(self, crate: str) -> None:
        self.crates.remove(crate)

    def stand_heat(self, wave: str) -> str:
        """Stand a wave of heat, in which the newest crate is used up."""
        if not self.crates:
            return "bleached"
        self.crates.pop()
        return "alive"


class Skiff:
    """Brings crates to the reef."""

    def __init__(self, nursery: Nursery) -> None:
        self.name, self.nursery = "skiff", nursery

    def drop(self, crate: str, plot: str) -> None:
        self.nursery.plots[plot].take(crate)

    def shift(self, crate: str, source: str, plot: str) -> None:
        self.nursery.plots[source].give_up(crate)
        self.nursery.plots[plot].take(crate)

    def sound_horn(self, turn: int) -> None:
        """Tell the divers that the skiff is there."""

    def collect(self, order: str, tree: str, count: int) -> int:
        return self.nursery.trees[tree].cut(order, count)


class Ranger:
    """Looks after the reef."""

    def __init__(self, nursery: Nursery) -> None:
        self.name, self.nursery = "ranger", nursery

    def patrol(self, wave: str, plot: str) -> str:
        return self.nursery.plots[plot].stand_heat(wave)

    def order(self, crate: str, plot: str) -> None:
        self.nursery.ordered.append((crate, plot))


class Refractometer:
    """Measures how salty a tank is; a crust of salt grows on a glass that was not rinsed."""

    def __init__(self, name: str, tank: Tank) -> None:
        self.name, self.tank, self.crust, self.growth = name, tank, 0.0, 0.0

    def zero(self, turn: int, rinsed: bool) -> None:
        self.crust, self.growth = 0.0, 0.0 if rinsed else self.tank.nursery.growth

    def read(self, turn: int) -> float:
        self.crust += self.growth
        noise = self.tank.nursery.case.rng(f"{self.name}/{turn}").uniform(-0.06, 0.06)
        return round(self.tank.salt + self.crust + noise, 2)


class Tank:
    """A tank of larvae, which is topped up with fresh water."""

    def __init__(self, name: str, nursery: Nursery) -> None:
        self.name, self.nursery, self.salt = name, nursery, 35.0

    def adjust(self, turn: int) -> float:
        """Let water evaporate and in, until the refractometer shows 35."""
        self.salt += 0.2
        reading = self.nursery.glasses[self.name].read(turn)
        self.salt += 35.0 - reading
        return reading

    def settle(self, batch: str) -> str:
        return "settled" if self.salt > 32.5 else "dead"

    def give_sample(self, vial: str) -> float:
        return round(self.salt, 1)


class Lab:
    """Titrates samples, and watches over trees when warm water comes."""

    def __init__(self, nursery: Nursery) -> None:
        self.name, self.nursery, self.filed = "lab", nursery, 0

    def titrate(self, vial: str, tank: str) -> float:
        self.filed += 1
        return self.nursery.tanks[tank].give_sample(vial)

    def seed(self, batch: str, tank: str) -> str:
        return self.nursery.tanks[tank].settle(batch)

    def watch(self, loan: str, tree: str, diver: str) -> str:
        """Have a probe read, and the shade drawn when it shows warm water."""
        done = self.nursery.divers[diver].measure(loan, tree)
        if done == "read":
            self.nursery.trees[tree].draw_shade(self.nursery.now)
        return done


class SponsorDesk:
    """Sells what hangs on trees."""

    def __init__(self, nursery: Nursery) -> None:
        self.name, self.nursery = "sponsor_desk", nursery

    def sell(self, order: str, tree: str, share: float) -> str:
        """Sell a share of what the card says, and have it collected."""
        count = int(self.nursery.trees[tree].read_card(order) * share)
        got = self.nursery.skiff.collect(order, tree, count)
        if got == count:
            self.nursery.trees[tree].write_card(order, self.nursery.trees[tree].card - count)
        return "delivered" if got == count else "too few"


class Weather:
    """Sends forecasts by radio."""

    def __init__(self) -> None:
        self.name = "weather_radio"

    def forecast(self, turn: int, sky: str) -> str:
        if sky == "static":
            raise ConnectionError("nothing but noise")
        return sky


TRACED = {
    Tree: ("tree", "read_card write_card hang cut scrub look warm_up draw_shade"),
    Diver: ("diver", "see_card tally recount work_off survey measure"),
    ProbeBox: ("store", "lend put_back"),
    Planner: ("office", "file brief"),
    Plot: ("plot", "take give_up stand_heat"),
    Skiff: ("boat", "drop shift collect sound_horn"),
    Ranger: ("ranger", "patrol order"),
    Refractometer: ("gauge", "zero read"),
    Tank: ("tank", "adjust settle give_sample"),
    Lab: ("office", "titrate seed watch"),
    SponsorDesk: ("office", "sell"),
    Weather: ("radio", "forecast"),
}


@dataclass
class Nursery:
    """The nursery; `mine` is the tree, `spot` the plot and `tub` the tank of the case."""

    case: Case
    now: int = 0
    growth: float = 0.0
    kept: set[str] = field(default_factory=set)
    overnight: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    ordered: list[tuple[str, str]] = field(default_factory=list)
    crates: int = 0

    def build(self, probes: int) -> None:
        """Build everything that acts."""
        rng = self.case.rng("people")
        self.trees = {name: Tree(name, self, rng.randint(50, 90)) for name in TREES}
        self.divers = {name: Diver(name, self) for name in DIVERS}
        self.plots = {name: Plot(name) for name in PLOTS}
        self.tanks = {name: Tank(name, self) for name in TANKS}
        self.glasses = {
            name: Refractometer(f"refractometer_{name[5]}", tank) for name, tank in self.tanks.items()
        }
        self.box, self.planner, self.skiff, self.ranger = (
            ProbeBox(probes),
            Planner(self),
            Skiff(self),
            Ranger(self),
        )
        self.lab, self.desk, self.radio = Lab(self), SponsorDesk(self), Weather()
        self.mine, self.spot, self.tub = rng.choice(TREES), rng.choice(PLOTS), rng.choice(TANKS)
        self.quiet = [name for name in TREES if name != self.mine]
        self.other = rng.choice(self.quiet)
        self.calm = [name for name in PLOTS if name != self.spot]
        self.first, self.second, self.third = rng.sample(DIVERS, 3)

    def dice(self, topic: str) -> Random:
        """Return the dice of a topic for this half day."""
        return self.case.rng(f"{topic}/{self.now}")


def _probes(nursery: Nursery, leaks: list[int]) -> None:
    """Lend probes; some stay at a tree overnight."""
    case, rng, now = nursery.case, nursery.dice("probes"), nursery.now
    short = case.has("leaked_resource")
    for loan in nursery.overnight:
        nursery.box.put_back(loan)
    nursery.overnight.clear()
    if rng.random() < 0.5 and not (short and leaks[-1] <= now <= case.end):
        loan = f"W{now}"
        if rng.random() < 0.35 and not (short and now >= case.begin - 1):
            nursery.kept.add(loan)
            nursery.overnight.append(loan)
        nursery.divers[rng.choice(DIVERS)].measure(loan, rng.choice(TREES))
    for number in range(leaks.count(now) if short else 0):
        loan = f"W{now}-{number}"
        if case.strikes("leaked_resource"):
            nursery.kept.add(loan)
        nursery.divers[nursery.first].measure(loan, rng.choice(nursery.quiet))
        if len(case.roots) < 3:
            case.root(call(nursery.first, "measure", loan=loan))
            case.hop(call("probe_box", "lend", loan=loan))
    warm = [rng.choice(nursery.quiet)] if rng.random() < 0.12 and not (short and now >= case.begin) else []
    warm += [nursery.mine] if short and now == case.end else []
    for tree in warm:
        loan = f"H{now}-{tree}"
        nursery.radio.forecast(now, "warm current")
        nursery.lab.watch(loan, tree, nursery.second)
        if nursery.trees[tree].warm_up(now) == "white":
            case.trigger(call("weather_radio", "forecast", turn=now, sky="warm current"))
            case.hop(call("probe_box", "lend", loan=loan), call("lab", "watch", loan=loan))
            case.symptom(
                call(tree, "warm_up", turn=now),
                f"All of {tree} is white. Two years of work",
                f"why did nobody pull the shade over {tree}? {nursery.other} got through worse",
                "one whole tree bleached in an afternoon and the warning had been on the radio in the morning!!",
                "white corals after the warm current",
            )


def _scrubbing(nursery: Nursery) -> None:
    """File jobs of scrubbing, give them out, and look at trees."""
    case, rng, now = nursery.case, nursery.dice("scrub"), nursery.now
    starving = case.has("starved_queue")
    busy = starving and case.begin <= now <= case.end
    if starving and now == case.end:
        visit = f"Q{now}"
        if nursery.divers[nursery.third].survey(visit, nursery.mine) == "overgrown":
            case.hop(
                call(nursery.mine, "look", visit=visit), call("dive_planner", "brief", turn=case.end - 1)
            )
            case.symptom(
                call(nursery.third, "survey", visit=visit),
                f"{nursery.mine} looks like a doormat. Green and furry from top to bottom",
                "there is weed all over one of the frames and the corals under it are dying, have we stopped cleaning?",
                "weed!",
                f"{nursery.third} came up and says that {nursery.mine} cannot have been scrubbed for ages. "
                f"{nursery.other} next to it is spotless",
            )
    elif rng.random() < 0.35:
        tidy = [name for name in nursery.quiet if name not in nursery.waiting.values()]
        nursery.divers[rng.choice(DIVERS)].survey(f"Q{now}", rng.choice(tidy or [nursery.mine]))
    if starving and now == case.begin:
        job = f"J{now}-x"
        nursery.planner.file(job, nursery.mine, "hardy" if case.strikes("starved_queue", now) else "delicate")
        case.root(call("dive_planner", "file", job=job))
    for number in range(PLACES if busy else rng.randint(0, 2)):
        group = "hardy" if rng.random() < 0.35 and not busy else "delicate"
        free = nursery.quiet if starving else TREES
        nursery.planner.file(f"J{now}-{number}", rng.choice(free), group)
    nursery.planner.brief(now)


def _tanks(nursery: Nursery) -> None:
    """Keep tanks at 35 grams a litre, and let larvae settle."""
    case, rng, now = nursery.case, nursery.dice("tanks"), nursery.now
    drifting = case.has("slow_drift")
    for tank in TANKS:
        glass, watched = nursery.glasses[tank], drifting and tank == nursery.tub
        if watched and now == case.begin:
            glass.zero(now, rinsed=not case.strikes("slow_drift", now))
            case.root(call(glass.name, "zero", turn=now))
        elif (now % 5 == 2 and not (watched and case.begin < now <= case.end)) or (
            glass.growth and not watched
        ):
            glass.zero(now, rinsed=True)
        elif rng.random() < 0.1 and not watched:
            glass.zero(now, rinsed=False)
        nursery.tanks[tank].adjust(now)
        if watched and case.begin <= now < case.begin + 3:
            case.root(call(glass.name, "read", turn=now))
            case.hop(call(tank, "adjust", turn=now))
        if rng.random() < 0.12:
            nursery.lab.titrate(f"V{now}-{tank[5]}", tank)
        early = now < (case.begin + case.end) // 2 or now > case.end
        if (rng.random() < 0.2 and (early or not watched)) or (watched and now == case.end):
            batch = f"L{now}-{tank[5]}"
            if nursery.lab.seed(batch, tank) == "dead" and watched:
                case.hop(call(tank, "adjust", turn=now), call(tank, "settle", batch=batch))
                other = next(name for name in TANKS if name != tank)
                case.symptom(
                    call("lab", "seed", batch=batch),
                    "Larvae all dead at the bottom",
                    f"same eggs, same night: in {other} they sit on the tiles, in the other tank not one of 4000 lived",
                    f"{tank} killed the whole batch, please find out why. I had a taste of the water and it is not even salty",
                    "we lost this year's spawning",
                )


def _cards(nursery: Nursery) -> None:
    """Hang fragments and take them away, and sell."""
    case, rng, now = nursery.case, nursery.dice("cards"), nursery.now
    losing = case.has("lost_update")
    for number in range(rng.randint(0, 2)):
        tree, (one, two) = (
            rng.choice(nursery.quiet if losing and now >= case.end else TREES),
            rng.sample(DIVERS, 2),
        )
        slips = f"S{now}-{number}a", f"S{now}-{number}b"
        less, more = -rng.randint(2, 6), rng.randint(2, 8)
        if rng.random() < 0.3 and not (losing and tree == nursery.mine):  # both at once, and counted again
            nursery.divers[one].see_card(slips[0], tree)
            nursery.divers[two].see_card(slips[1], tree)
            nursery.divers[one].tally(slips[0], tree, less)
            nursery.divers[two].tally(slips[1], tree, more)
            nursery.divers[two].recount(f"S{now}-{number}c", tree)
            continue
        nursery.divers[one].see_card(slips[0], tree)
        nursery.divers[one].tally(slips[0], tree, more)
    if losing and now == case.begin:
        early, late = nursery.divers[nursery.first], nursery.divers[nursery.second]
        slips = f"S{now}-x", f"S{now}-y"
        early.see_card(slips[0], nursery.mine)
        if case.strikes("lost_update", now):
            late.see_card(slips[1], nursery.mine)
        early.tally(slips[0], nursery.mine, -rng.randint(9, 16))
        if not case.strikes("lost_update", now):
            late.see_card(slips[1], nursery.mine)
        late.tally(slips[1], nursery.mine, rng.randint(3, 8))
        case.root(
            call(late.name, "tally", slip=slips[1]),
            call(late.name, "see_card", slip=slips[1]),
            call(nursery.mine, "write_card", slip=slips[1]),
            call(nursery.mine, "read_card", slip=slips[1]),
        )
    sales = [(rng.choice(nursery.quiet), 0.05)] if rng.random() < 0.25 else []
    sales += [(nursery.mine, 1.0)] if losing and now == case.end else []
    for tree, share in sales:
        order = f"O{now}-{tree}"
        if nursery.desk.sell(order, tree, share) == "too few":
            case.hop(call("skiff", "collect", order=order), call(tree, "cut", order=order))
            case.symptom(
                call("sponsor_desk", "sell", order=order),
                "Customer paid for more corals than she got",
                f"the card of {tree} promises more than hangs there, a school class now has adopted corals that do not exist",
                f"order {order}: fewer fragments than sold. Did something eat them?",
                f"we are short on an order, {nursery.other} was fine last week",
            )


def _crates(nursery: Nursery) -> None:
    """Bring crates to the reef, and let heat come."""
    case, rng, now = nursery.case, nursery.dice("crates"), nursery.now
    routed = case.has("misrouted_thing")
    if routed and now == case.begin:
        nursery.ordered.append((f"C{now}-x", nursery.spot))
    for crate, plot in nursery.ordered:
        place, away = plot, rng.choice([name for name in nursery.calm if name != plot])
        if routed and plot == nursery.spot:
            place = away if case.strikes("misrouted_thing", now) else plot
            case.root(call("skiff", "drop", crate=crate), call(place, "take", crate=crate))
        elif rng.random() < 0.25:
            place = away
        nursery.skiff.drop(crate, place)
        if place != plot and plot in nursery.calm:
            nursery.skiff.shift(crate, place, plot)
    nursery.ordered.clear()
    hot = [name for name in nursery.calm if nursery.plots[name].crates and rng.random() < 0.1]
    hot += [nursery.spot] if routed and now in {1, case.end} else []
    for plot in hot:
        wave = f"B{now}-{plot}"
        if nursery.ranger.patrol(wave, plot) == "bleached":
            case.hop(call(plot, "stand_heat", wave=wave))
            case.symptom(
                call("ranger", "patrol", wave=wave),
                f"{plot} is gone. everything we planted there",
                "The ranger sent pictures: skeletons. I thought there were tough ones among them for exactly this",
                f"how come {nursery.calm[0]} stood the heat and {plot} did not, they get the same corals",
                "a whole plot bleached",
            )
        elif plot in nursery.calm:
            nursery.crates += 1
            nursery.ranger.order(f"C{now}-{nursery.crates}", plot)


def _weather(nursery: Nursery) -> None:
    """Listen to the radio."""
    rng, now = nursery.dice("weather"), nursery.now
    try:
        nursery.radio.forecast(now, rng.choice(("calm", "breeze", "swell", "static")))
    except ConnectionError:
        nursery.radio.forecast(now, "from the harbour: calm")
    if now == nursery.case.decoy_at:
        nursery.skiff.sound_horn(now)
        nursery.divers[nursery.third].see_card(f"S{now}-r", nursery.mine if now % 2 else nursery.other)
    elif rng.random() < 0.2:
        nursery.skiff.sound_horn(now)


def play(case: Case) -> None:
    """Play some weeks of half days."""
    steps = case.rng("steps").choice((34, 60, 95, 150, 210))
    begin, end = case.window(steps, 4 if case.has("slow_drift") else 1)
    count = min(7, max(2, end - begin))
    leaks = [begin + place * (end - begin) // count for place in range(count)]
    nursery = Nursery(case)
    nursery.build(count)
    nursery.growth = round(3.4 / (end - begin), 3)
    with contextlib.ExitStack() as stack:
        for cls, (role, methods) in TRACED.items():
            stack.enter_context(
                instrument(cls, methods.split(), agent_id="name", agent_role=role, ignore=("nursery", "tank"))
            )
        for now in range(steps):
            nursery.now = now
            with tick(now):
                _weather(nursery)
                _cards(nursery)
                _tanks(nursery)
                _probes(nursery, leaks)
                _scrubbing(nursery)
                _crates(nursery)


WORLD = World(
    "reefnursery",
    "spans",
    ("leaked_resource", "starved_queue", "slow_drift", "lost_update", "misrouted_thing"),
    play,
    author=15,
)
