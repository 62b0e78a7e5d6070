"""Objects that make what they stand for when they are asked for their class, as Django's `SimpleLazyObject` does.

Neither recording nor replay may make them: it could query a database, or fail where nothing is bound yet.
"""

import pytest

LAZY = """
import sys

from Agent import AgentLogger, instrument

MADE = []


class Lazy:
    def __init__(self, value):
        self.__dict__["value"] = value

    def _made(self, *_):
        MADE.append(sys._getframe(1).f_code.co_name)
        ANSWER

    __class__ = property(_made)
    __getattr__ = __len__ = __iter__ = __eq__ = __hash__ = __repr__ = _made


NOBODY = Lazy(0)


class Holder:
    def __init__(self):
        self.name, self.one, self.turns = "a", Lazy(0), 0
        self.several = [Lazy(1), {"x": (Lazy(2),)}]

    def turn(self, number):
        self.turns += 1
        self.one = Lazy(number)
        self.several[1]["x"] = (Lazy(number),)
        AgentLogger("b").log_action("saw", {"lazy": Lazy(number)})
        return Lazy(5)


instrument(Holder, methods=["turn"], agent_id="name", agent_role="holder")


def build(spec):
    return Holder()


def main():
    holder = Holder()
    for number in range(4):
        holder.turn(number)
    if MADE:
        raise SystemExit(f"recording made {MADE}")
"""


@pytest.mark.first_case
@pytest.mark.parametrize("answer", ["raise RuntimeError('nothing is bound')", "return dict", "return 42"])
def test_a_lazy_object_is_never_made(toy, answer):
    toy.record(LAZY.replace("ANSWER", answer))
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    toy.change("return Lazy(5)", "return Lazy(5 + (number == 2))")
    divergence = toy.replay().divergence
    assert (divergence.step, divergence.where) == (3, "result.value")
