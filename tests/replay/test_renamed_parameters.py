"""A parameter that only has another name is no difference; another value of it is one."""

import pytest

PROGRAM = """
class Pump:
    def __init__(self):
        self.agent_id, self.out = "a", []

    @trace_agent_action
    def pump(self, rows, *extra, scale=1, **more):
        rows.append(scale)
        self.out.append((*rows, *extra, len(more)))
        return rows

def build(spec):
    return Pump()

def main():
    pump = Pump()
    for number in range(3):
        pump.pump([number], (number, 2), scale=number, option=1)
"""
BEFORE = """rows, *extra, scale=1, **more):
        rows.append(scale)
        self.out.append((*rows, *extra, len(more)))
        return rows"""
AFTER = """lines, *rest, scale=1, **options):
        lines.append(scale)
        self.out.append((*lines, *rest, len(options)))
        return lines"""


@pytest.mark.parametrize("program", [False, True])
def test_it_is_called_with_the_recorded_values_and_equal(toy, program):
    toy.record(PROGRAM)
    toy.change(BEFORE, AFTER)
    report = toy.replay("last", program=program)
    assert report.verdict == "IDENTICAL", str(report)


def test_its_value_still_counts(toy):
    toy.record(PROGRAM)
    toy.change(BEFORE, AFTER.replace("lines.append(scale)", "lines.append(scale + 1)"))
    report = toy.replay("last", program=False)
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


def test_arguments_in_another_order_under_new_names_are_different(toy):
    source = PROGRAM.replace("rows, *extra, scale=1, **more", "first, second").replace(
        "rows.append(scale)", "pass"
    )
    source = source.replace("(*rows, *extra, len(more))", "first - second").replace(
        "return rows", "return None"
    )
    source = source.replace(
        "pump.pump([number], (number, 2), scale=number, option=1)", "pump.pump(number, 7)"
    )
    toy.record(source)
    toy.change(
        "first, second):\n        pass\n        self.out.append(first - second)",
        "high, low):\n        pass\n        self.out.append(low - high)",
    )
    assert toy.replay("last", program=False).verdict == "DIVERGED"
