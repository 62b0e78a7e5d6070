"""Fields that somebody asked to ignore: in the program, on the command line, in a golden trace; always named."""

import pytest

from Agent.cli.main import main
from Agent.errors import UsageError
from Agent.record.tracing.instrument import instrument
from Agent.replay import add_golden, find_golden, replay_runs

SHOP = """
from Agent import instrument

class Shop:
    IGNORE
    def __init__(self):
        self.agent_id, self.agent_role = "a", "shop"
        self.total, self.cache, self.cached_at = 0, {}, 0

    def sell(self, price):
        self.total += price
        self.cache[price] = self.total
        self.cached_at = price
        return self.total

instrument(Shop, methods=["sell"], agent_id="agent_id", OPTIONS)

def build(spec):
    return Shop()

def main():
    shop = Shop()
    for price in (1, 2, 3):
        shop.sell(price)
"""


def shop(toy, options="", ignore=""):
    toy.record(SHOP.replace("OPTIONS", options).replace("IGNORE", ignore))
    return toy.change("self.cache[price] = self.total", "self.cache[price] = self.total + 1")


@pytest.mark.first_case
@pytest.mark.parametrize(
    "ignore", [["cache"], ["a.cache"], ["c*e"], ["a.c*"], ["*.cache", "never_there"], ("cache", "cache")]
)
def test_a_field_that_is_ignored_takes_no_part_and_is_named(toy, ignore):
    shop(toy)
    assert toy.replay().divergence.where == "field cache[1]"
    report = toy.replay(ignore=ignore)
    assert report.verdict == "IDENTICAL", report
    assert "cache" in report.ignored
    assert "ignored: cache" in str(report).splitlines()[0]
    assert "all fields seen" not in str(report)
    assert replay_runs(f"{toy.name}:build", toy.root, ignore=ignore).exit_code == 0


@pytest.mark.parametrize(
    ("options", "ignore"),
    [('ignore=["cache"]', ""), ("ignore='cache'", ""), ("", 'trace_ignore = ("cache",)')],
)
def test_a_program_says_itself_what_is_ignored(toy, options, ignore):
    report = shop(toy, options, ignore).replay()
    assert report.verdict == "IDENTICAL", report
    assert report.ignored == ("cache",)
    assert "ignored: cache" in str(report).splitlines()[0]


def test_what_is_not_ignored_still_counts(toy):
    shop(toy).change("self.cached_at = price", "self.cached_at = price + 1")
    report = toy.replay(ignore=["cache"])
    assert report.divergence.where == "field cached_at"


def test_undoing_an_instrumentation_ends_what_it_ignored():
    from Agent.record.state.introspection import exposure_of

    class Shop:
        def __init__(self):
            self.total, self.cache = 0, {}

        def sell(self):
            return 1

    with instrument(Shop, methods=["sell"], ignore=["cache"]):
        assert exposure_of(Shop).ignored == {"cache"}
    assert exposure_of(Shop).ignored == frozenset()


def test_ignore_is_a_list_of_names(toy):
    shop(toy)
    for wrong in ("cache", [""], [3]):
        with pytest.raises(UsageError, match="ignore is"):
            toy.replay(ignore=wrong)


def test_a_golden_trace_keeps_what_it_ignores(toy):
    shop(toy)
    place = toy.directory / "goldens"
    added = add_golden("last/a", f"{toy.name}:build", toy.root, directory=place, ignore=["cache"])
    assert added.is_kept, added.report
    assert find_golden("a", place).ignore == ("cache",)
    assert "ignored: cache" in str(added.report)


def test_the_command_takes_it_more_than_once(toy, capsys):
    shop(toy)
    words = ["replay", "last/a", "--target", f"{toy.name}:build", "--root", str(toy.root)]
    assert main(words) == 1
    assert main([*words, "--ignore", "nothing", "--ignore", "cache"]) == 0
    assert "ignored: cache" in capsys.readouterr().out


@pytest.mark.further
def test_a_program_with_fields_that_it_ignores_is_not_run_again_as_a_whole(toy, monkeypatch):
    def not_run(*_):
        raise AssertionError("the program was run")

    monkeypatch.setattr("Agent.replay.program_run.run_job", not_run)
    monkeypatch.setattr("Agent.replay.program_run.script_here", lambda *_: toy.path)
    shop(toy)
    with pytest.raises(AssertionError, match="the program was run"):
        toy.replay()
    shop(toy, ignore='trace_ignore = ("cached_at",)')
    report = toy.replay()
    assert report.divergence.where == "field cache[1]"
    assert "run again as a whole, proves nothing: a.cached_at cannot be compared" in str(report)
