"""A translation team turns manuals into German: memory, translators, proofreaders, and an assembler."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import instrument
from benchmarks.fault_simulations.kit import Event, Fault, pick

DOCUMENTS, SEGMENTS = 14, 26
GLOSSARY = {
    "valve": "Ventil", "pump": "Pumpe", "gasket": "Dichtung", "shaft": "Welle", "filter": "Filter", "lever": "Hebel",
}  # fmt: skip
RENAMED = {
    2: ("lever", "Handhebel"),
    5: ("valve", "Absperrventil"),
    8: ("filter", "Filtereinsatz"),
    11: ("lever", "Hebel"),
}
VERBS = {
    "tighten": "anziehen",
    "check": "pruefen",
    "clean": "reinigen",
    "replace": "ersetzen",
    "open": "oeffnen",
}
PAIRS = [f"{verb} {part}" for verb in VERBS for part in GLOSSARY]
FORMS = ("bar", "Nm", "mm")


class Terminologist:
    """Keeps the glossary."""

    def __init__(self, name: str) -> None:
        """Begin with the customer's glossary."""
        self.name = name
        self.terms = dict(GLOSSARY)

    def settle_term(self, source: str, target: str, asked_by: str) -> str:
        """Decide how a term is translated from now on."""
        self.terms[source] = target
        return target

    def give_term(self, source: str) -> str:
        """Return the translation of a term."""
        return self.terms[source]


class Memory:
    """The translation memory: sentences translated before, found by their likeness."""

    def __init__(self, name: str) -> None:
        """Begin empty."""
        self.name = name
        self.limit = 0.9
        self.kept: dict[str, tuple[str, str]] = {}

    def set_limit(self, limit: float) -> float:
        """Set the likeness from which a sentence is used again."""
        self.limit = limit
        return limit

    def find(self, sentence: str) -> dict[str, Any]:
        """Return the best sentence known and its translation."""
        key = " ".join(sentence.split()[:2])
        if key not in self.kept:
            return {"likeness": 0.0, "reuse": False}
        known, target = self.kept[key]
        likeness = 1.0 if known == sentence else 0.86
        return {"likeness": likeness, "reuse": likeness >= self.limit, "target": target}

    def keep(self, sentence: str, target: str) -> int:
        """Keep a finished sentence."""
        self.kept[" ".join(sentence.split()[:2])] = (sentence, target)
        return len(self.kept)


class Translator:
    """Translates segments."""

    def __init__(self, name: str, care: float) -> None:
        """Begin with a share of sentences that are right at once."""
        self.name, self.care = name, care
        self.finished = 0

    def translate(self, document: str, segment: int, sentence: str, draft: str) -> str:
        """Return the translation of a segment."""
        self.finished += 1
        return draft

    def reuse(self, document: str, segment: int, sentence: str, known: str) -> str:
        """Take a translation from the memory."""
        self.finished += 1
        return known


class Proofreader:
    """Reads translations and corrects them."""

    def __init__(self, name: str) -> None:
        """Begin with nothing read."""
        self.name = name
        self.corrections = 0

    def read(self, document: str, segment: int, target: str, marks: list[str]) -> str:
        """Return the text to print, with the marked words put right."""
        self.corrections += len(marks)
        return target.replace(" bie ", " bei ") if marks else target


class Assembler:
    """Puts segments together."""

    def __init__(self, name: str) -> None:
        """Begin without documents."""
        self.name = name
        self.arrived: dict[str, list[int]] = {}

    def take(self, document: str, segment: int, text: str) -> int:
        """Take a finished segment."""
        self.arrived.setdefault(document, []).append(segment)
        return len(self.arrived[document])

    def typeset(self, document: str, order: list[int], pages: int) -> str:
        """Make the document."""
        return f"{document}.pdf"

    def change_font(self, font: str) -> str:
        """Use another font."""
        return font


class Manager:
    """Gives work to translators and documents to clients."""

    def __init__(self, name: str) -> None:
        """Begin with the team's usual partition."""
        self.name = name

    def assign(self, document: str, segment: int, translator: str, proofreader: str) -> str:
        """Give a segment to a translator and a proofreader."""
        return f"{document}/{segment}"

    def deliver(self, document: str, client: str) -> str:
        """Send a document."""
        return f"sent to {client}"


class Client:
    """Uses documents."""

    def __init__(self, name: str) -> None:
        """Begin with nothing read."""
        self.name = name

    def look_into(self, document: str, page: int, sentence: str) -> str:
        """Read a sentence of a document."""
        return sentence


for _class, _methods in (
    (Terminologist, ["settle_term", "give_term"]),
    (Memory, ["set_limit", "find", "keep"]),
    (Translator, ["translate", "reuse"]),
    (Proofreader, ["read"]),
    (Assembler, ["take", "typeset", "change_font"]),
    (Manager, ["assign", "deliver"]),
    (Client, ["look_into"]),
):
    instrument(_class, methods=_methods, agent_id="name")


