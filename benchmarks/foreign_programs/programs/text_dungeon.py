"""Two adventurers and a thief in a text dungeon. The parser is a registry of verbs."""
import os
import random
import textwrap

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

VERBS = {}


def verb(*names):
    def register(function):
        for name in names:
            VERBS[name] = function
        return function
    return register


MAP = {
    "hall": {"exits": {"north": "library", "east": "kitchen"}, "items": ["lamp"]},
    "library": {"exits": {"south": "hall", "down": "crypt"}, "items": ["scroll", "key"]},
    "kitchen": {"exits": {"west": "hall", "down": "cellar"}, "items": ["knife", "bread", "bread"]},
    "cellar": {"exits": {"up": "kitchen", "north": "crypt"}, "items": ["wine"]},
    "crypt": {"exits": {"up": "library", "south": "cellar"}, "items": ["crown"]},
}


class Refused(Exception):
    def __init__(self, text, *, cost=0):
        super().__init__(text)
        self.cost = cost


class Hero:
    def __init__(self, agent_id, greed=0.5):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "hero")
        self.dice = random.Random(sum(map(ord, agent_id)))
        self.room = "hall"
        self.hp = 12
        self.pack = []
        self.map = {"hall": {"visits": 1, "exits": {}}}
        self.greed = greed
        self.known_items = set()
        self.journal = []

    @property
    def lit(self):
        return "lamp" in self.pack

    @trace_agent_action()
    @watch
    def look(self, exits, items):
        page = self.map.setdefault(self.room, {"visits": 0, "exits": {}})
        for direction in exits:
            page["exits"].setdefault(direction, None)
        if self.lit or self.room not in ("cellar", "crypt"):
            self.known_items |= {f"{item}@{self.room}" for item in items}
            return f"You see {', '.join(items) or 'nothing'}."
        return "It is pitch dark."

    @trace_agent_action()
    @watch
    def choose(self, items):
        if items and self.dice.random() < self.greed:
            return "take " + sorted(items)[0]
        if self.hp < 6 and "bread" in self.pack:
            return "eat bread"
        if len(self.pack) > 3:
            return "drop " + self.pack[0]
        page = self.map[self.room]["exits"]
        unknown = [d for d, where in page.items() if where is None]
        options = unknown or list(page)
        return "go " + self.dice.choice(sorted(options))

    @trace_agent_action()
    @watch
    def execute(self, command, result_room=None):
        name, _, noun = command.partition(" ")
        if name not in VERBS:
            raise Refused(f"I do not know how to {name}.")
        text = VERBS[name](self, noun, result_room)
        self.journal.append(text)
        if len(self.journal) > 8:
            del self.journal[0]
        return text

    @trace_agent_action()
    @watch
    def suffer(self, damage, source):
        blocked = self.dice.randint(0, 2) if "knife" in self.pack else 0
        self.hp -= max(0, damage - blocked)
        if self.hp <= 0:
            self.hp = 12
            self.room = "hall"
            self.pack.clear()
            raise Refused(f"{self.agent_id} was killed by the {source} and wakes in the hall.", cost=5)
        return self.hp


@verb("go", "walk")
def go(hero, noun, result_room):
    if result_room is None:
        raise Refused(f"You cannot go {noun} from the {hero.room}.")
    hero.map[hero.room]["exits"][noun] = result_room
    hero.room = result_room
    hero.map.setdefault(result_room, {"visits": 0, "exits": {}})["visits"] += 1
    return f"You go {noun} to the {result_room}."


@verb("take")
def take(hero, noun, _):
    if len(hero.pack) >= 5:
        raise Refused("Your pack is full.", cost=1)
    hero.pack.append(noun)
    return f"Taken: {noun}."


@verb("drop")
def drop(hero, noun, _):
    hero.pack.remove(noun)
    return f"Dropped: {noun}."


@verb("eat")
def eat(hero, noun, _):
    hero.pack.remove(noun)
    hero.hp = min(12, hero.hp + 4)
    return "That was stale, but you feel better."


def heroes():
    return {h.agent_id: h for h in (Hero("Ragna", 0.7), Hero("Tobias", 0.35), Hero("Skint", 0.9))}


def build(spec):
    party = heroes()
    return party if spec.agent_id is None else party[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    party = heroes()
    dm = random.Random(1812)
    rooms = {name: {"exits": dict(r["exits"]), "items": list(r["items"])} for name, r in MAP.items()}
    transcript = []
    for turn in range(75):
        with tick(turn):
            for hero in party.values():
                room = rooms[hero.room]
                hero.look(list(room["exits"]), list(room["items"]))
                command = hero.choose(list(room["items"]))
                name, _, noun = command.partition(" ")
                if dm.random() < 0.05:
                    command = "dance"
                try:
                    text = hero.execute(command, room["exits"].get(noun))
                    if command == f"take {noun}":
                        room["items"].remove(noun)
                    elif command == f"drop {noun}":
                        room["items"].append(noun)
                    transcript.append(f"{hero.agent_id}: {text}")
                    if hero.room in ("crypt", "cellar") and dm.random() < 0.6:
                        pack = list(hero.pack)
                        try:
                            hero.suffer(dm.randint(1, 4), "ghoul" if hero.room == "crypt" else "rat")
                        except Refused:
                            rooms["cellar"]["items"].extend(pack)
                            raise
                except Refused as error:
                    transcript.append(f"{hero.agent_id}: {error} ({error.cost})")
    print(textwrap.fill(" ".join(transcript[-20:]), 110))
    for hero in party.values():
        print(hero.agent_id, hero.room, hero.hp, hero.pack, sorted(hero.known_items)[:4])


if __name__ == "__main__":
    main()
