"""A team of language-model agents that translates a manual into six languages, chapter by chapter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

SEGMENTS = 48
LANGUAGES = ("de", "fr", "es", "pl", "it", "nl")
TERMS = {
    "breaker": ("Schutzschalter", "disjoncteur", "disyuntor", "wyłącznik", "interruttore", "zekering"),
    "gasket": ("Dichtung", "joint", "junta", "uszczelka", "guarnizione", "pakking"),
    "bearing": ("Lager", "palier", "cojinete", "łożysko", "cuscinetto", "lager"),
    "valve": ("Ventil", "soupape", "válvula", "zawór", "valvola", "klep"),
    "hopper": ("Trichter", "trémie", "tolva", "lej", "tramoggia", "trechter"),
    "shaft": ("Welle", "arbre", "eje", "wał", "albero", "as"),
    "spindle": ("Spindel", "broche", "husillo", "wrzeciono", "mandrino", "spil"),
    "drain": ("Ablauf", "vidange", "drenaje", "spust", "scarico", "afvoer"),
}
OTHER_WORDS = {"Schutzschalter": "Unterbrecher", "Trichter": "Bunker", "Ablauf": "Abfluss"}
UPDATES = {15: 7, 20: 12, 27: 18, 34: 29, 44: 38}
"""At which step the source of which segment is changed by the author."""
VALUES = {7: "12 Nm", 12: "0.4 bar", 18: "48 V", 29: "80 °C", 38: "3 mm"}
OLD_VALUES = {7: "10 Nm", 12: "0.6 bar", 18: "24 V", 29: "75 °C", 38: "5 mm"}


def term_of(segment: int) -> str:
    """Return the term that a segment is about."""
    names = list(TERMS)
    return {22: "breaker", 39: "breaker", 44: "breaker"}.get(segment, names[1 + segment * 5 % 7])


class Desk:
    """What the team shares: texts, open messages, the glossary of each translator."""

    def __init__(self, seed: int, fault: str) -> None:
        """Open the desk."""
        self.fault = fault
        self.rng = random.Random(f"desk{seed}")
        self.logs: dict[str, AgentLogger] = {}
        self.glossary: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
        self.texts: dict[tuple[str, int], dict[str, Any]] = {}
        self.rejected: set[tuple[str, int]] = set()
        self.backlog: list[int] = []
        self.published: dict[str, dict[int, dict[str, Any]]] = {language: {} for language in LANGUAGES}

    def agent(self, name: str, role: str) -> AgentLogger:
        """Return the logger of an agent."""
        return self.logs.setdefault(name, AgentLogger(name, role))

    def translator(self, language: str, segment: int) -> AgentLogger:
        """Return the translator on duty."""
        name = f"tr_{language}_night" if language == "pl" and segment > 21 else f"tr_{language}"
        return self.agent(name, "translator")


async def look_up(desk: Desk, language: str, term: str, translator: AgentLogger) -> str:
    """Return the word for a term, from the translator's list or from the term keeper."""
    known = desk.glossary[language].get(term)
    if known is not None:
        translator.log_action("recall_term", {"term": term, "word": known})
        return known
    keeper = desk.agent("termkeeper", "terminologist")
    asked = translator.send("termkeeper", {"term": term, "language": language})
    await asyncio.sleep(0)
    keeper.receive(asked)
    word = TERMS[term][LANGUAGES.index(language)]
    if desk.fault == "guessed_word" and (language, term) == ("de", "breaker"):
        word = OTHER_WORDS[word]
    keeper.log_action(
        "answer_term", {"term": term, "language": language, "word": word, "found_in": "termbank"}
    )
    answered = keeper.send(str(translator.agent_id), {"term": term, "word": word})
    translator.receive(answered)
    desk.glossary[language][term] = word
    return word


