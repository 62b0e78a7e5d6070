"""Golden traces: a run kept as a test holds all that a replay needs, and is green only if something was proved."""

import json
import shutil
import socket
import stat
import threading
import zipfile

import pytest

from Agent.errors import DamagedInput, ReplayError, RunNotFound, UsageError
from Agent.replay import (
    Normaliser,
    add_golden,
    check_golden,
    find_golden,
    list_goldens,
    remove_golden,
    update_golden,
)
from Agent.replay.golden.trace import golden_places, try_golden

SHOP = """
class Till:
    def __init__(self):
        self.agent_id, self.agent_role = "till", "till"
        self.coins = 0

    @trace_agent_action
    def pay(self, amount):
        self.coins += amount
        return self.coins

class Buyer:
    def __init__(self, till):
        self.agent_id, self.agent_role = "a", "buyer"
        self.till, self.spent = till, 0

    @trace_agent_action
    def buy(self, amount):
        self.spent += amount
        return {"till": self.till.pay(amount), "spent": self.spent}

class Cat:
    def __init__(self):
        self.agent_id, self.agent_role = "cat", "cat"

    @trace_agent_action
    def sleep(self):
        return "meow"

def build(spec):
    return Buyer(spec.peer("till"))

def main():
    buyer, cat = Buyer(Till()), Cat()
    for amount in (1, 2, 3, 4):
        buyer.buy(amount)
        cat.sleep()
"""


@pytest.fixture
def goldens(tmp_path):
    return tmp_path / "tests" / "golden_traces"


def added(toy, goldens, run="last/a", **options):
    options.setdefault("target", f"{toy.name}:build")
    return add_golden(run, root=toy.root, directory=goldens, **options)


@pytest.fixture
def shop(toy, goldens):
    """The shop's buyer as a golden trace, and its session gone."""
    assert added(toy.record(SHOP), goldens, name="buyer").is_kept
    shutil.rmtree(toy.root)
    return toy


def test_a_golden_trace_needs_nothing_but_its_directory(shop, goldens, tmp_path):
    moved = tmp_path / "elsewhere"
    goldens.rename(moved)
    found = check_golden(find_golden("buyer", moved))
    assert (found.passes, found.exit_code, found.report.verdict) == (True, 0, "IDENTICAL"), str(found)
    assert found.report.outcome.counts.driven == 4
    assert found.outcome_text == (moved / "buyer" / "expected.txt").read_text()
    assert found.outcome_text == "does what was recorded\nagents: a\nactions: 4\n"


def test_changed_code_fails_at_its_step_and_field(shop, goldens):
    shop.change("self.spent += amount", "self.spent += amount * (1 + self.spent // 3)")
    found = check_golden(find_golden("buyer", goldens))
    assert (found.passes, found.exit_code) == (False, 1)
    assert found.outcome_text.splitlines()[:4] == [
        "does not do what was recorded: DIVERGED",
        "step 3, buy of a: result/spent",
        "recorded: 6",
        "replayed: 9",
    ]
    assert f"golden trace {goldens / 'buyer'}" in str(found)


def test_a_check_that_passes_names_replayed_methods_that_changed(shop, goldens):
    assert check_golden(find_golden("buyer", goldens)).notes == ()
    shop.change("self.spent += amount", "self.spent = self.spent + amount")
    found = check_golden(find_golden("buyer", goldens))
    assert (found.passes, found.notes) == (True, ("changed since the recording: a.buy",)), str(found)


def test_a_replay_that_proved_nothing_fails_with_its_reasons(shop, goldens):
    shop.change("self.spent += amount", "self.spent += amount + 0 * __import__('random').randint(1, 2)")
    found = check_golden(find_golden("buyer", goldens))
    assert (found.passes, found.exit_code, found.report.verdict) == (False, 4, "UNVERIFIED")
    assert "because random read by Buyer.buy" in found.outcome_text


def test_of_one_agent_only_what_a_replay_needs_is_kept(shop, goldens):
    with zipfile.ZipFile(goldens / "buyer" / "recording.zip") as package:
        names = package.namelist()
    assert "agents/a.log" in names
    assert "agents/till.log" in names
    assert "agents/cat.log" not in names


def test_only_the_owner_can_read_it_and_no_path_of_this_machine_is_in_it(shop, goldens, tmp_path):
    golden = goldens / "buyer"
    assert stat.S_IMODE(golden.stat().st_mode) == 0o700
    for path in golden.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert str(tmp_path) not in (golden / "golden.json").read_text()


