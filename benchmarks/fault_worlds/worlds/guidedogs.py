"""A school for guide dogs: lessons, sign-offs on slips, checks of paws, spare harnesses, and outings with clients."""

from __future__ import annotations

import random
from collections.abc import Callable

from Agent import AgentLogger, LearningLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

EXERCISES = ("kerbs", "stairs", "lifts", "crowds", "trains", "roundabouts")
DOGS = ("biscuit", "comet", "dusty", "ember", "flint", "ginger", "hazel", "indigo")
CLIENTS = ("avery", "bellamy", "corin", "delphine", "esme", "farid")
TRAINERS = ("trainer_jo", "trainer_kit", "trainer_lou")
USUAL_PASS_MARK, LOW_PASS_MARK = 7, 3
STUMBLES_BELOW = 6


class Dog:
    """A dog; what it can really do is not on record."""

    agent_role = "dog"
    trace_ignore = ("good_at", "thorn", "chance")

    def __init__(self, name: str, good_at: set[str], chance: Callable[[str], random.Random]) -> None:
        self.agent_id, self.good_at, self.chance = name, good_at, chance
        self.thorn = False
        self.harness = f"harness_{name}"

    @trace_agent_action()
    def walk(self, exercise: str, lesson: int) -> int:
        """Walk a short course in the yard on the lead; return how many of ten steps were clean."""
        rng = self.chance(f"walk {self.agent_id} {lesson}")
        return rng.randint(7, 10) if exercise in self.good_at else rng.randint(3, 5)

    @trace_agent_action()
    def guide(self, client: str, exercise: str, outing: int) -> int:
        """Lead a client through the town in harness; return how many of ten steps were clean."""
        rng = self.chance(f"guide {self.agent_id} {outing}")
        clean = rng.randint(7, 10) if exercise in self.good_at else rng.randint(2, 5)
        if self.thorn or not self.harness.endswith(self.agent_id):
            clean = min(clean, rng.randint(2, 5))
        return clean


class Office:
    """The office: pass marks, who is signed off for what, and which dog goes out."""

    agent_id, agent_role = "office", "office"
    trace_ignore = ("dogs", "learning")

    def __init__(self, dogs: dict[str, Dog]) -> None:
        self.dogs = dogs
        self.marks = dict.fromkeys(EXERCISES, USUAL_PASS_MARK)
        self.latest: dict[str, str] = {}
        self.learning = {name: LearningLogger("sign_off", name, "dog") for name in dogs}

    @trace_agent_action("set_threshold")
    def set_rule(self, rule: str, value: int) -> None:
        """Change a rule of the school."""
        if rule.startswith("pass_mark_"):
            self.marks[rule.removeprefix("pass_mark_")] = value

    @trace_agent_action()
    def file_slip(self, slip: int, dog: str, exercise: str, clean: int) -> str:
        """File a slip; a dog that reaches the pass mark is the first choice from now on."""
        if clean < self.marks[exercise]:
            return "again next month"
        self.latest[exercise] = dog
        self.learning[dog].log_reward(exercise, float(clean))
        return "signed off"

    @trace_agent_action()
    def note_word(self, word: int, dog: str, exercise: str, giver: str) -> str:
        """Take the word of somebody who raised a dog."""
        self.latest[exercise] = dog
        return "noted"

    @trace_agent_action()
    def send_out(self, outing: int, client: str, exercise: str) -> tuple[str, int]:
        """Send the dog that was signed off last for this; return it and how it went."""
        dog = self.latest[exercise]
        return dog, self.dogs[dog].guide(client, exercise, outing)


class Trainer:
    """A trainer, who gives lessons and writes slips."""

    agent_role = "trainer"
    trace_ignore = ("office", "learning")

    def __init__(self, name: str, office: Office) -> None:
        self.agent_id, self.office = name, office
        self.learning = LearningLogger("lessons", name, "trainer")

    @trace_agent_action()
    def lesson(self, dog: str, exercise: str, lesson: int) -> int:
        """Give a lesson, and book a small reward."""
        clean = self.office.dogs[dog].walk(exercise, lesson)
        self.learning.log_reward(f"{dog}:{exercise}", clean / 50)
        return clean

    @trace_agent_action()
    def assess(self, dog: str, exercise: str, lesson: int) -> int:
        """Watch a dog with a view to signing it off."""
        return self.office.dogs[dog].walk(exercise, lesson)

    @trace_agent_action()
    def write_slip(self, slip: int, dog: str, exercise: str, clean: int) -> str:
        """Write down how a dog did, and hand the slip in."""
        return self.office.file_slip(slip, dog, exercise, clean)