class _Team:
    def __init__(self, seed: int, fault: str) -> None:
        self.fault = fault
        self.rng = random.Random(f"team {seed}")
        self.terms, self.memory = Terminologist("terms"), Memory("memory")
        names = ("anke", "bernd", "clara", "dogan", "elif", "frank")
        self.translators = [Translator(name, self.rng.uniform(0.72, 0.86)) for name in names]
        self.readers = [Proofreader(name) for name in ("greta", "henk", "irma")]
        self.assembler, self.manager = Assembler("assembly"), Manager("desk")
        self.clients = [Client(name) for name in ("client_hydra", "client_nord", "client_plant")]
        self.printed: dict[int, list[str]] = {}
        self.wrong: dict[int, int] = {}

    def sentence(self, document: int, segment: int) -> str:
        pair = PAIRS[(document * 11 + segment) % len(PAIRS)]
        value = 5 + (document + segment) % 4 if self.rng.random() < 0.5 else 6
        return f"{pair} at {value} {FORMS[segment % 3]}"

    def target(self, sentence: str) -> str:
        verb, part, _, value, unit = sentence.split()
        return f"{self.terms.give_term(part)} bei {value} {unit} {VERBS[verb]}"

    def settle(self, document: int) -> None:
        if document in RENAMED:
            source, target = RENAMED[document]
            if self.fault == "wrong_term" and document == 5:
                target = "Klappe"
            self.terms.settle_term(source, target, self.clients[document % 3].name)
        if document in {1, 4, 9, 12}:
            limit = {1: 0.92, 4: 0.9, 9: 0.88, 12: 0.9}[document]
            self.memory.set_limit(0.84 if self.fault == "loose_memory" and document == 9 else limit)
        if document == 10:
            self.assembler.change_font("Source Sans")

    def work_on(self, document: int, segment: int) -> str:
        name = f"manual_{document:02d}"
        writer = self.translators[self.rng.choice((segment, segment + 1)) % 6]
        reader = self.readers[segment % 3]
        self.manager.assign(name, segment, writer.name, reader.name)
        sentence = self.sentence(document, segment)
        hit = self.memory.find(sentence)
        right = self.target(sentence)
        slip = self.rng.random() > writer.care
        if hit["reuse"]:
            text = right = writer.reuse(name, segment, sentence, hit["target"])
        else:
            text = writer.translate(
                name, segment, sentence, right.replace(" bei ", " bie ") if slip else right
            )
        idle = self.fault == "reads_nothing" and reader.name == "henk" and document >= 6
        final = reader.read(name, segment, text, ["bie"] if text != right and not idle else [])
        self.memory.keep(sentence, final)
        self.check(document, sentence, final)
        return final

    def check(self, document: int, sentence: str, final: str) -> None:
        _, _, _, value, unit = sentence.split()
        if f" bei {value} {unit} " not in final:
            self.wrong[document] = self.wrong.get(document, 0) + 1

    def play(self, document: int) -> None:
        self.settle(document)
        name = f"manual_{document:02d}"
        texts = [self.work_on(document, segment) for segment in range(SEGMENTS)]
        order = list(range(SEGMENTS))
        slow = self.rng.randrange(3, SEGMENTS - 4)
        sent = [one for one in order if one not in {slow, slow + 1}] + [slow, slow + 1]
        for segment in sent:
            self.assembler.take(name, segment, texts[segment])
        if self.fault == "as_it_came" and document == 7:
            order = list(self.assembler.arrived[name])
        self.assembler.typeset(name, order, self.rng.randint(9, 14))
        client = self.clients[document % 3]
        self.manager.deliver(name, client.name)
        self.printed[document] = [texts[one] for one in order]
        for page, text in enumerate(self.printed[document]):
            client.look_into(name, 1 + page // 2, text)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Translate fourteen manuals."""
    team = _Team(seed, fault)
    for document in range(DOCUMENTS):
        team.play(document)
    printed = team.printed
    return {
        "flaps": sum("Klappe" in text for one in range(6, DOCUMENTS) for text in printed[one]),
        "wrong_values": sum(team.wrong.get(one, 0) for one in (9, 10, 11)),
        "last_of_7": printed[7][-1],
        "slips": sum(" bie " in text for one in (12, 13) for text in printed[one]),
    }


def _passed(events: Sequence[Event]) -> list[str]:
    """Return readings of henk that left a slip as it was."""
    return pick(events, "henk", "read", where=lambda e: " bie " in e.args["target"] and not e.args["marks"])


FAULTS = {
    "wrong_term": Fault(
        complaint="From manual_06 on the manuals call our shut-off valves flaps (Klappe), which is a different part. "
        "client_plant ordered the wrong spares because of it.",
        symptom=lambda faulty, healthy: faulty["flaps"] > healthy["flaps"],
        true=lambda events: pick(events, "terms", "settle_term", where=lambda e: e.args["source"] == "valve"),
    ),
    "loose_memory": Fault(
        complaint="Figures in manuals 09 and 10 are wrong: pressures and torques differ from the English text in "
        "several places. anke's part too.",
        symptom=lambda faulty, healthy: faulty["wrong_values"] > healthy["wrong_values"] + 3,
        true=lambda events: pick(events, "memory", "set_limit", where=lambda e: e.args["limit"] == 0.84),
    ),
    "as_it_came": Fault(
        complaint="The steps of manual_07 are not in the order of the original, two of them stand at the very end.",
        symptom=lambda faulty, healthy: faulty["last_of_7"] != healthy["last_of_7"],
        true=lambda events: pick(
            events, "assembly", "typeset", where=lambda e: e.args["document"] == "manual_07"
        ),
    ),
    "reads_nothing": Fault(
        complaint="The last two manuals (12 and 13) are full of typing mistakes, I had thought everything is read by a second person "
        "before we get it.",
        symptom=lambda faulty, healthy: faulty["slips"] > healthy["slips"],
        true=_passed,
    ),
}
