"""Agents that act while the model is constructed: their changed code is the difference, not what it built."""

MODEL = """
from Agent import instrument

class Walker:
    def __init__(self, number):
        self.agent_id, self.agent_role, self.number, self.mood = f"w{number}", "walker", number, 0

    @trace_agent_action
    def wake(self, hour):
        self.mood = self.number * 2 if hour > 5 else 0
        return self.mood

class Model:
    def __init__(self, hour, spare):
        self.walkers = [Walker(number + spare) for number in range(3)]
        self.moods = Moods(walker.wake(hour) for walker in self.walkers)

    def step(self):
        return sum(self.moods.held)

class Moods:
    def __init__(self, held):
        self.held, self.rest = list(held), iter([1])

instrument(Model, methods=["step"], agent_id=lambda model: "model")

def build(spec):
    init = spec.of("model").init
    return {"model": Model(*init.args, **init.kwargs), **{a: None for a in spec.agent_ids if a != "model"}}

def main():
    Model(6, 0).step()
"""


def test_what_changed_code_did_while_the_factory_ran_is_the_first_difference(toy):
    toy.record(MODEL)
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    toy.write(MODEL.replace("number * 2", "number * 3"))
    report = toy.replay("last")
    assert report.verdict == "DIVERGED", str(report)
    found = report.divergence
    assert (found.step, found.agent_id, found.action, found.field) == (0, "w1", "wake", "result")
    assert (found.recorded, found.replayed) == (2, 3)
    assert "changed since the recording: w1.wake" in str(report)


def test_another_argument_of_the_factory_proves_nothing_of_the_code(toy):
    toy.record(MODEL)
    for other in ("Model(7, 0)", "Model(6, 5)", "Model(3, 0)"):
        toy.write(
            MODEL.replace("Model(*init.args, **init.kwargs)", other).replace("number * 2", "number * 3")
        )
        assert toy.replay("last").verdict == "UNVERIFIED", other


def test_what_cannot_be_restored_and_was_made_otherwise_is_a_difference_if_that_is_asked_for(toy):
    program = MODEL.replace("Model(6, 0).step()", "Model(3, 0).step()")
    toy.record(program)
    toy.write(program.replace("list(held)", "[*held, 1]"))
    report = toy.replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "--strict-factory makes that the difference" in report.reasons[0]
    report = toy.replay("last", strict_factory=True)
    assert report.verdict == "DIVERGED", str(report)
    assert (report.divergence.agent_id, report.divergence.field) == ("model", "state.moods")
