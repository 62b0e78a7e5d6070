"""Entropy that the target's module draws while it is imported is in no recording, and is named by its place."""

import pytest

PROGRAM = """
import random, secrets, time, uuid
import numpy as np
from Agent.flight import recorder
{top}
class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self): {field}
    @trace_agent_action
    def act(self, n): return {result}
def build(spec): return Agent()
def main():
    agent = Agent()
    for n in range(3): agent.act(n)
"""
UNVERIFIED = {
    "values": (
        "U = uuid.uuid4().hex\ndef made(): return secrets.token_hex(2)\nV = made()",
        "pass",
        "len(U + V)",
    ),
    "a generator of numpy": ("R = np.random.default_rng()", "pass", "bool(R.random() < 2)"),
    "a clock in the result": ("T = time.time()", "pass", "T"),
    "a random.Random": ("R = random.Random()", "pass", "R.random() < 2"),
}
IDENTICAL = {
    "not drawn from": ("R, S = np.random.default_rng(), random.Random()", "pass", "n"),
    "an agent's state": (
        "R, S = np.random.default_rng(), random.Random()", "self.r, self.s = R, S",
        "[float(self.r.random()), self.s.random()]",
    ),
    "adopted": ("R = recorder.adopt(np.random.default_rng())", "pass", "float(R.random())"),
    "seeded": (
        "random.seed(3); np.random.seed(3); R = np.random.default_rng(3); S = random.Random(4); U = random.random()",
        "pass", "[U, float(R.random()), S is not None]",
    ),
    "a clock that nobody shows": ("T = time.time()", "pass", "T > 0"),
    "an agent's constructor": ("", "self.u = uuid.uuid4().hex", "len(self.u)"),
}  # fmt: skip


def report_of(toy, case):
    top, field, result = case
    return toy.record(PROGRAM.format(top=top, field=field, result=result)).replay()


@pytest.mark.first_case
@pytest.mark.parametrize("name", UNVERIFIED)
def test_entropy_of_an_import_that_reaches_an_agent_is_unverified_with_its_place(toy, name):
    report = report_of(toy, UNVERIFIED[name])
    assert report.verdict == "UNVERIFIED", str(report)
    at = "R.random() < 2" if name == "a random.Random" else UNVERIFIED[name][0].split("\n")[0]
    (line,) = (number for number, text in enumerate(toy.source.split("\n"), 1) if at in text)
    assert f"({toy.name}.py:{line})" in " ".join(report.reasons), report.reasons


@pytest.mark.first_case
@pytest.mark.further
@pytest.mark.parametrize("name", IDENTICAL)
def test_entropy_of_an_import_that_reaches_no_agent_or_is_recorded_does_no_harm(toy, name):
    report = report_of(toy, IDENTICAL[name])
    assert report.verdict == "IDENTICAL", str(report)