async def translate(desk: Desk, language: str, segment: int, translator: AgentLogger) -> None:
    """Translate one segment and have it reviewed."""
    rng = desk.rng
    word = await look_up(desk, language, term_of(segment), translator)
    if rng.random() < 0.04:
        translator.warning(
            "model overloaded, second try", {"segment": f"s{segment:02}", "wait_s": rng.randint(1, 9)}
        )
    slip = rng.random() < 0.12 or (language, segment) == ("es", 35)
    draft = {
        "segment": f"s{segment:02}",
        "word": word,
        "value": OLD_VALUES.get(segment, "-"),
        "words": rng.randint(40, 90),
    }
    written = translator.log_action("translate", {**draft, "tone": "stiff" if slip else "plain"})
    desk.texts[language, segment] = {"word": word, "value": draft["value"], "slip": slip}
    await asyncio.sleep(0)
    reviewer = desk.agent(f"rv_{LANGUAGES.index(language) % 3 + 1}", "reviewer")
    verdict = "reject" if slip else "accept"
    reviewer.log_decision(
        "review", {"segment": f"s{segment:02}", "language": language, "verdict": verdict}, causes=written
    )
    note = reviewer.send(
        "coordinator", {"segment": f"s{segment:02}", "language": language, "verdict": verdict}
    )
    if desk.fault == "note_gone" and (language, segment) == ("es", 35):
        return
    desk.agent("coordinator", "coordinator").receive(note)
    if slip:
        desk.rejected.add((language, segment))


async def revise(desk: Desk, step: int) -> None:
    """Let translators rewrite what was rejected."""
    for language, segment in sorted(desk.rejected):
        translator = desk.translator(language, step)
        order = desk.agent("coordinator", "coordinator").send(
            str(translator.agent_id), {"segment": f"s{segment:02}", "do": "revise"}
        )
        translator.receive(order)
        translator.log_action("revise", {"segment": f"s{segment:02}", "tone": "plain"})
        desk.texts[language, segment]["slip"] = False
        await asyncio.sleep(0)
    desk.rejected.clear()


def update(desk: Desk, step: int) -> None:
    """Merge an author's change into all translations."""
    segment = UPDATES[step]
    author = desk.agent("author", "author")
    author.log_action("change_source", {"segment": f"s{segment:02}", "value": VALUES[segment], "revision": 2})
    merger = desk.agent("merger", "merger")
    for language in LANGUAGES:
        keep = desk.fault == "kept_ours" and (language, segment) == ("fr", 18)
        value = OLD_VALUES[segment] if keep else VALUES[segment]
        merger.log_action("merge_update", {"segment": f"s{segment:02}", "language": language, "value": value})
        if (language, segment) in desk.texts:
            desk.texts[language, segment]["value"] = value


def build(desk: Desk, chapter: int, first: int, last: int) -> None:
    """Build a chapter in all languages."""
    builder = desk.agent("builder", "builder")
    for language in LANGUAGES:
        pages = {}
        for segment in range(first, last + 1):
            text = desk.texts.get((language, segment), {"word": "English", "value": "-", "slip": False})
            pages[f"s{segment:02}"] = f"{text['word']} {text['value']}"
            desk.published[language][segment] = dict(text)
        builder.log_action("build_chapter", {"chapter": chapter, "language": language, "pages": pages})
        customer = desk.agent(f"reader_{language}", "reader")
        customer.log_action("read_chapter", {"chapter": chapter, "seconds": desk.rng.randint(200, 900)})


