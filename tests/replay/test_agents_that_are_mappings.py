"""A factory that returns an agent which is a mapping itself, empty or not."""

import pytest

MAPPING = """
from Agent import instrument


class Memory(dict):
    def __init__(self):
        super().__init__(START)
        self.name = "a"

    def keep(self, key):
        self[key] = len(self)


instrument(Memory, methods=["keep"], agent_id="name", agent_role="memory")


def build(spec):
    return Memory()


def main():
    memory = Memory()
    for key in ("x", "y", "z"):
        memory.keep(key)
"""


@pytest.mark.first_case
@pytest.mark.parametrize("start", ["", "{'k': 0}"])
def test_an_agent_that_is_a_mapping_is_one_agent(toy, start):
    toy.record(MAPPING.replace("START", start))
    report = toy.replay()
    assert (report.verdict, report.proof["counts"]["covered"]) == ("IDENTICAL", 3), report.reasons
    toy.change("= len(self)", "= len(self) + (key == 'z')")
    divergence = toy.replay().divergence
    assert (divergence.step, divergence.where) == (3, "field self['z']")