@pytest.mark.further
def test_a_run_that_the_code_does_not_do_again_is_not_kept_unless_it_is_to_fail(toy, goldens):
    toy.record(SHOP).change('"spent": self.spent', '"spent": -self.spent')
    refused = added(toy, goldens)
    assert (refused.is_kept, refused.exit_code) == (False, 1)
    assert list(goldens.iterdir()) == []
    kept = added(toy, goldens, failing=True)
    assert kept.is_kept
    assert not check_golden(kept.golden).passes
    toy.change('"spent": -self.spent', '"spent": self.spent')
    found = check_golden(kept.golden)
    assert found.passes
    assert found.outcome_text == kept.golden.expected.read_text()


def test_a_name_is_taken_once(shop, goldens, toy):
    toy.record(SHOP)
    with pytest.raises(UsageError, match="the golden trace 'buyer' already exists"):
        added(toy, goldens, name="buyer")
    assert added(toy, goldens, name="buyer", replace_old=True).is_kept
    assert [golden.name for golden in list_goldens(goldens)] == ["buyer"]
    remove_golden("buyer", goldens)
    assert list_goldens(goldens) == []


def test_a_name_is_no_path(toy, goldens, tmp_path):
    assert added(toy.record(SHOP), goldens, name="../../etc/passwd").is_kept
    (place,) = goldens.iterdir()
    assert place.parent == goldens
    assert find_golden("../../etc/passwd", goldens).directory == place
    with pytest.raises(UsageError, match="needs a name"):
        added(toy, goldens, name=" ")


def test_one_that_is_missing_says_how_it_is_added(shop, goldens):
    with pytest.raises(
        RunNotFound, match=r"did you mean buyer\? To add it: agent-trace golden add RUN --name byer"
    ):
        find_golden("byer", goldens)


def _edited(**members):
    """Return what edits the description of a golden trace by hand."""

    def edit(golden):
        description = golden / "golden.json"
        description.write_text(json.dumps(json.loads(description.read_text()) | members))

    return edit


@pytest.mark.first_case
@pytest.mark.parametrize(
    "damage",
    [
        lambda golden: (golden / "golden.json").write_text("{"),
        lambda golden: (golden / "golden.json").write_text(json.dumps({"format": "something else"})),
        _edited(normalise={"all": True}),
        _edited(name="seller"),
        _edited(version=True),
        _edited(accepts=[5]),
        _edited(ignored=["spent"]),  # for `ignore`
        lambda golden: (golden / "golden.json").unlink(),
        lambda golden: (golden / "recording.zip").write_bytes(b"PK"),
        lambda golden: (golden / "recording.zip").unlink(),
    ],
)
def test_one_that_is_damaged_says_so_and_is_not_green(shop, goldens, damage):
    damage(goldens / "buyer")
    assert golden_places(goldens) == [goldens / "buyer"]
    assert (try_golden(goldens / "buyer").passes, try_golden(goldens / "buyer").exit_code) == (False, 3)
    with pytest.raises(DamagedInput) as caught:
        check_golden(find_golden("buyer", goldens))
    assert str(goldens / "buyer") in str(caught.value)


def test_of_a_record_with_gaps_none_is_made(toy, goldens):
    toy.record(SHOP)
    (log,) = toy.root.glob("session_*/agents/a.log")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-3] + lines[-2:]))
    with pytest.raises(ReplayError, match="complete recording: 1 event is missing from the session"):
        added(toy, goldens)


REDACTED = """
class Vault:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "vault"

    @trace_agent_action
    def open(self, n):
        return {"password": "hunter2" * n, "n": n}

def build(spec):
    return Vault()

def main():
    Vault().open(1)
"""


@pytest.mark.further
def test_equivalent_passes_only_as_far_as_the_golden_trace_declares_it(toy, goldens):
    kept = added(toy.record(REDACTED), goldens)
    assert kept.is_kept
    assert "redacted values" in kept.golden.accepts
    assert check_golden(kept.golden).report.verdict == "EQUIVALENT"
    description = goldens / "a" / "golden.json"
    stored = json.loads(description.read_text())
    stored["accepts"].remove("redacted values")
    description.write_text(json.dumps(stored))
    found = check_golden(find_golden("a", goldens))
    assert (found.passes, found.exit_code, found.undeclared) == (False, 1, ("redacted values",))
    assert "it differs in redacted values, which is not declared" in str(found)


