"""What a sentence names is found without a model."""

from __future__ import annotations

import pytest

from Agent.analysis.debug.question import read_question, stem

AGENTS = {f"creator_{n:03d}": "creator" for n in range(12)} | {"trend_tool": "tool", "creator_1": "creator"}
SERIES = [
    "action:create_content",
    "action:rest",
    "content_generation",
    "reward",
    "action:fetchTrends",
    "interaction:like",
]


@pytest.mark.parametrize(
    ("text", "agents"),
    [
        ("Agent creator_001 not generating content", ("creator_001",)),
        ("CREATOR_001 is slow.", ("creator_001",)),
        ("creator_1 is slow", ("creator_1",)),
        ("(creator_010) and trend_tool", ("creator_010", "trend_tool")),
        ("creator 7 is stuck", ("creator_007",)),
        ("creater_004 is stuck", ("creator_004",)),
        ("creator_999 is stuck", ()),
        ("creators are stuck", ()),
    ],
)
def test_agents_are_found_exactly_and_nearly(text: str, agents: tuple[str, ...]) -> None:
    assert set(read_question(text, AGENTS, SERIES).agents) == set(agents)


def test_a_guess_is_marked_as_one() -> None:
    assert read_question("creater_004 is stuck", AGENTS, SERIES).guessed == {"creator_004": "creater_004"}
    assert read_question("creator_004 is stuck", AGENTS, SERIES).guessed == {}


def test_a_role_is_found_where_no_agent_is_named() -> None:
    assert read_question("the creators fail", AGENTS, SERIES).roles == ("creator",)


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("not generating content", {"action:create_content", "content_generation"}),
        ("it never publishes content", {"action:create_content", "content_generation"}),
        ("rewards collapsed", {"reward"}),
        ("cannot fetch trends", {"action:fetchTrends"}),
        ("nobody likes it", {"interaction:like"}),
        ("the weather is bad", set()),
    ],
)
def test_words_name_what_agents_do_by_stem_and_synonym(text: str, series: set[str]) -> None:
    assert set(read_question(text, AGENTS, SERIES).series) == series


@pytest.mark.parametrize(
    ("text", "topic"),
    [("it fails", "error"), ("stuck in a loop", "loop"), ("reward is low", "reward"), ("too slow", "slow"),
     ("it stopped", "absence"), ("doesn't answer", "absence"), ("exploring too much", "exploration")],
)  # fmt: skip
def test_topics_are_found_by_their_words(text: str, topic: str) -> None:
    assert topic in read_question(text, AGENTS, SERIES).topics


def test_ticks_and_event_ids_are_read() -> None:
    question = read_question("at tick 41 event aaaabbbb-1234 broke", AGENTS, SERIES)
    assert (question.ticks, question.event_ids) == ((41,), ("aaaabbbb-1234",))


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "generating", "generation", "generated"),
        ("stop", "stopped", "stopping"),
        ("fail", "fails"),
    ],
)
def test_forms_of_a_word_have_one_stem(words: tuple[str, ...]) -> None:
    assert len({stem(word) for word in words}) == 1


NUMBERED = {str(n): "Household" for n in range(2, 32)} | {"1": "Utility", "grid": "Grid"}


@pytest.mark.parametrize(
    ("text", "agents"),
    [
        ("household 7 freezes", {"7"}),
        ("Household #7 and household-12 freeze", {"7", "12"}),
        ("households 3, 4 and 7 freeze", {"3", "4", "7"}),
        ("agent 7 freezes since tick 20", {"7"}),
        ("why does 7 freeze?", {"7"}),
        ("#7 is cold", {"7"}),
        ("households freeze from step 30 on", set()),
        ("30 households freeze", set()),
        ("nobody heats after 12 hours", set()),
        ("prices rose by 25 percent, or 25%", set()),
        ("at 12:30 all stop, between 10 and 20 of them", set()),
        ("doc_12 is lost", set()),
    ],
)
def test_a_number_names_an_agent_only_where_it_is_no_time_and_no_amount(text: str, agents: set[str]) -> None:
    assert set(read_question(text, NUMBERED, ["action:heat"]).agents) == agents
