"""School meals: menus, orders, kitchens, vans and schools. Typed loggers and state changes, without any link."""

from __future__ import annotations

from Agent import AgentLogger, InteractionLogger, tick
from benchmarks.fault_worlds.kit import Case, World

KITCHENS = ("mill_lane", "old_town", "canal", "orchard")
SCHOOLS = ("Ashgrove", "Birchwood", "Cedarhill", "Dunmore", "Elmfield", "Fernside", "Glenrock", "Heathway")
FOODS = ("nuts", "gluten", "milk", "egg", "fish", "soy")
STORES = ("cold_a", "cold_b", "cold_c")


class Service:
    """The service with its people; `serves` tells which kitchen cooks for which school."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("meals")
        names = [*KITCHENS, "buyer", "allergy_desk", "planner", "transport", "storeroom"]
        self.log = {name: AgentLogger(name, "kitchen" if name in KITCHENS else "office") for name in names}
        self.log |= {school: AgentLogger(school, "school") for school in SCHOOLS}
        self.talk = InteractionLogger()
        self.serves = {school: KITCHENS[number % 4] for number, school in enumerate(SCHOOLS)}
        self.school = self.rng.choice(SCHOOLS)
        self.kitchen = self.serves[self.school]
        self.elsewhere = self.rng.choice([k for k in KITCHENS if k != self.kitchen])
        self.other = self.rng.choice([s for s in SCHOOLS if s != self.school])
        self.warm = dict.fromkeys(KITCHENS, 68)
        self.flour = 0.0
        self.child = f"pupil{self.rng.randint(100, 999)}"
        self.avoids: dict[str, str] = {}
        self.diverted: dict[str, str] = {}
        self.crates: dict[str, str] = {}
        self.rounded, self.cap, self.spare = 0, 1.0, 0.0

    def act(self, who: str, name: str, **data: object) -> str:
        """Record one act."""
        return self.log[who].log_action(name, dict(data))

    def say(self, event: str, *texts: str) -> None:
        """A user complains, in one of these wordings."""
        fill = {"school": self.school, "kitchen": self.kitchen, "other": self.other, "child": self.child}
        self.case.symptom(event, *(text.format(**fill) for text in texts))


def _noise(meals: Service, now: int) -> None:
    """Everyday changes, hiccups and chores."""
    rng, case = meals.rng, meals.case
    for _ in range(2):
        who = rng.choice([*KITCHENS, *SCHOOLS])
        if rng.random() < 0.3:
            key = rng.choice(("bell", "lights", "music_volume", "menu_language"))
            meals.log[who].log_state_change(
                {key: rng.randint(0, 3)}, {key: rng.randint(4, 7)}, trigger="caretaker"
            )
        if rng.random() < 0.1:
            meals.log[who].warning(
                rng.choice(("scanner asleep", "door left open")), {"minutes": rng.randint(1, 9)}
            )
        if rng.random() < 0.15:
            meals.act(
                who,
                rng.choice(("wipe_tables", "sort_cutlery", "check_extinguisher")),
                minutes=rng.randint(3, 30),
            )
    if now == case.decoy_at:
        meals.log[rng.choice(KITCHENS)].warning("dishwasher leaks", {"litres": rng.randint(1, 6)})


def _desk(meals: Service, now: int) -> None:
    """Register children with what they must avoid and what they would rather have."""
    rng, case = meals.rng, meals.case
    if case.has("swapped_fields") and now == case.begin:
        avoid, wish = "nuts", "fish"
        if case.strikes("swapped_fields"):
            avoid, wish = wish, avoid
        meals.avoids[meals.child] = avoid
        case.root(
            meals.act(
                "allergy_desk", "register", child=meals.child, school=meals.school, avoid=avoid, wish=wish
            )
        )
        return
    if rng.random() < 0.3:
        avoid, wish = rng.sample(FOODS, 2)
        child = f"pupil{rng.randint(1000, 9999)}"
        meals.act("allergy_desk", "register", child=child, school=rng.choice(SCHOOLS), avoid=avoid, wish=wish)
        if rng.random() < 0.1:
            meals.act("allergy_desk", "correct", child=child, avoid=wish, wish=avoid)


def _buy(meals: Service, now: int, daily: float) -> None:
    """Order flour for what was used; the amount is rounded to full kilograms, up or down."""
    rng, case = meals.rng, meals.case
    need = round(daily + rng.uniform(-0.45, 0.45), 2)
    low = case.strikes("rounding_leak") and now >= case.begin
    ordered = int(need) if low else round(need + 0.5)
    event = meals.act("buyer", "order_flour", needed_kg=need, ordered_kg=ordered)
    if low and meals.rounded < 3:
        meals.rounded += 1
        case.root(event)
    meals.flour += ordered - need
    meals.flour = min(meals.flour, meals.cap)
    meals.act("storeroom", "take_in", kg=ordered)
    meals.log["storeroom"].info("stock of the day", {"flour_kg": round(meals.flour + 30, 1)})


def _vans(meals: Service, now: int) -> None:
    """Divert deliveries during road works, and take it back afterwards."""
    rng, case = meals.rng, meals.case
    if case.has("forgotten_undo") and now == case.begin - 1:
        case.root(
            meals.act("transport", "divert", school=meals.school, instead=meals.other, reason="road works")
        )
        meals.diverted[meals.school] = meals.other
    elif case.has("forgotten_undo") and now == case.begin:
        if not case.strikes("forgotten_undo"):
            meals.act("transport", "end_diversion", school=meals.school)
            meals.diverted.pop(meals.school)
    elif rng.random() < 0.12:
        school, instead = rng.sample([s for s in SCHOOLS if s != meals.school], 2)
        meals.act(
            "transport", "divert", school=school, instead=instead, reason=rng.choice(("road works", "parade"))
        )
        meals.act("transport", "end_diversion", school=school)


def _crates(meals: Service, now: int) -> None:
    """Put crates for later days into cold rooms as the planner says."""
    rng, case = meals.rng, meals.case
    for number in range(2):
        mine = case.has("misrouted_thing") and now == case.begin and number == 0
        crate, room = f"crate{now}-{number}", rng.choice(STORES)
        meals.act("planner", "allot", crate=crate, room=room)
        put = room
        if mine and case.strikes("misrouted_thing"):
            put = STORES[(STORES.index(room) + 1) % 3]
        event = meals.act("storeroom", "put_away", crate=crate, room=put)
        if mine:
            case.root(event)
            meals.crates = {"crate": crate, "told": room, "is": put}
        elif rng.random() < 0.1:
            other = rng.choice([r for r in STORES if r != room])
            meals.act("storeroom", "move", crate=crate, source=room, room=other)
            meals.act("planner", "allot", crate=crate, room=other)


def _lunch(meals: Service, now: int) -> None:
    """Cook, deliver, serve and count."""
    rng, case = meals.rng, meals.case
    for school in SCHOOLS:
        kitchen = meals.serves[school]
        here = school == meals.school
        if here and case.has("forgotten_undo") and case.begin - 1 <= now < case.end:
            continue  # holidays: nobody to feed until the day on which it shows
        portions = rng.randint(60, 90)
        short = case.has("rounding_leak") and meals.flour < -meals.spare and kitchen == meals.kitchen
        cooked = meals.act(
            kitchen,
            "cook",
            dish=rng.choice(("stew", "bake", "soup")),
            portions=portions // (2 if short else 1),
        )
        degrees = round(meals.warm[kitchen] - rng.uniform(0, 2), 1)
        meals.act(kitchen, "measure", dish_degrees=degrees)
        target = meals.diverted.get(school, school)
        sent = meals.act("transport", "deliver", school=target, kitchen=kitchen, portions=portions)
        if here and target != school:
            case.hop(sent)
            event = meals.log[school].warning("nothing on the tables", {"children": portions})
            meals.say(
                event,
                "first day back and there was no lunch at all for our kids",
                "no food came to {school} today, the children went hungry",
                "hungry children after the holidays. {other} had more than it could eat",
            )
            continue
        sick = rng.randint(0, 3)
        if meals.warm[kitchen] < 60 and here and now >= case.end:
            sick = rng.randint(14, 22)
        event = meals.act(school, "roll_call", absent=sick, present=portions)
        if sick > 10:
            case.hop(sent)
            meals.say(
                event,
                "half the class has stomach ache, something must be wrong with the food",
                "so many absent at {school} all of a sudden. Is it what they eat?",
                "stomach trouble among the little ones, while {other} is all well",
            )
        if short and here:
            case.hop(cooked, sent)
            event = meals.act(school, "count_plates", missing=portions // 2)
            meals.say(
                event,
                "there was only bread for every second child",
                "portions at {school} were cut to half, what is going on",
                "not enough to eat today; {other} got the same amount as always",
            )
        if here and now == case.end:
            _special(meals, school)
        if rng.random() < 0.2:
            meals.talk.log_interaction(
                school, kitchen, "praise" if rng.random() < 0.8 else "grumble", {"dish": "stew"}
            )


def _special(meals: Service, school: str) -> None:
    """What happens on the day on which a fault of the register or of a cold room shows."""
    case = meals.case
    if case.has("swapped_fields"):
        served = meals.act(
            meals.kitchen, "special_meal", child=meals.child, without=meals.avoids[meals.child]
        )
        case.hop(served)
        if meals.avoids[meals.child] != "nuts":
            event = meals.log[school].error(
                "child taken to hospital", {"child": meals.child, "ate": "nut cake"}
            )
            meals.say(
                event,
                "my daughter was brought to hospital after lunch though you know her allergy",
                "{child} had nuts on the plate!",
                "allergic shock at {school}. The cook says it was served as written",
            )
    if case.has("misrouted_thing"):
        fetched = meals.act("transport", "fetch", crate=meals.crates["crate"], room=meals.crates["told"])
        case.hop(fetched)
        if meals.crates["told"] != meals.crates["is"]:
            event = meals.log[school].warning("party without its cake", {"crate": meals.crates["crate"]})
            meals.say(
                event,
                "our summer party had no cake, it could not be found anywhere",
                "{crate} was nowhere when {school} wanted it".replace("{crate}", meals.crates["crate"]),
                "cake lost. {other} says they did not take it",
            )


def _settings(meals: Service, now: int) -> None:
    """Change what the heated cupboards are set to, mostly by little."""
    rng, case = meals.rng, meals.case
    if case.has("config_change") and now == case.begin:
        new = 56 if case.strikes("config_change") else 67
        old, meals.warm[meals.kitchen] = meals.warm[meals.kitchen], new
        case.root(
            meals.log[meals.kitchen].log_state_change(
                {"cupboard_degrees": old}, {"cupboard_degrees": new}, trigger="technician"
            )
        )
    elif rng.random() < 0.1:
        kitchen = rng.choice([k for k in KITCHENS if k != meals.kitchen])
        old = meals.warm[kitchen]
        meals.warm[kitchen] = rng.choice([66, 67, 68, 69, 70])
        meals.log[kitchen].log_state_change(
            {"cupboard_degrees": old}, {"cupboard_degrees": meals.warm[kitchen]}, trigger="technician"
        )


def play(case: Case) -> None:
    """Play a term."""
    meals = Service(case)
    days = meals.rng.choice((50, 80, 120, 180))
    case.window(days, shortest=2)
    meals.spare = max(0.5, 0.5 * (case.end - case.begin) - 1)
    for now in range(days):
        with tick(now):
            _noise(meals, now)
            _desk(meals, now)
            _buy(meals, now, 24.5)
            _vans(meals, now)
            _crates(meals, now)
            _settings(meals, now)
            _lunch(meals, now)


WORLD = World(
    "schoolmeals",
    "bare",
    ("swapped_fields", "rounding_leak", "config_change", "forgotten_undo", "misrouted_thing"),
    play,
    author=9,
)