class Hand:
    """A kennel hand."""

    agent_role = "kennel"
    trace_ignore = ("dogs", "vet")

    def __init__(self, name: str, dogs: dict[str, Dog], vet: Vet) -> None:
        self.agent_id, self.dogs, self.vet = name, dogs, vet

    @trace_agent_action()
    def bring_in(self, dog: str, visit: int) -> str:
        """Bring a dog in from the meadow."""
        return "in its box"

    @trace_agent_action()
    def look_over(self, dog: str, visit: int) -> str:
        """Look a dog over; whatever is found goes to the vet."""
        if self.dogs[dog].thorn:
            return self.vet.treat(dog, visit)
        return "nothing found"

    @trace_agent_action()
    def feed(self, dog: str, grams: int) -> None:
        """Feed a dog."""

    @trace_agent_action()
    def fit_harness(self, dog: str, harness: str, fitting: int) -> None:
        """Fit a harness to a dog."""
        self.dogs[dog].harness = harness

    @trace_agent_action()
    def fetch_key(self, door: str, try_number: int) -> None:
        """Fetch the key of a door; somebody else has it now and then."""
        if try_number == 1:
            raise LookupError(f"the key of {door} is not on its hook")


class Vet:
    """The vet, who comes when called."""

    agent_id, agent_role = "vet", "vet"
    trace_ignore = ("dogs",)

    def __init__(self, dogs: dict[str, Dog]) -> None:
        self.dogs = dogs

    @trace_agent_action()
    def treat(self, dog: str, visit: int) -> str:
        """Take out whatever is in the paw."""
        self.dogs[dog].thorn = False
        return "treated"


class Client:
    """Somebody who goes out with a dog."""

    agent_role = "client"

    def __init__(self, name: str) -> None:
        self.agent_id = name

    @trace_agent_action()
    def report(self, outing: int, dog: str, exercise: str, clean: int) -> str:
        """Tell how an outing went."""
        return "well" if clean >= STUMBLES_BELOW else "stumbled"


