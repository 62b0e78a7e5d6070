"""Language tutors with Pydantic AI structured output; the pupil model forgets with time. FunctionModel, no network."""
import os
import random
from datetime import date, timedelta
from enum import StrEnum

from pydantic import BaseModel, Field, field_validator
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

VOCAB = {"hus": "house", "bil": "car", "tog": "train", "sol": "sun", "regn": "rain", "brød": "bread", "ost": "cheese",
         "fjell": "mountain", "skog": "forest", "katt": "cat"}


class Grade(StrEnum):
    GOOD = "good"
    CLOSE = "close"
    WRONG = "wrong"


class Exercise(BaseModel):
    word: str
    hint: str = Field(default="", max_length=30)
    level: int = 1

    @field_validator("level")
    @classmethod
    def cap(cls, value):
        return min(value, 5)


class Card(BaseModel):
    word: str
    box: int = 0
    due: date = date(2023, 1, 2)
    grades: list[Grade] = []


def teacher(messages, info: AgentInfo):
    """The scripted model: chooses the word the prompt stresses and gives a hint of its first letters."""
    prompt = messages[-1].parts[-1].content
    fields = dict(pair.split("=") for pair in prompt.split()[1:])
    word = fields["word"]
    hint = VOCAB[word][: int(fields["letters"])] + "..." + str(len(prompt))
    tool = info.output_tools[0].name
    return ModelResponse(parts=[ToolCallPart(tool, {"word": word, "hint": hint, "level": int(fields["box"]) + 1}, tool_call_id="x")])


class Tutor:
    def __init__(self, agent_id, strictness):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "tutor")
        self.strictness = strictness
        self.model = Agent(FunctionModel(teacher), output_type=Exercise, instructions="You teach Norwegian.")
        self.cards = {word: Card(word=word) for word in VOCAB}
        self.streak = 0
        self.calendar = []

    @trace_agent_action()
    @watch
    def exercise(self, today):
        day = date.fromisoformat(today)
        due = [c for c in self.cards.values() if c.due <= day]
        if not due:
            raise LookupError(f"nothing is due on {today}")
        card = min(due, key=lambda c: (c.box, c.due, c.word))
        letters = 2 if card.box < 2 else 1
        result = self.model.run_sync(f"Exercise: word={card.word} letters={letters} box={card.box}").output
        return result.model_dump()

    @trace_agent_action()
    @watch
    def grade(self, word, answer, today):
        card = self.cards[word]
        right = VOCAB[word]
        overlap = sum(a == b for a, b in zip(answer, right)) / len(right)
        grade = Grade.GOOD if answer == right else Grade.CLOSE if overlap >= self.strictness else Grade.WRONG
        card.grades = (card.grades + [grade])[-4:]
        if grade is Grade.GOOD:
            card.box = min(4, card.box + 1)
            self.streak += 1
        elif grade is Grade.WRONG:
            card.box = 0
            self.streak = 0
        card.due = date.fromisoformat(today) + timedelta(days=[1, 2, 4, 9, 15][card.box])
        if self.streak and self.streak % 5 == 0:
            self.calendar.append((today, self.streak))
        return grade.value


TUTORS = {"kari": 0.5, "ola": 0.75}


def build(spec):
    if spec.agent_id is None:
        return {name: Tutor(name, s) for name, s in TUTORS.items()}
    return Tutor(spec.agent_id, TUTORS[spec.agent_id])


def pupil_answer(rng, word, level):
    right = VOCAB[word]
    if rng.random() < 0.45 + 0.1 * level:
        return right
    letters = list(right)
    for _ in range(rng.randint(1, 3)):
        letters[rng.randrange(len(letters))] = "x"
    return "".join(letters)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    rng = random.Random(47)
    tutors = [Tutor(*row) for row in TUTORS.items()]
    for day in range(26):
        today = (date(2023, 1, 2) + timedelta(days=day)).isoformat()
        with tick(day):
            for tutor in tutors:
                for _ in range(2):
                    try:
                        task = tutor.exercise(today)
                    except LookupError as error:
                        print(error)
                        break
                    print(today, tutor.agent_id, task["word"], task["hint"], tutor.grade(task["word"], pupil_answer(rng, task["word"], task["level"]), today))
    for tutor in tutors:
        print(tutor.agent_id, {w: c.box for w, c in tutor.cards.items()}, tutor.calendar)


if __name__ == "__main__":
    main()
