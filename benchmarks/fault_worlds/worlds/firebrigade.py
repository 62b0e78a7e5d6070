"""A volunteer fire brigade: letters between offices, alarms, hydrants, masks and pumps. Messages, and actions with their causes."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

ENGINES = ("Engine_1", "Engine_2", "Tanker", "Old_Bertha")
LEADERS = ("Holm", "Ruiz", "Sato")
VOLUNTEERS = ("Anneke", "Boris", "Chandra", "Dagny", "Emil", "Fatou", "Gregor", "Hanne", "Ivo", "Jolanda")
HOUSES = ("Mill_House", "Oak_End", "Rectory", "Brickworks", "Quarry_Farm", "Sawpit_Cottage", "Dairy_Barn")
OFFICES = {
    "control_room": "office",
    "road_office": "office",
    "water_board": "office",
    "training_office": "office",
    "quartermaster": "store",
    "workshop": "workshop",
    "roster_keeper": "office",
    "post_room": "office",
    "postman": "neighbour",
    "miller": "neighbour",
}
LOST = {
    "turned round": (
        "They came half an hour late. {house} is a black hole now",
        "Why does {engine} drive up a road that has been dug up for days, turn round and go all the way about?",
        "we rang at once, we waited, we heard the horn on the other side of the valley and then it went away again",
        "the fire engine got lost?!",
    ),
    "no mask": (
        "the men stood in front of {house} and none of them went in. I begged them",
        "Fire was in one room when they arrived and they only squirted through the window",
        "Nobody went inside. {leader} says it was not allowed. Since when do firemen need a permit to put out a fire?",
        "{house} could have been saved",
    ),
    "hose too short": (
        "there is a hydrant twenty metres from {house} and they laid hoses to the pond!!",
        "no water. They ran about with hoses that did not reach",
        "{engine} was there in six minutes, and then nothing came out for another twenty. House gone",
        "Could someone explain why the hydrant outside our gate was not used",
    ),
    "nobody drove": (
        "the siren went and went and no engine came out of the station",
        "{engine} stood in the garage while {house} burnt, I could see it from my window",
        "my barn is ash because nobody was on duty, or what",
        "nobody came",
    ),
    "pump stopped": (
        "water for two minutes, then a trickle, then none",
        "The pump of {engine} gave up right in the middle of it and {house} is lost",
        "they fought well, {leader} and the others, but that old pump died on them. Does nobody look after these things?",
        "pump broke down at our fire",
    ),
}


@dataclass
class Brigade:
    """The brigade; `house`, `engine`, `leader` and `helper` are those of the case."""

    case: Case
    now: int = 0
    letters: int = 0
    alarms: int = 0
    mail: list[tuple[str, Any]] = field(default_factory=list)
    closed: dict[str, int] = field(default_factory=dict)
    knows_closed: set[tuple[str, str]] = field(default_factory=set)
    permits: dict[str, int] = field(default_factory=dict)
    believed_dry: dict[tuple[str, str], str] = field(default_factory=dict)
    swapped: dict[tuple[str, int], str] = field(default_factory=dict)
    told: set[tuple[str, int]] = field(default_factory=set)
    worn: dict[str, str] = field(default_factory=dict)
    loose: list[tuple[int, str, str]] = field(default_factory=list)
    asked: dict[int, str] = field(default_factory=dict)
    lost_number: int = -1

    def build(self) -> None:
        """Choose who the case is about."""
        rng = self.case.rng("who")
        names = [*ENGINES, *LEADERS, *VOLUNTEERS, *HOUSES]
        roles = {**dict.fromkeys(ENGINES, "engine"), **dict.fromkeys(LEADERS, "leader")}
        roles |= {**dict.fromkeys(VOLUNTEERS, "volunteer"), **dict.fromkeys(HOUSES, "house"), **OFFICES}
        self.log = {name: AgentLogger(name, roles[name]) for name in (*names, *OFFICES)}
        self.house, self.engine, self.leader = rng.choice(HOUSES), rng.choice(ENGINES), rng.choice(LEADERS)
        self.helper, self.stand_in, self.stranger = rng.sample(VOLUNTEERS, 3)
        self.calm = [house for house in HOUSES if house != self.house]
        self.crew = [name for name in VOLUNTEERS if name not in {self.helper, self.stand_in}]
        self.permits = dict.fromkeys(self.crew, 10**6)

    def dice(self, topic: str) -> Random:
        """Return the dice of a topic for this watch."""
        return self.case.rng(f"{topic}/{self.now}")

    def act(self, who: str, what: str, because: Any = None, **data: Any) -> str:
        """Somebody does something."""
        return self.log[who].log_action(what, {**data, "watch": self.now}, causes=because)

    def write(self, sender: str, to: str, body: dict[str, Any], because: Any = None) -> str:
        """Send a letter, which arrives with the next watch."""
        self.letters += 1
        letter = self.log[sender].send(to, {"letter": self.letters, **body}, causes=because)
        self.mail.append((to, letter))
        return letter.event_id

    def ring(self, sender: str, to: str, body: dict[str, Any], because: Any = None) -> str:
        """Call somebody, who hears it at once."""
        return self.log[to].receive(self.log[sender].send(to, body, causes=because))

    def deliver(self) -> None:
        """Hand out the letters of the last watch."""
        mail, self.mail = self.mail, []
        for to, letter in mail:
            if to not in self.log:
                aside = self.act(
                    "post_room", "put_aside", letter.event_id, letter=letter.body["letter"], name=to
                )
                self.loose.append((letter.body["letter"], to, aside))
                if self.case.has("dead_letter") and letter.body.get("engine") == self.engine:
                    self.case.root(aside)
                continue
            got = self.log[to].receive(letter)
            _handle(self, to, letter.body, got)


def _handle(brigade: Brigade, who: str, body: dict[str, Any], got: str) -> None:
    """Do what a letter asks for."""
    topic = body["topic"]
    mine = body.get("engine") == brigade.engine or body.get("leader") == brigade.leader
    event = ""
    if topic == "road closed":
        brigade.knows_closed.add((who, body["road"]))
        event = brigade.act(who, "mark_map", got, road=body["road"], marked="closed")
    elif topic == "road open":
        brigade.knows_closed.discard((who, body["road"]))
        event = brigade.act(who, "mark_map", got, road=body["road"], marked="open")
    elif topic == "permit" and who == "quartermaster":
        brigade.permits[body["name"]] = body["until"]
        event = brigade.act(who, "file_permit", got, name=body["name"], until=body["until"])
        mine = body["name"] == brigade.helper
    elif topic == "hydrant":
        brigade.believed_dry.pop((who, body["house"]), None)
        if body["flow"] == "none":
            brigade.believed_dry[who, body["house"]] = got
        event = brigade.act(who, "pencil_in", got, hydrant=body["house"], flow=body["flow"])
        mine = body["house"] == brigade.house
        if mine and brigade.case.has("false_belief"):
            brigade.case.root(event)
    elif topic == "duty":
        if body["name"] == who:
            brigade.told.add((who, body["watch"]))
            event = brigade.act(who, "tear_out_slip", got, duty=body["watch"])
        else:
            event = brigade.act(who, "hang_up_slip", got, duty=body["watch"], name=body["name"])
            mine = body["watch"] == brigade.case.end
    elif topic == "worn seal":
        event = brigade.act(who, "order_seal", got, engine=body["engine"])
        brigade.write(who, "workshop", {"topic": "seal", "engine": body["engine"]}, event)
    elif topic == "seal":
        brigade.worn.pop(body["engine"], None)
        event = brigade.act(who, "fit_seal", got, engine=body["engine"])
    if event and mine and brigade.case.roots:
        brigade.case.hop(event)


def fight(brigade: Brigade, house: str, engine: str, leader: str, helper: str, driver: str) -> None:
    """Somebody sees smoke; all that the brigade does until the fire is out or the house is lost."""
    act, ring, case, now = brigade.act, brigade.ring, brigade.case, brigade.now
    brigade.alarms += 1
    smoke = act(house, "see_smoke", alarm=brigade.alarms)
    heard = ring(house, "control_room", {"alarm": brigade.alarms, "house": house}, smoke)
    alarm = act("control_room", "sound_siren", heard, alarm=brigade.alarms, engine=engine)
    called = ring("control_room", leader, {"alarm": brigade.alarms, "house": house}, alarm)
    steps, reason = [alarm, called], ""
    if (engine, now) in brigade.swapped and (driver, now) not in brigade.told:
        steps.append(act(leader, "wait_for_driver", called, engine=engine, minutes=25))
        reason = "nobody drove"
    else:
        out = ring("control_room", driver, {"alarm": brigade.alarms, "engine": engine}, alarm)
        took = act(driver, "take_keys", out, engine=engine)
        steps.append(took)
        way = "by the ford" if (engine, house) in brigade.knows_closed else "by the road"
        went = act(engine, "drive_out", took, house=house, way=way)
        steps.append(went)
        if way == "by the road" and house in brigade.closed:
            steps.append(act(engine, "turn_round", went, house=house, minutes=31))
            reason = "turned round"
        elif (leader, house) in brigade.believed_dry:
            told = brigade.believed_dry[leader, house]
            chose = brigade.log[leader].log_decision(
                "water", {"from": "pond"}, "the hydrant is dry", causes=[went, told]
            )
            metres = 60 if house in brigade.calm else 310
            steps += [chose, act(helper, "lay_hoses", chose, metres=metres)]
            reason = "hose too short" if metres > 200 else ""
        else:
            steps.append(act(helper, "open_hydrant", went, house=house))
        if not reason and helper not in {driver, leader}:
            asked = ring(helper, "quartermaster", {"topic": "mask", "alarm": brigade.alarms}, steps[-1])
            until = brigade.permits.get(helper, -1)
            if until < now:
                no = act("quartermaster", "keep_mask", asked, name=helper, until=until)
                steps += [no, act(leader, "stay_outside", no, house=house)]
                reason = "no mask"
            else:
                steps.append(act("quartermaster", "hand_out_mask", asked, name=helper, until=until))
        if not reason and engine in brigade.worn:
            fell = act(engine, "lose_pressure", steps[-1], bar=1, wanted=9)
            steps += [fell, act(leader, "break_off", fell, house=house)]
            reason = "pump stopped"
    if not reason:
        act(house, "smoulder", act(leader, "report_fire_out", steps[-1], alarm=brigade.alarms), house=house)
        return
    case.hop(*steps)
    lost = act(house, "burn_down", steps[-1], alarm=brigade.alarms)
    if case.kind in {"omitted_message", "dead_letter"}:
        case.trigger(alarm)
    case.symptom(lost, *(text.format(house=house, engine=engine, leader=leader) for text in LOST[reason]))


def _roads(brigade: Brigade) -> None:
    """Close roads, and open them again."""
    case, rng, now = brigade.case, brigade.dice("roads"), brigade.now
    for road in [road for road, until in brigade.closed.items() if until <= now]:
        del brigade.closed[road]
        again = brigade.act("road_office", "open_road", road=road)
        for engine in ENGINES:
            brigade.write("road_office", engine, {"topic": "road open", "road": road}, again)
    closings: list[tuple[str, int, str]] = []
    if rng.random() < 0.12:
        road = rng.choice([house for house in brigade.calm if house not in brigade.closed])
        # for one watch only, it is not worth telling everybody
        closings.append((road, now + rng.choice((1, 1, 6)), rng.choice(ENGINES)))
    if case.has("omitted_message") and now == case.begin:
        closings.append((brigade.house, case.end + rng.randint(1, 9), ""))
    for road, until, left_out in closings:
        mine, is_short = road == brigade.house, until == now + 1
        brigade.closed[road] = until
        closing = brigade.act("road_office", "close_road", road=road, until=until)
        sent = []
        for engine in ENGINES:
            if (is_short and engine == left_out) or (
                mine and engine == brigade.engine and case.strikes("omitted_message", now)
            ):
                continue
            body = {"topic": "road closed", "road": road}
            sent.append(brigade.write("road_office", engine, body, closing))
        if mine:
            case.root(closing, *sent)


def _permits(brigade: Brigade) -> None:
    """Give permits to wear masks."""
    case, rng, now = brigade.case, brigade.dice("permits"), brigade.now
    given: list[tuple[str, int]] = []
    if rng.random() < 0.15:  # for an exercise in this watch and the next
        name = rng.choice((*brigade.crew, "Wim", "Xenia"))
        given += [(name, now + 1), (name, now + 400)] if name in brigade.crew else [(name, now + 1)]
    if now == 0:
        given.append((brigade.helper, case.begin if case.has("expired_permission") else 10**6))
    if case.has("expired_permission") and now == case.begin:
        short = case.strikes("expired_permission", now)
        given.append(
            (brigade.helper, now + (case.end - now - 1) // 2 if short else case.end + rng.randint(20, 90))
        )
    for name, until in given:
        grant = brigade.act("training_office", "pass_candidate", name=name, until=until)
        body = {"topic": "permit", "name": name, "until": until}
        sent = brigade.write("training_office", "quartermaster", body, grant)
        if name in brigade.log:
            brigade.write("training_office", name, body, grant)
        if name == brigade.helper and now > 0:
            case.root(grant, sent)


def _hydrants(brigade: Brigade) -> None:
    """What neighbours say about hydrants, and what the water board measures."""
    case, rng, now = brigade.case, brigade.dice("hydrants"), brigade.now
    if rng.random() < 0.25:
        house, leader = rng.choice(brigade.calm), rng.choice(LEADERS)
        neighbour, flow = rng.choice(("miller", "postman")), rng.choice(("none", "good"))
        saw = brigade.act(neighbour, "walk_past", house=house)
        brigade.write(neighbour, leader, {"topic": "hydrant", "house": house, "flow": flow}, saw)
    if rng.random() < 0.25:
        house = rng.choice(brigade.calm)
        measured = brigade.act("water_board", "open_valve", house=house, litres=rng.randint(700, 1100))
        for leader in LEADERS:
            brigade.write(
                "water_board", leader, {"topic": "hydrant", "house": house, "flow": "good"}, measured
            )
    if case.has("false_belief") and now == case.begin:
        brigade.act("water_board", "open_valve", house=brigade.house, litres=940)
        flow = "none" if case.strikes("false_belief", now) else "good"
        saw = brigade.act("postman", "walk_past", house=brigade.house)
        body = {"topic": "hydrant", "house": brigade.house, "flow": flow}
        case.root(brigade.write("postman", brigade.leader, body, saw))


def _roster(brigade: Brigade) -> None:
    """Swap duties."""
    case, rng, now = brigade.case, brigade.dice("roster"), brigade.now
    swaps: list[tuple[str, int, str, str]] = []
    if rng.random() < 0.3:
        name, watch = rng.choice(brigade.crew), now + rng.randint(2, 9)
        to = rng.choice(brigade.crew) if rng.random() < 0.3 else name
        engine = rng.choice([engine for engine in ENGINES if engine != brigade.engine])
        if watch != case.end and (engine, watch) not in brigade.swapped:
            swaps.append((engine, watch, name, to))
    if case.has("wrong_recipient") and now == case.begin:
        to = brigade.stranger if case.strikes("wrong_recipient", now) else brigade.stand_in
        swaps.append((brigade.engine, case.end, brigade.stand_in, to))
    for engine, watch, name, to in swaps:
        entry = brigade.act("roster_keeper", "swap_duty", engine=engine, duty=watch, name=name)
        brigade.swapped[engine, watch] = name
        body = {"topic": "duty", "watch": watch, "name": name}
        sent = brigade.write("roster_keeper", to, body, entry)
        if engine == brigade.engine:
            case.root(sent, entry)
        elif to != name:  # they meet, and it is said
            brigade.write(to, name, body, sent)


def _pumps(brigade: Brigade) -> None:
    """Inspect pumps, and send after letters that came back."""
    case, rng, now = brigade.case, brigade.dice("pumps"), brigade.now
    looking = case.has("dead_letter")
    for number, name, aside in brigade.loose:
        if not (looking and number == brigade.lost_number):
            found = brigade.act("post_room", "look_up_name", aside, letter=number, name=name)
            body = {"topic": "worn seal", "engine": brigade.asked[number]}
            brigade.write("post_room", "quartermaster", body, found)
    brigade.loose.clear()
    leaking = [rng.choice(ENGINES)] if rng.random() < 0.15 else []
    leaking = [engine for engine in leaking if engine not in brigade.worn and engine != brigade.engine]
    leaking += [brigade.engine] if looking and now == case.begin else []
    if rng.random() < 0.4:
        brigade.act("workshop", "inspect", engine=rng.choice(ENGINES), found="nothing")
    for engine in leaking:
        mine = looking and engine == brigade.engine and now == case.begin
        leaks = brigade.act("workshop", "inspect", engine=engine, found="worn seal")
        brigade.worn[engine] = leaks
        old = case.strikes("dead_letter", now) if mine else rng.random() < 0.3
        sent = brigade.write(
            "workshop",
            "stores_clerk" if old else "quartermaster",
            {"topic": "worn seal", "engine": engine},
            leaks,
        )
        brigade.asked[brigade.letters] = engine
        if mine:
            brigade.lost_number = brigade.letters
            case.root(sent, leaks)


def _fires(brigade: Brigade) -> None:
    """Let it burn, here and there."""
    case, rng, now = brigade.case, brigade.dice("fires"), brigade.now
    engine, leader, house = rng.choice(ENGINES), rng.choice(LEADERS), rng.choice(brigade.calm)
    helper, driver = rng.sample(brigade.crew, 2)
    is_on_the_way = house in brigade.closed and (engine, house) not in brigade.knows_closed
    driver = brigade.swapped.get((engine, now), driver)
    is_late = (engine, now) in brigade.swapped and (driver, now) not in brigade.told
    permitted = brigade.permits.get(helper, -1) >= now and helper not in {driver, leader}
    fine = not is_on_the_way and not is_late and permitted and engine not in brigade.worn
    if rng.random() < 0.35 and fine and now != case.end:
        fight(brigade, house, engine, leader, helper, driver)
    if now == case.end:
        helper = brigade.helper
        driver = brigade.stand_in if case.has("wrong_recipient") else brigade.crew[0]
        fight(brigade, brigade.house, brigade.engine, brigade.leader, helper, driver)


def _chores(brigade: Brigade) -> None:
    """Exercises, coffee, radios that crackle."""
    rng, now = brigade.dice("chores"), brigade.now
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(VOLUNTEERS)
        brigade.act(
            name, rng.choice(("roll_hoses", "polish_helmets", "make_coffee", "climb_tower", "sew_badge"))
        )
    if rng.random() < 0.2:
        old, new = rng.sample(range(60, 100), 2)
        SystemLogger("station").log_config("siren_loudness", old, new)
    if rng.random() < 0.15:
        event = brigade.log["control_room"].error("radio test unanswered", {"channel": rng.randint(1, 9)})
        brigade.act("control_room", "test_radio_again", event, answer="loud and clear")
    if rng.random() < 0.2:
        brigade.act("workshop", "wash", engine=rng.choice(ENGINES))
    if now == brigade.case.decoy_at:
        brigade.act(brigade.engine, "change_tyres", count=2)
        brigade.act(brigade.house, "sweep_chimney")


def play(case: Case) -> None:
    """Play some weeks of watches."""
    steps = case.rng("steps").choice((36, 70, 120, 200))
    case.window(steps, 3 if case.has("dead_letter") else 1)
    brigade = Brigade(case)
    brigade.build()
    for now in range(steps):
        brigade.now = now
        with tick(now):
            brigade.deliver()
            for part in (_chores, _roads, _permits, _hydrants, _roster, _pumps, _fires):
                part(brigade)


WORLD = World(
    "firebrigade",
    "edges",
    ("omitted_message", "expired_permission", "false_belief", "wrong_recipient", "dead_letter"),
    play,
    author=15,
)
