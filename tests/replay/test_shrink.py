"""A failing run is made small: the shortest beginning and the fewest agents that fail in the same way."""

import pytest
from support.processes import run_python

from Agent.errors import TargetNotFound, UsageError
from Agent.replay import add_golden, check_golden, find_golden, shrink_golden
from Agent.replay.golden.adding import _minimal, source_of_test, write_test

MARKET = """
class Stock:
    def __init__(self):
        self.agent_id, self.agent_role = "stock", "stock"
        self.left = 100

    @trace_agent_action
    def take(self, amount):
        self.left -= amount
        return self.left

class Buyer:
    def __init__(self, name, stock):
        self.agent_id, self.agent_role = name, "buyer"
        self.stock, self.bought = stock, 0

    @trace_agent_action
    def buy(self, amount):
        self.stock.take(amount)
        self.bought += amount
        return self.bought

def build(spec):
    stock = Stock()
    found = {"stock": None} | {name: Buyer(name, stock) for name in spec.agent_ids if name != "stock"}
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    stock = Stock()
    buyers = [Buyer(f"b{number}", stock) for number in range(4)]
    for _ in range(5):
        for buyer in buyers:
            buyer.buy(1)
"""


@pytest.fixture
def market(toy, tmp_path):
    """The whole market as a golden trace; what it is changed to fails."""
    directory = tmp_path / "tests" / "golden_traces"
    toy.record(MARKET)
    assert add_golden("last", f"{toy.name}:build", toy.root, name="market", directory=directory).is_kept
    return toy, directory


def test_a_fault_of_one_agent_needs_that_agent_alone_and_no_step_behind_it(market):
    toy, directory = market
    toy.change("return self.bought", 'return self.bought + (self.agent_id == "b2" and self.bought == 3)')
    small = shrink_golden(find_golden("market", directory))
    assert (small.actions, small.agents, small.is_smallest) == ((3, 20), (1, 5), True), str(small)
    assert small.golden.agent_id == "b2"
    found = check_golden(find_golden("market-shrunk", directory))
    assert (found.report.verdict, found.report.divergence.step) == ("DIVERGED", 3)
    assert (found.report.divergence.recorded, found.report.divergence.replayed) == (3, 4)


@pytest.mark.further
def test_a_fault_inside_another_agent_needs_both(market):
    toy, directory = market
    toy.change("return self.left", "return self.left if self.left > 97 else 0")
    small = shrink_golden(find_golden("market", directory), name="small")
    # the stock loses one at every purchase, so that no buyer can be left out
    assert small.golden.agent_id is None
    assert small.actions == (3, 20)
    assert "stock" in small.golden.agents
    assert "b3" not in small.golden.agents
    found = check_golden(find_golden("small", directory)).report.divergence
    assert (found.agent_id, found.field) == ("b2", "effects")


@pytest.mark.further
def test_what_proves_nothing_is_made_small_in_the_same_way(market):
    toy, directory = market
    toy.change(
        "self.bought += amount",
        "self.bought += amount + (0 if self.bought < 2 else 0 * __import__('random').randint(0, 9))",
    )
    small = shrink_golden(find_golden("market", directory))
    assert small.report.report.verdict == "UNVERIFIED"
    assert "random read by Buyer.buy" in small.report.report.reasons[0]
    assert (small.actions, small.agents) == ((3, 20), (1, 5)), str(small)


@pytest.mark.further
def test_what_does_not_fail_is_not_made_small(market):
    _, directory = market
    with pytest.raises(UsageError, match="market does not fail"):
        shrink_golden(find_golden("market", directory))
    with pytest.raises(TargetNotFound, match="no_such_module cannot be imported"):
        shrink_golden(find_golden("market", directory), "no_such_module:build")


@pytest.mark.slow
def test_the_written_test_fails_now_and_passes_once_the_code_is_repaired(market, tmp_path):
    toy, directory = market
    toy.change("return self.bought", "return self.bought + (self.bought == 2)")
    small = shrink_golden(find_golden("market", directory), name="double")
    test = write_test(small.golden, why=str(small.report.report.divergence))
    assert test == directory.parent / "test_golden_double.py"

    def tested():
        options = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(test))
        return run_python("-m", "pytest", *options, cwd=tmp_path, PYTHONPATH=str(toy.directory), CI="1")

    done = tested()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DIVERGED" in done.stdout
    toy.change("return self.bought + (self.bought == 2)", "return self.bought")
    done = tested()
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_is_never_written_over_another_file(market, tmp_path):
    _, directory = market
    golden = find_golden("market", directory)
    path = tmp_path / "test_it.py"
    path.write_text("something else\n")
    with pytest.raises(UsageError, match="the file already exists"):
        write_test(golden, path)
    assert path.read_text() == "something else\n"
    path.unlink()
    assert write_test(golden, path) == write_test(golden, path)
    compile(source_of_test(golden, 'a "quoted" \\ reason\nin two lines.'), "test", "exec")


@pytest.mark.parametrize("needed", [{3}, {0, 7}, {1, 2, 5}, set(range(8))])
def test_agents_are_left_out_until_each_that_is_left_is_needed(needed):
    agents = [str(number) for number in range(8)]
    wanted = {str(number) for number in needed}
    tried = []

    def fails(some):
        tried.append(tuple(some))
        return wanted <= set(some)

    assert set(_minimal(agents, fails)) == wanted
    assert len(tried) == len(set(tried)) or len(tried) <= 64
