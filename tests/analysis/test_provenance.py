"""Where a value comes from: through tools, messages, nested calls and arguments, to an input from outside."""

import random

import pytest

from Agent import setup_logging, shutdown_logging, tick
from Agent.analysis import LogAnalyzer
from Agent.errors import EventNotFound
from Agent.flight import record_tool
from Agent.utils import AgentLogger, trace_agent_action


@record_tool
def quote(stock):
    return {"price": 4711 + len(stock), "stock": stock}


class Broker:
    def __init__(self):
        self.agent_id, self.agent_role, self.logger = "broker", "broker", AgentLogger("broker", "broker")
        self.last, self.noise = None, 0

    @trace_agent_action
    def ask(self, stock):
        self.noise = random.Random(stock).random()
        self.last = quote(stock)["price"]
        return self.last

    @trace_agent_action
    def offer(self, to):
        return self.logger.send(to, {"bid": {"price": self.last}, "noise": 3})


class Trader:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.logger = name, "trader", AgentLogger(name, "trader")
        self.bids, self.paid, self.double, self.name = [], 0, 0, name

    @trace_agent_action
    def hear(self, message):
        self.logger.receive(message)
        self.bids.append(message.body["bid"]["price"])

    @trace_agent_action
    def pay(self):
        self.paid = self.bids[-1]
        self.double = self.paid * 2
        return self.settle(self.paid)

    @trace_agent_action
    def settle(self, amount):
        return {"settled": amount}


class Bank:
    def __init__(self):
        self.agent_id, self.agent_role, self.ledger = "bank", "bank", {}

    @trace_agent_action
    def book(self, trader):
        self.ledger[trader.name] = trader.pay()["settled"]

    @trace_agent_action
    def deposit(self, amount):
        self.ledger["cash"] = amount


@pytest.fixture
def market(trace_root):
    setup_logging(trace_root=trace_root)
    broker, trader, bank = Broker(), Trader("tina"), Bank()
    for day in range(3):
        with tick(day):
            broker.ask("abc" * (day + 1))
            trader.hear(broker.offer("tina"))
            bank.book(trader)
            bank.deposit(90_000 + day)
    shutdown_logging()
    return LogAnalyzer(root=trace_root)


def hops(found):
    return [(hop["agent_id"], hop["action"]) for hop in found["hops"]]


def test_a_value_is_followed_across_agents_to_the_response_of_a_tool(market):
    found = market.provenance("bank", "ledger.tina", 1)
    assert found["value"] == 4717
    assert hops(found) == [
        ("bank", "book"),  # the entry is the result of
        ("tina", "pay"),  # a nested call, which returned what
        ("tina", "settle"),  # another one made of its argument,
        ("tina", "pay"),  # which its caller took from a field
        ("tina", "hear"),
        ("tina", "receive"),  # that a message set,
        ("broker", "send"),
        ("broker", "offer"),  # sent with a field
        ("broker", "ask"),
        ("broker", "quote"),
    ]
    assert found["end"] == "a recorded response of the tool quote"
    assert {hop["tick"] for hop in found["hops"]} == {1}


def test_the_newest_value_is_the_default(market):
    assert market.provenance("bank", "ledger.tina")["value"] == 4720


def test_an_argument_from_code_that_is_not_traced_is_an_input_from_outside(market):
    found = market.provenance("bank", "ledger.cash")
    assert (hops(found), found["end"]) == ([("bank", "deposit")], "an argument from code that is not traced")
    assert found["hops"][0]["from"] == "args.amount"


class Desk:
    agent_id = "desk"

    def __init__(self):
        self.rate, self.lots = 1.0, 0

    @trace_agent_action
    def refresh(self, day):
        self.rate = 77.0625 + day
        self.lots = 5 + day
        return {"rates": [self.rate], "lots": self.lots, "day": "day " + "x" * day}


class Clerk:
    def __init__(self, name):
        self.agent_id, self.rate, self.lots, self.label = name, 0.0, 0, ""

    @trace_agent_action
    def learn(self, rate, lots, label):
        self.rate, self.lots, self.label = rate, lots, label
        return lots


def learned(trace_root, learn):
    setup_logging(trace_root=trace_root)
    desk, clerk, other = Desk(), Clerk("clerk"), Clerk("other")
    for day in range(3):
        with tick(day):
            learn(desk, clerk, other, desk.refresh(day))
    shutdown_logging()
    return LogAnalyzer(root=trace_root)


def test_a_result_that_a_main_loop_passes_on_is_followed_to_the_action_that_gave_it(trace_root):
    def learn(desk, clerk, other, said):
        clerk.learn(said["rates"][0], said["lots"], said["day"])

    analyzer = learned(trace_root, learn)
    for field, path in [("rate", "result.rates.0"), ("lots", "result.lots"), ("label", "result.day")]:
        found = analyzer.provenance("clerk", field, 1)
        assert hops(found) == [("clerk", "learn"), ("desk", "refresh")], field
        assert (found["hops"][1]["path"], found["hops"][1]["rule"]) == (path, "same value")
        assert found["hops"][1]["tick"] == 1
        assert found["end"] == "computed in this action"


