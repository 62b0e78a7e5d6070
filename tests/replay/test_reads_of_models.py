"""What a model reads of clock and chance while it works is no action's: a replay answers the model."""

STREAMED = """
import random, time, uuid
from Agent.flight import record_model_stream, recorded_sources

def pieces(prompt):
    for number in range(3):
        yield f"{prompt} {number} {time.time() > 0} {random.random() < 2} {len(uuid.uuid4().hex)}"

class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self): self.said = []
    @trace_agent_action
    def ask(self, prompt):
        before = time.time()
        stream = record_model_stream(lambda: pieces(prompt), model_name="m", prompt=prompt)
        self.said += [(piece, time.time() - before >= 0) for piece in stream]
        return [before, random.random()]

def build(spec): return Agent()
def main():
    agent = Agent()
    with recorded_sources():
        for prompt in ("one", "two"):
            agent.ask(prompt)
"""


def test_what_a_model_reads_while_it_works_is_no_read_of_the_action(toy):
    toy.record(STREAMED)
    (log,) = toy.root.glob("session_*/agents/a*.log")
    assert "uuid.uuid4" not in log.read_text()
    assert '"time.time"' in log.read_text()
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(
        "return [before, random.random()]", "return [before, random.random(), uuid.uuid4()]"
    ).replay()
    assert report.verdict != "IDENTICAL"