class School:
    """The school, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("days")
        self.days = self.rng.randint(60, 110)
        self.begin, self.end = case.window(self.days)
        who = case.rng("who")
        self.exercise, self.lowered = who.sample(EXERCISES, 2)
        self.able, self.unable, self.former = who.sample(DOGS, 3)
        others = [exercise for exercise in EXERCISES if exercise != self.exercise]
        skills = {name: set(who.sample(others, 3)) for name in DOGS}
        for place, exercise in enumerate(others):
            skills[[name for name in DOGS if name != self.able][place]].add(exercise)
        skills[self.able] = {self.exercise}
        skills[self.former].add(self.exercise)
        self.dogs = {name: Dog(name, skills[name], case.rng) for name in DOGS}
        self.office, vet = Office(self.dogs), Vet(self.dogs)
        self.trainers = [Trainer(name, self.office) for name in TRAINERS]
        self.hands = [Hand(name, self.dogs, vet) for name in ("hand_pia", "hand_sol")]
        self.clients = {name: Client(name) for name in CLIENTS}
        self.client = who.choice(CLIENTS)
        self.yard = AgentLogger("porter", "porter")
        self.number = 100
        self.shown = case.rng("shown").randint(self.begin, self.end)

    def next(self) -> int:
        """Return a new running number."""
        self.number += 1
        return self.number

    def sign(self, trainer: Trainer, dog: str, exercise: str, on_slip: str | None = None) -> tuple[int, str]:
        """Assess a dog and hand in the slip; return its number and the dog on it."""
        clean, slip, written = trainer.assess(dog, exercise, self.next()), self.next(), on_slip or dog
        trainer.write_slip(slip, written, exercise, clean)
        return slip, written

    def opening(self) -> None:
        """Sign off one dog for each exercise."""
        for exercise in EXERCISES:
            first = self.former if self.case.kind in ("wrong_credit", "false_belief") else self.able
            able = [first] if exercise == self.exercise else self.free(exercise)
            self.sign(self.rng.choice(self.trainers), self.rng.choice(able), exercise)
        exercise = self.rng.choice([one for one in EXERCISES if one != self.exercise])
        self.office.note_word(self.next(), self.rng.choice(self.free(exercise)), exercise, "breeder")

    def free(self, exercise: str) -> list[str]:
        """Return the dogs that can do this, without the one that matters."""
        return [name for name, dog in self.dogs.items() if exercise in dog.good_at and name != self.able]

    def fault(self, now: int) -> None:
        """Do what the plan has for this day; only here the fault can strike."""
        case, rng = self.case, self.case.rng(f"plan {now}")
        trainer, hand = rng.choice(self.trainers), rng.choice(self.hands)
        if case.has("wrong_credit") and now == self.begin:
            wrong = self.unable if case.strikes("wrong_credit", now) else self.able
            slip, dog = self.sign(trainer, self.able, self.exercise, wrong)
            case.root(call(trainer.agent_id, "write_slip", slip=slip))
            case.root(call("office", "file_slip", slip=slip, dog=dog))
        if case.has("config_change"):
            if now == self.begin:
                value = LOW_PASS_MARK if case.strikes("config_change", now) else USUAL_PASS_MARK + 1
                self.office.set_rule(f"pass_mark_{self.exercise}", value)
                case.root(call("office", "set_threshold", rule=f"pass_mark_{self.exercise}", value=value))
            if now == self.shown:
                slip, _ = self.sign(trainer, self.unable, self.exercise)
                case.hop(call(trainer.agent_id, "write_slip", slip=slip))
                case.hop(call("office", "file_slip", slip=slip))
                case.trigger(call(trainer.agent_id, "write_slip", slip=slip))
        if case.has("false_belief") and now == self.begin:
            told = self.unable if case.strikes("false_belief", now) else self.able
            word = self.next()
            self.office.note_word(word, told, self.exercise, "puppy walkers")
            case.root(call("office", "note_word", word=word))
        if case.has("omitted_step") and now == self.begin:
            visit = self.next()
            self.dogs[self.able].thorn = True
            hand.bring_in(self.able, visit)
            case.root(call(hand.agent_id, "bring_in", visit=visit))
            if not case.strikes("omitted_step", now):
                hand.look_over(self.able, visit)
        if case.has("forgotten_undo") and now == self.begin:
            fitting = self.next()
            hand.fit_harness(self.able, "harness_spare_large", fitting)
            case.root(call(hand.agent_id, "fit_harness", fitting=fitting))
            if not case.strikes("forgotten_undo", now):
                hand.fit_harness(self.able, f"harness_{self.able}", self.next())

    def everyday(self, now: int) -> None:
        """Give lessons, look after the dogs, and change rules that harm nobody."""
        rng = self.rng
        for trainer in self.trainers:
            for dog in rng.sample(DOGS, 2):
                trainer.lesson(dog, rng.choice(EXERCISES), self.next())
        for dog in DOGS:
            hand, visit = rng.choice(self.hands), self.next()
            hand.feed(dog, rng.randint(280, 420))
            found = dog != self.able and rng.random() < 0.04
            if rng.random() < 0.3 and not (dog == self.able and self.begin <= now <= self.end):
                self.dogs[dog].thorn = found
                hand.bring_in(dog, visit)
                if found or rng.random() < 0.92:
                    hand.look_over(dog, visit)
            elif dog != self.able and rng.random() < 0.03:
                hand.fit_harness(dog, "harness_spare_small", self.next())
                hand.fit_harness(dog, f"harness_{dog}", self.next())
        if rng.random() < 0.18:
            exercise = rng.choice([one for one in EXERCISES if one != self.exercise])
            self.sign(rng.choice(self.trainers), rng.choice(self.free(exercise)), exercise)
        if rng.random() < 0.12:
            exercise = rng.choice([one for one in EXERCISES if one not in (self.exercise, self.lowered)])
            weak = [name for name, dog in self.dogs.items() if exercise not in dog.good_at]
            self.sign(rng.choice(self.trainers), rng.choice(weak), exercise)
        if rng.random() < 0.08:
            exercise = rng.choice([one for one in EXERCISES if one != self.exercise])
            giver = rng.choice(("puppy walkers", "breeder"))
            self.office.note_word(self.next(), rng.choice(self.free(exercise)), exercise, giver)
        if rng.random() < 0.16:
            if rng.random() < 0.3:
                self.office.set_rule(f"pass_mark_{self.lowered}", rng.choice((LOW_PASS_MARK, 6, 7)))
            else:
                rule = rng.choice(("lesson_minutes", "treats_per_day", "visitors_at_once"))
                self.office.set_rule(rule, rng.randint(5, 30))
        if rng.random() < 0.06:
            hand, door = rng.choice(self.hands), rng.choice(("feed store", "meadow gate"))
            try:
                hand.fetch_key(door, 1)
            except LookupError:
                hand.fetch_key(door, 2)
        if now == self.case.decoy_at:
            self.yard.warning(f"thunder in the afternoon, {self.unable} and {self.able} barked for a while")

    def outing(self, client: str, exercise: str) -> None:
        """Let a client go out; one who stumbles shows the symptom."""
        number, case = self.next(), self.case
        dog, clean = self.office.send_out(number, client, exercise)
        said = self.clients[client].report(number, dog, exercise, clean)
        if said == "well":
            return
        case.hop(call("office", "send_out", outing=number), call(dog, "guide", outing=number))
        case.symptom(
            call(client, "report", outing=number),
            f"{client} stumbled on an outing that should have been easy. What went wrong before?",
            f"How could {client} be given a dog that was of no help with the {exercise}?",
            f"Somebody nearly fell at the {exercise} although we only send out animals that are fit for it.",
            "One of our visitors came back shaken: the animal hesitated all the way. It should not have been out there.",
        )

    def play(self) -> None:
        """Play all days."""
        others = [exercise for exercise in EXERCISES if exercise != self.exercise]
        for now in range(self.days):
            with tick(now):
                if now == 0:
                    self.opening()
                self.fault(now)
                self.everyday(now)
                for _ in range(self.rng.randint(1, 3)):
                    self.outing(self.rng.choice(CLIENTS), self.rng.choice(others))
                if now == self.end:
                    self.outing(self.client, self.exercise)


def play(case: Case) -> None:
    """Play a case."""
    School(case).play()


WORLD = World(
    "guidedogs",
    "spans",
    ("wrong_credit", "config_change", "false_belief", "omitted_step", "forgotten_undo"),
    play,
    author=7,
)
