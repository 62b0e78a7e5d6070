"""A repertory theatre: every order, booking and change is a message, and each act names what it follows from."""

from __future__ import annotations

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

CREWS = ("light_desk", "sound_desk", "wardrobe", "fly_tower")
PLAYS = ("Elektra", "Tempest", "Candide", "Godot", "Nora")
ROWS = "ABCDEFGHKL"


class House:
    """The house, its people, and what is true of each evening."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("theatre")
        roles = {
            "director": "artist",
            "dramaturge": "artist",
            "stage_manager": "stage",
            "box_office": "front",
            "web_shop": "front",
            "usher_1": "front",
            "usher_2": "front",
            "workshop": "stage",
            "gatehouse": "front",
            "property_master": "stage",
            "property_store": "stage",
            "press_office": "front",
        } | dict.fromkeys(CREWS, "stage")
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.crew, self.other = self.rng.sample(CREWS, 2)
        self.cue = {crew: dict.fromkeys(PLAYS, 1) for crew in CREWS}
        self.script = dict.fromkeys(PLAYS, 1)
        self.title = self.rng.choice(PLAYS)
        self.prop = f"P{self.rng.randint(200, 900)}"
        self.prop_here = False
        self.trap_broken = False
        self.trap_believed = "sound"
        self.doubled = ""
        self.seats: list[tuple[int, str, str, str]] = []
        self.number = 300

    def tell(self, sender: str, to: str, body: dict[str, object], causes: object = None) -> tuple[str, str]:
        """Send a message that arrives; return the ids of both ends."""
        message = self.log[sender].send(to, body, causes=causes)  # type: ignore[arg-type]
        return message.event_id, self.log[to].receive(message)

    def say(self, event: str, *texts: str) -> None:
        """A visitor complains."""
        self.case.symptom(event, *(t.format(title=self.title, other=self.other) for t in texts))


def _changes(house: House, now: int) -> None:
    """The dramaturge changes a scene; the stage manager passes the change on to all crews."""
    rng, case = house.rng, house.case
    mine = now == case.begin and case.has("omitted_message")
    if not mine and rng.random() > 0.12:
        return
    title = house.title if mine else rng.choice([p for p in PLAYS if p != house.title])
    house.script[title] += 1
    change = house.log["dramaturge"].log_action(
        "change_scene", {"play": title, "version": house.script[title]}
    )
    _, heard = house.tell(
        "dramaturge", "stage_manager", {"play": title, "version": house.script[title]}, change
    )
    if mine:
        case.root(heard, change)
    crews = list(CREWS)
    rng.shuffle(crews)
    for crew in crews:
        if mine and crew == house.crew and case.strikes("omitted_message"):
            continue
        if not mine and rng.random() < 0.05:  # nothing to do for them in this scene
            continue
        sent, got = house.tell("stage_manager", crew, {"play": title, "version": house.script[title]}, heard)
        if mine:
            case.root(sent)
        house.cue[crew][title] = house.script[title]
        house.log[crew].log_action("program_cue", {"play": title, "version": house.script[title]}, causes=got)


def _orders(house: House, now: int) -> None:
    """Things that are needed on stage are ordered from the store or made in the workshop."""
    rng, case = house.rng, house.case
    house.number += 1
    mine = now == case.begin and (case.has("wrong_recipient") or case.has("dead_letter"))
    if mine or rng.random() < 0.3:
        prop, title = (house.prop if mine else f"P{house.number}"), house.title if mine else rng.choice(PLAYS)
        wish = house.log["director"].log_action("want_prop", {"prop": prop, "play": title})
        _, heard = house.tell("director", "property_master", {"prop": prop, "play": title}, wish)
        made = rng.random() < 0.4 or mine
        right = "workshop" if made else "property_store"
        to = "wardrobe" if mine and case.strikes("wrong_recipient") else right
        if mine and case.strikes("dead_letter"):
            message = house.log["property_master"].send(
                "workshop_old", {"prop": prop, "play": title}, causes=heard
            )
            lost = house.log["gatehouse"].log_action(
                "keep_post", {"addressee": "workshop_old", "prop": prop}, causes=message.event_id
            )
            case.root(message.event_id, lost)
            return
        sent, got = house.tell("property_master", to, {"prop": prop, "play": title}, heard)
        if mine:
            case.root(sent, got)
        if to == right:
            ready = house.log[to].log_action("build" if made else "look_out", {"prop": prop}, causes=got)
            house.log["property_master"].log_action("shelve", {"prop": prop}, causes=ready)
            house.prop_here = house.prop_here or mine
        else:
            house.log[to].log_action("file_note", {"about": "unclear order"}, causes=got)
    elif rng.random() < 0.06:  # post to somebody who has left
        who = rng.choice(("old_bursar", "former_pianist"))
        message = house.log["press_office"].send(who, {"flyer": house.number})
        house.log["gatehouse"].log_action(
            "keep_post", {"addressee": who, "flyer": house.number}, causes=message.event_id
        )
    elif rng.random() < 0.1:
        _, got = house.tell(
            "property_master", "wardrobe", {"costume": house.number, "play": rng.choice(PLAYS)}
        )
        house.log["wardrobe"].log_action("sew", {"costume": house.number}, causes=got)


def _trap(house: House, now: int) -> None:
    """The fly tower reports on the trapdoor; who asks is told what it was like when somebody last looked."""
    rng, case = house.rng, house.case
    if case.has("false_belief") and now == case.begin - 1:
        house.trap_broken = True
        broken = house.log["fly_tower"].log_action("inspect_trap", {"state": "cracked"})
        _, heard = house.tell("fly_tower", "stage_manager", {"trapdoor": "cracked"}, broken)
        house.log["stage_manager"].log_state_change(
            {"trapdoor": "sound"}, {"trapdoor": "cracked"}, trigger="message"
        )
        house.trap_believed = "cracked"
        return
    if case.has("false_belief") and now == case.begin:
        state = "sound" if case.strikes("false_belief") else "cracked"
        sent, heard = house.tell("workshop", "stage_manager", {"trapdoor": state, "job": f"J{now}"})
        house.trap_believed = state
        event = house.log["stage_manager"].log_action("note_trap", {"state": state}, causes=heard)
        case.root(sent, heard, event)
        return
    if rng.random() < 0.2 and not (case.has("false_belief") and now > case.begin):
        seen = house.log["fly_tower"].log_action("inspect_trap", {"state": "sound"})
        _, heard = house.tell("fly_tower", "stage_manager", {"trapdoor": "sound"}, seen)
        house.log["stage_manager"].log_action("note_trap", {"state": "sound"}, causes=heard)


def _bookings(house: House, now: int, days: int) -> None:
    """The web shop sends bookings; the box office blocks the seats."""
    rng, case = house.rng, house.case
    for place in range(3):
        mine = now == case.begin and place == 0 and case.has("doubled_act")
        house.number += 1
        seat = f"{rng.choice(ROWS)}{house.number}"
        evening = case.end if mine else min(days - 1, now + rng.randint(1, 30))
        wish = house.log["web_shop"].log_action(
            "check_out", {"order": house.number, "seat": seat, "evening": evening}
        )
        _, got = house.tell(
            "web_shop", "box_office", {"order": house.number, "seat": seat, "evening": evening}, wish
        )
        block = house.log["box_office"].log_action(
            "block_seat", {"order": house.number, "seat": seat, "evening": evening}, causes=got
        )
        if mine:
            house.doubled = seat
            case.root(block)
            if case.strikes("doubled_act"):
                again = house.log["box_office"].log_action(
                    "block_seat", {"order": house.number, "seat": seat, "evening": evening}, causes=got
                )
                case.root(again)
                house.seats.append((evening, seat, "usher_2", again))
        elif rng.random() < 0.06:  # a group sits on two seats under one order
            neighbour = f"{seat[0]}{house.number + 5000}"
            more = house.log["box_office"].log_action(
                "block_seat", {"order": house.number, "seat": neighbour, "evening": evening}, causes=got
            )
            house.seats.append((evening, neighbour, "usher_1", more))
        house.seats.append((evening, seat, "usher_1" if mine else rng.choice(("usher_1", "usher_2")), block))


def _evening(house: House, now: int) -> None:
    """The performance: ushers seat people, crews play their cues."""
    rng, case = house.rng, house.case
    due = now == case.end
    title = house.title if due else rng.choice([p for p in PLAYS if p != house.title])
    called = house.log["stage_manager"].log_action("call_half_hour", {"play": title, "evening": now})
    taken: set[str] = set()
    for item in [s for s in house.seats if s[0] == now]:
        house.seats.remove(item)
        _, seat, usher, block = item
        scan = house.log[usher].log_action("scan_ticket", {"seat": seat}, causes=block)
        if seat in taken:
            case.hop(block, scan)
            event = house.log[usher].log_action("argue", {"seat": seat, "people": 2}, causes=scan)
            house.say(
                event,
                f"somebody else was sitting on my seat {seat}, with the same ticket",
                "two people came for one seat at {title}, how can that happen",
                "we had to stand at the back for the whole {title}; even the {other} people laughed about it",
            )
        taken.add(seat)
    if rng.random() < 0.3 or due:
        use = house.log["stage_manager"].log_action(
            "use_trap" if house.trap_believed == "sound" else "use_stairs", {"play": title}, causes=called
        )
        if house.trap_broken and house.trap_believed == "sound" and due:
            event = house.log["director"].error("actor hurt", {"play": title}, causes=use)
            case.hop(use)
            house.say(
                event,
                "An actor fell tonight and broke her wrist. We were told all was in order",
                "accident in {title}, who let them go there?",
                "actress injured during {title}. {other} is not to blame, they did what was called",
            )
    for crew in CREWS:
        played = house.log[crew].log_action(
            "play_cue", {"play": title, "version": house.cue[crew][title]}, causes=called
        )
        if due and case.has("omitted_message") and house.cue[crew][title] != house.script[title]:
            case.hop(called, played)
            event = house.log["press_office"].log_action(
                "read_review", {"play": title, "stars": 1}, causes=played
            )
            house.say(
                event,
                "last night the ending went all wrong, one part did not fit the rest",
                "{title} fell apart in the last scene and the papers tear us to pieces",
                "what a mess on stage! the {other} people say they did exactly what they had to",
            )
    if due and (case.has("wrong_recipient") or case.has("dead_letter")):
        looked = house.log["property_master"].log_action(
            "hand_out", {"prop": house.prop, "play": title, "found": house.prop_here}, causes=called
        )
        if not house.prop_here:
            case.hop(looked)
            event = house.log["director"].log_action(
                "improvise", {"play": title, "without": house.prop}, causes=looked
            )
            house.say(
                event,
                "the actor stood there with empty hands in the big scene",
                f"{house.prop} was not there for the show although it was wanted so long ago",
                "we had to play {title} without an important thing. {other} tried to help",
            )
    house.log["press_office"].log_action("count_house", {"play": title, "visitors": rng.randint(150, 420)})


def play(case: Case) -> None:
    """Play a season."""
    house = House(case)
    rng = house.rng
    days = rng.choice((45, 80, 130, 220))
    case.window(days, shortest=2)
    for now in range(days):
        with tick(now):
            for _ in range(2):
                who = rng.choice(sorted(house.log))
                if rng.random() < 0.2:
                    key = rng.choice(("tea_time", "door_code", "poster_size"))
                    house.log[who].log_state_change(
                        {key: rng.randint(1, 5)}, {key: rng.randint(6, 9)}, trigger="meeting"
                    )
                if rng.random() < 0.1:
                    house.log[who].warning(
                        rng.choice(("phone busy", "lift slow")), {"minutes": rng.randint(1, 15)}
                    )
                if rng.random() < 0.1:
                    house.log[who].log_action(
                        rng.choice(("dust", "tidy", "rehearse_alarm")), {"minutes": rng.randint(5, 60)}
                    )
            if now == case.decoy_at:
                house.log[rng.choice(CREWS)].warning("fuse blown", {"circuit": rng.randint(1, 30)})
            _changes(house, now)
            _orders(house, now)
            _trap(house, now)
            _bookings(house, now, days)
            _evening(house, now)


WORLD = World(
    "theatre",
    "edges",
    ("omitted_message", "wrong_recipient", "dead_letter", "doubled_act", "false_belief"),
    play,
    author=9,
)