def test_a_field_that_a_main_loop_reads_is_followed_to_the_action_that_set_it(trace_root):
    class Silent(Desk):
        @trace_agent_action
        def refresh(self, day):
            self.rate = 77.0625 + day

    setup_logging(trace_root=trace_root)
    desk, clerk = Silent(), Clerk("clerk")
    desk.refresh(1)
    clerk.learn(desk.rate, 3, "")
    shutdown_logging()
    found = LogAnalyzer(root=trace_root).provenance("clerk", "rate")
    assert hops(found) == [("clerk", "learn"), ("desk", "refresh")]
    assert found["hops"][1]["path"] == "rate"


def test_a_common_value_that_several_actions_gave_is_not_followed_to_one_of_them(trace_root):
    def learn(desk, clerk, other, said):
        other.learn(1.5, said["lots"], "")
        clerk.learn(said["rates"][0], said["lots"], said["day"])

    analyzer = learned(trace_root, learn)
    found = analyzer.provenance("clerk", "lots")
    assert (hops(found), found["end"]) == ([("clerk", "learn")], "an argument from code that is not traced")
    assert hops(analyzer.provenance("clerk", "rate")) == [("clerk", "learn"), ("desk", "refresh")]


class Battery:
    agent_id = "battery"

    def __init__(self):
        self.charge, self.cycles, self.log = 50.0, 10, []

    @trace_agent_action
    def exchange(self, kwh, count, note):
        self.charge += kwh
        self.cycles -= count
        self.log.append(note)


@pytest.mark.parametrize(
    ("field", "value", "path", "argument", "rule"),
    [
        ("charge", 50.0 + 0.1 + 0.2, "args.kwh", 0.2, "changed by"),
        ("cycles", 4, "args.count", 3, "changed by"),
        ("log", ["plus 0.1", "plus 0.2"], "args.note", "plus 0.2", "part of it"),
    ],
)
def test_a_value_and_the_argument_that_changed_it_have_each_its_own_value(
    trace_root, field, value, path, argument, rule
):
    setup_logging(trace_root=trace_root)
    battery = Battery()
    for kwh in (0.1, 0.2):
        battery.exchange(kwh, 3, f"plus {kwh}")
    shutdown_logging()
    found = LogAnalyzer(root=trace_root).provenance("battery", field)
    shown = [(hop["path"], hop["value"], hop["rule"]) for hop in found["hops"]]
    assert shown == [(field, value, "recorded"), (path, argument, rule)]
    assert "from" not in found["hops"][0]
    assert found["end"] == "an argument from code that is not traced"


def test_a_computed_value_ends_the_walk_with_what_was_at_hand(market):
    found = market.provenance("tina", "double", 2)
    assert (hops(found), found["end"]) == ([("tina", "pay")], "computed in this action")
    assert {"path": "paid", "value": 4717} in [
        {k: each[k] for k in ("path", "value")} for each in found["inputs"]
    ]


def test_what_no_input_holds_is_never_said_to_come_from_one(market):
    found = market.provenance("broker", "noise")
    assert found["end"] == "computed in this action"


def test_the_first_state_is_where_the_constructor_left_it(market):
    found = market.provenance("tina", "name")
    assert found["end"].startswith("the first recorded state")


def test_a_field_that_is_not_there_is_an_error(market):
    with pytest.raises(EventNotFound):
        market.provenance("tina", "nothing")


class Full(Exception):
    def __init__(self, retry_after_s):
        super().__init__(f"full, retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Depot:
    def __init__(self):
        self.agent_id, self.agent_role = "depot", "depot"

    @trace_agent_action
    def store(self, parcel):
        raise Full(3607)


class Carrier:
    def __init__(self):
        self.agent_id, self.agent_role, self.waits_s, self.told = "carrier", "carrier", 0, ""

    @trace_agent_action
    def bring(self, depot):
        try:
            depot.store("parcel-1")
        except Full as error:
            self.waits_s, self.told = error.retry_after_s, str(error)


@pytest.mark.parametrize(
    ("field", "path"), [("waits_s", "error_attributes.retry_after_s"), ("told", "error_message")]
)
def test_a_value_is_followed_to_the_exception_that_a_nested_call_raised(trace_root, field, path):
    setup_logging(trace_root=trace_root)
    Carrier().bring(Depot())
    shutdown_logging()
    found = LogAnalyzer(root=trace_root).provenance("carrier", field)
    assert hops(found) == [("carrier", "bring"), ("depot", "store")]
    assert found["hops"][1]["path"] == path
    assert found["end"] == "computed in this action"
