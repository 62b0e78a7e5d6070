"""Calls to agents that are not driven are answered from the record: results, failures, and nothing live."""

TEAM = """
class LookupFailed(Exception):
    retry_after = 3

class Coded(Exception):
    def __init__(self, code, where):
        super().__init__(f"code {code} at {where}")
        self.code = code

class Tool:
    def __init__(self, path):
        self.agent_id, self.agent_role = "tool", "tool"
        self.path = path
        self.calls = 0

    @trace_agent_action
    def lookup(self, word, limit=3):
        with open(self.path, "a") as file:
            file.write(word + "\\n")
        self.calls += 1
        if word == "bad":
            raise LookupFailed("no such word", word)
        if word == "coded":
            raise Coded(7, "here")
        return {"word": word, "count": self.calls * limit}

class Reader:
    def __init__(self, tool):
        self.agent_id, self.agent_role = "a", "reader"
        self.logger = AgentLogger("a", "reader")
        self.tool = tool
        self.found = []

    @trace_agent_action
    def read(self, words):
        for word in words:
            try:
                self.found.append(self.tool.lookup(word, limit=2)["count"])
            except LookupFailed as error:
                self.logger.exception("no luck")
                self.found.append(error.retry_after)
        return list(self.found)

    @trace_agent_action
    def risk(self, word):
        return self.tool.lookup(word)

    @trace_agent_action
    def decode(self):
        try:
            self.tool.lookup("coded")
        except Coded as error:
            return str(error)

LIVE = __file__ + ".live"

def with_stand_in(spec):
    return Reader(spec.peer("tool"))

def with_real_tool(spec):
    return Reader(Tool(LIVE))

def main():
    agent = Reader(Tool(__file__ + ".recorded"))
    agent.read(["one", "bad", "two"])
    try:
        agent.risk("bad")
    except LookupFailed:
        pass
    agent.decode()
"""


def test_a_stand_in_answers_from_the_record(toy):
    report = toy.record(TEAM).replay(factory="with_stand_in")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.answered == {"tool": 5}


def test_a_real_peer_is_answered_too_and_never_runs(toy):
    report = toy.record(TEAM).replay(factory="with_real_tool")
    assert report.verdict == "IDENTICAL", str(report)
    assert (toy.directory / f"{toy.name}.py.recorded").exists()
    assert not (toy.directory / f"{toy.name}.py.live").exists()


def test_other_arguments_of_a_nested_call_diverge(toy):
    report = toy.record(TEAM).change("limit=2", "limit=4").replay(factory="with_stand_in")
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", 1, "args")
    assert (report.divergence.path, report.divergence.recorded, report.divergence.replayed) == (
        "/limit",
        2,
        4,
    )


def test_a_nested_call_that_is_not_made_diverges(toy):
    report = (
        toy.record(TEAM)
        .change("for word in words:", "for word in words[:2]:")
        .replay(factory="with_real_tool")
    )
    assert report.verdict == "DIVERGED"
    assert report.divergence.step == 1


def test_a_nested_call_that_the_record_does_not_hold_diverges(toy):
    toy.record(TEAM).change("return list(self.found)", 'self.tool.lookup("more"); return list(self.found)')
    report = toy.replay(factory="with_real_tool")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "calls")
    assert report.divergence.recorded == "<no further call>"
    assert report.divergence.replayed == "lookup of tool"
    assert not (toy.directory / f"{toy.name}.py.live").exists()


def test_a_swallowed_refusal_still_ends_the_replay(toy):
    toy.record(TEAM).change("except LookupFailed as error:", "except BaseException as error:")
    toy.change("limit=2", "limit=4")
    report = toy.replay(factory="with_real_tool")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "args")


def test_anything_else_asked_of_a_stand_in_is_unverified_by_name(toy):
    report = (
        toy.record(TEAM)
        .change("return list(self.found)", "return self.tool.calls")
        .replay(factory="with_stand_in")
    )
    assert report.verdict == "UNVERIFIED"
    assert "'calls' of tool was accessed" in report.reasons[0]


def test_a_stand_in_for_a_stranger_is_a_clear_reason(toy):
    report = (
        toy.record(TEAM).change('spec.peer("tool")', 'spec.peer("nobody")').replay(factory="with_stand_in")
    )
    assert report.verdict == "UNVERIFIED"
    assert "the run has no agent 'nobody'" in report.reasons[0]