@pytest.mark.further
def test_normalisers_are_kept_with_it(toy, goldens):
    source = SHOP.replace('"spent": self.spent', '"spent": self.spent, "id": str(__import__("uuid").uuid4())')
    assert not added(toy.record(source), goldens).is_kept
    kept = added(toy, goldens, normaliser=Normaliser(ids=True))
    assert kept.is_kept
    found = check_golden(find_golden("a", goldens))
    assert (found.passes, found.report.verdict) == (True, "EQUIVALENT")


ONLINE = """
import socket

PORT = {port}

class Caller:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "caller"

    @trace_agent_action
    def call(self):
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as line:
            return line.recv(5).decode()

def build(spec):
    return Caller()

def main():
    Caller().call()
"""


@pytest.fixture
def server():
    """Says hello to whoever connects; gives its port and the list of who did."""
    callers = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            while True:
                try:
                    line, address = listening.accept()
                except OSError:
                    return
                callers.append(address)
                with line:
                    line.sendall(b"hello")

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1], callers
        listening.shutdown(socket.SHUT_RDWR)


def test_the_network_is_out_of_reach_unless_the_golden_trace_allows_it(toy, goldens, server):
    port, callers = server
    toy.record(ONLINE.format(port=port))
    assert len(callers) == 1
    refused = added(toy, goldens)
    assert (refused.is_kept, refused.exit_code, len(callers)) == (False, 4, 1)
    assert any("network read by" in reason for reason in refused.report.report.reasons)
    allowed = added(toy, goldens, network=True)
    assert (allowed.is_kept, len(callers)) == (True, 2), str(allowed.report)
    assert allowed.report.report.verdict == "EQUIVALENT"
    assert "network was allowed, as declared" in str(allowed.report)


@pytest.mark.further
def test_an_update_keeps_what_the_code_does_now(shop, goldens):
    shop.change('"spent": self.spent', '"spent": self.spent, "new": True')
    assert not check_golden(find_golden("buyer", goldens)).passes
    assert update_golden(find_golden("buyer", goldens)).passes
    found = check_golden(find_golden("buyer", goldens))
    assert (found.report.verdict, found.report.outcome.counts.driven) == ("IDENTICAL", 4)
    shop.change(', "new": True', "")
    assert check_golden(find_golden("buyer", goldens)).report.divergence.path == "/new"


@pytest.mark.further
def test_an_update_that_needs_an_answer_nobody_recorded_changes_nothing(shop, goldens):
    before = {path.name: path.read_bytes() for path in (goldens / "buyer").iterdir()}
    shop.change("self.till.pay(amount)", "self.till.pay(amount + 100)")
    with pytest.raises(ReplayError, match="cannot be recorded again"):
        update_golden(find_golden("buyer", goldens))
    assert {path.name: path.read_bytes() for path in (goldens / "buyer").iterdir()} == before
    assert [path.name for path in goldens.iterdir()] == ["buyer"]


def test_an_update_of_what_proves_nothing_changes_nothing(shop, goldens):
    before = (goldens / "buyer" / "recording.zip").read_bytes()
    shop.change("self.spent += amount", "self.spent += amount + 0 * __import__('random').randint(1, 2)")
    assert not update_golden(find_golden("buyer", goldens)).passes
    assert (goldens / "buyer" / "recording.zip").read_bytes() == before


IN_A_RUN = """
from Agent.flight import record_tool
from Agent.flight import recorder

@record_tool
def search(query):
    return ["about " + query]

class Asker:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "asker"
        self.found = []

    @trace_agent_action
    def ask(self, query):
        self.found += search(query)
        return len(self.found)

def build(spec):
    return Asker()

def main():
    Asker().ask("before")
    with recorder.run("asking") as run:
        asker = Asker()
        asker.ask("tea")
        asker.ask("jam")
    global run_id
    run_id = run.run_id
"""


def test_an_explicit_run_can_be_kept_alone(toy, goldens):
    toy.record(IN_A_RUN)
    (run,) = (path.name for path in toy.root.glob("session_*/runs/*") if path.name != "root")
    kept = added(toy, goldens, run=run, name="run")
    assert kept.is_kept, str(kept.report)
    outcome = kept.report.report.outcome
    assert (outcome.counts.actions, outcome.answered["search"]) == (2, 2)