async def manual(desk: Desk) -> None:
    """Translate all segments, in order."""
    coordinator = desk.agent("coordinator", "coordinator")
    for step in range(1, SEGMENTS + 1):
        if step in UPDATES:
            update(desk, step)
        if step == 22:
            hand_over(desk)
        jobs = []
        for language in LANGUAGES:
            translator = desk.translator(language, step)
            sent = coordinator.send(str(translator.agent_id), {"segment": f"s{step:02}", "do": "translate"})
            translator.receive(sent)
            if language == "pl" and step in (20, 21):  # the Polish one is behind at the end of the shift
                desk.backlog.append(step)
                continue
            jobs.append(translate(desk, language, step, translator))
        await asyncio.gather(*jobs)
        if step in (22, 23) and desk.backlog:
            await translate(desk, "pl", desk.backlog.pop(0), desk.agent("tr_pl_night", "translator"))
        if step % 4 == 0:
            await revise(desk, step)
        if step == 41:
            coordinator.log_action("ask_price", {"printer": "Moser & Sons", "copies": 400})
        if step % 12 == 0:
            await revise(desk, step)
            for chapter in range(1, step // 12 + 1):
                if chapter == step // 12 or any(
                    (n - 1) // 12 + 1 == chapter and step - 12 < at <= step for at, n in UPDATES.items()
                ):
                    build(desk, chapter, chapter * 12 - 11, chapter * 12)


def hand_over(desk: Desk) -> None:
    """Let the Polish translator of the night take over what is open."""
    leaving, coming = desk.agent("tr_pl", "translator"), desk.agent("tr_pl_night", "translator")
    if desk.fault == "short_list":
        desk.backlog.remove(20)
    sent = leaving.send("tr_pl_night", {"open": [f"s{n:02}" for n in desk.backlog], "style": "formal"})
    coming.receive(sent)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Translate the manual once."""
    desk = Desk(seed, fault)
    SystemLogger("manual").log_simulation_start(
        "manual", {"segments": SEGMENTS, "languages": list(LANGUAGES)}
    )
    asyncio.run(manual(desk))
    SystemLogger("manual").log_simulation_end("manual", {"chapters": 4})
    wrong = [
        f"{language} s{segment:02}"
        for language, texts in desk.published.items()
        for segment, text in texts.items()
        if text["word"] not in {TERMS[term_of(segment)][LANGUAGES.index(language)], "English"}
    ]
    return {
        "wrong_words": wrong,
        "values": {language: texts[18]["value"] for language, texts in desk.published.items()},
        "stiff": [
            f"{a} {n}" for a, texts in desk.published.items() for n, text in texts.items() if text["slip"]
        ],
        "english": [
            f"{a} {n}"
            for a, texts in desk.published.items()
            for n, t in texts.items()
            if t["word"] == "English"
        ],
    }


def _handed(events: Sequence[Event]) -> list[str]:
    return [
        e.id
        for e in events
        if e.kind == "agent_message"
        and e.agent == "tr_pl"
        and "open" in (e.record["extra"].get("body") or {})
    ]


def _note(events: Sequence[Event]) -> list[str]:
    wanted = {"segment": "s35", "language": "es", "verdict": "reject"}
    return [e.id for e in events if e.kind == "agent_message" and e.record["extra"].get("body") == wanted][:1]


FAULTS = {
    "guessed_word": Fault(
        "The electricians around reader_de laugh about the last chapter: the thing on the photo is called by a word that "
        "nobody in the trade uses for it.",
        lambda faulty, healthy: len(faulty["wrong_words"]) > len(healthy["wrong_words"]),
        lambda events: pick(
            events,
            "termkeeper",
            "answer_term",
            where=lambda e: e.args["term"] == "breaker" and e.args["language"] == "de",
        ),
    ),
    "kept_ours": Fault(
        "reader_fr found that the French edition still tells people to connect the old voltage in paragraph 18. All others have it right.",
        lambda faulty, healthy: faulty["values"] != healthy["values"],
        lambda events: pick(
            events,
            "merger",
            "merge_update",
            where=lambda e: e.args["segment"] == "s18" and e.args["language"] == "fr",
        ),
    ),
    "note_gone": Fault(
        "One paragraph in the third Spanish chapter reads like a robot wrote it. I thought rv_3 looks at every page "
        "before it goes out?",
        lambda faulty, healthy: len(faulty["stiff"]) > len(healthy["stiff"]),
        _note,
    ),
    "short_list": Fault(
        "reader_pl: there is a whole paragraph in English in the middle of the Polish manual.",
        lambda faulty, healthy: len(faulty["english"]) > len(healthy["english"]),
        _handed,
    ),
}