def test_an_answer_without_a_codec_stops_the_replay(toy):
    toy.record("""
class Handle:
    def __init__(self, lock):
        self.lock = lock

class Tool:
    agent_id, agent_role = "tool", "tool"

    @trace_agent_action
    def open(self):
        return Handle(object())

class User:
    def __init__(self, tool):
        self.agent_id, self.agent_role = "a", "user"
        self.tool = tool

    @trace_agent_action
    def use(self):
        self.tool.open()
        return 1

def build(spec):
    return User(spec.peer("tool"))

def main():
    User(Tool()).use()
    """)
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert "open of tool" in report.reasons[0]
    assert "opaque" in report.reasons[0]


ASYNC_TEAM = """
import asyncio

class Model:
    def __init__(self):
        self.agent_id, self.agent_role = "model", "model"
        self.asked = 0

    @trace_agent_action
    async def ask(self, prompt):
        self.asked += 1
        number = self.asked
        await asyncio.sleep(0.02 * (4 - number % 4))
        return f"{prompt} {number}"

class Asker:
    def __init__(self, model):
        self.agent_id, self.agent_role = "a", "asker"
        self.model = model
        self.answers = []

    @trace_agent_action
    async def ask_all(self, prompts):
        self.answers = await asyncio.gather(*(self.model.ask(prompt) for prompt in prompts))
        return len(self.answers)

def build(spec):
    return Asker(spec.peer("model"))

def real(spec):
    return Asker(Model())

def main():
    asyncio.run(Asker(Model()).ask_all(["x", "y", "x"]))
"""


def test_concurrent_calls_are_answered_whoever_ended_first(toy):
    toy.record(ASYNC_TEAM)
    assert toy.replay().verdict == "IDENTICAL"
    assert toy.replay(factory="real").verdict == "IDENTICAL"


def test_calls_in_another_order_diverge(toy):
    toy.record("""
class Tool:
    agent_id, agent_role = "tool", "tool"

    @trace_agent_action
    def ask(self, word):
        return 1

class User:
    def __init__(self, tool):
        self.agent_id, self.agent_role = "a", "user"
        self.tool = tool

    @trace_agent_action
    def use(self):
        for word in ["one", "two"]:
            self.tool.ask(word)
        return 2

def build(spec):
    return User(spec.peer("tool"))

def main():
    User(Tool()).use()
    """)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change('["one", "two"]', '["two", "one"]').replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "calls")
    assert report.divergence.place == "order"


CALLED_BACK = """
class Broker:
    def __init__(self):
        self.agent_id, self.agent_role = "broker", "broker"

    @trace_agent_action
    def trade(self, client, amount):
        return amount + client.confirm(amount * 2)

class Client:
    def __init__(self, broker):
        self.agent_id, self.agent_role = "a", "client"
        self.broker = broker
        self.confirmed = []

    @trace_agent_action
    def buy(self, amount):
        return self.broker.trade(self, amount)

    @trace_agent_action
    def confirm(self, amount):
        self.confirmed.append(amount)
        return 1

def build(spec):
    return Client(spec.peer("broker"))

def main():
    agent = Client(Broker())
    agent.buy(3)
    agent.buy(4)
"""


def test_a_call_back_into_the_driven_agent_happens_where_it_happened(toy):
    report = toy.record(CALLED_BACK).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.callbacks == 2
    report = toy.change("self.confirmed.append(amount)", "self.confirmed.append(-amount)").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.confirmed")


def test_messages_that_are_handed_on_are_the_same_messages(toy):
    toy.record("""
class Inbox:
    agent_id, agent_role = "inbox", "inbox"

    @trace_agent_action
    def put(self, message):
        return None

class Writer:
    def __init__(self, inbox):
        self.agent_id, self.agent_role = "a", "writer"
        self.logger = AgentLogger("a", "writer")
        self.inbox = inbox

    @trace_agent_action
    def write(self, text):
        self.inbox.put(self.logger.send("b", {"text": text}))
        return len(text)

def build(spec):
    return Writer(spec.peer("inbox"))

def main():
    Writer(Inbox()).write("hello")
    """)
    report = toy.replay()
    assert report.verdict == "EQUIVALENT", str(report)
    report = toy.change('{"text": text}', '{"text": text.upper()}').replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "args")
