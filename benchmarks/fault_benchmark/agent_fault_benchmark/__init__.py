"""Sessions of agents with one planted fault each, complaints about them, and a scorer of what a tool blames. Names only."""

from .files import (
    Answer,
    Case,
    Cause,
    FormatError,
    Truth,
    read_answers,
    read_cases,
    read_truth,
    write_answers,
)
from .scoring import Group, Scores, place_of, score

__all__ = [
    "Answer",
    "Case",
    "Cause",
    "FormatError",
    "Group",
    "place_of",
    "read_answers",
    "read_cases",
    "read_truth",
    "score",
    "Scores",
    "Truth",
    "write_answers",
]
