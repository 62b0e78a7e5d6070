"""`debug` beside sessions in which all was well: what is usual there is no cause, and what none of them has is."""

import random

import pytest
from analysis_kit import SessionBuilder
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis import debug_issue
from Agent.analysis.debug.root_causes.acts import read_acts
from Agent.analysis.debug.root_causes.baseline import UNLIKE, Baseline
from Agent.analysis.debug.root_causes.reading import Axis, steps
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.cli.main import cli
from Agent.errors import UsageError

COMPLAINT = "customers of shop_2 say that they paid too much"
TICKS = 40


def shop_day(root, seed, *, fee=0.05, spike_at=None, surcharge_at=None, name="20261120_103045"):
    """Write a session of shops that sell; return its path and the id of the first odd event of shop_2."""
    draw, builder, first = random.Random(seed), SessionBuilder(root, name), ""
    for tick in range(TICKS):
        builder.tick = tick
        for n in range(4):
            price = draw.randint(10, 20)
            if n == 2 and tick == spike_at:
                price = 900
            rate = fee if n == 2 else 0.05
            event = builder.emit(
                "agent_action",
                f"shop_{n}",
                role="shop",
                action_type="sell",
                price=price,
                fee=rate,
                to=f"c{n}-{tick}",
            )
            first = first or (event if n == 2 and surcharge_at is None else "")
        if tick == surcharge_at:
            first = builder.emit(
                "agent_action", "shop_2", role="shop", action_type="surcharge", to=f"c2-{tick}"
            )
        builder.pass_time(1)
    return builder.path, first


def titles(report):
    return [cause.title for cause in report.causes]


def test_a_value_that_is_wrong_from_the_start_is_found_beside_a_session_without_it(tmp_path):
    well, _ = shop_day(tmp_path / "well", 1)
    wrong, first = shop_day(tmp_path / "wrong", 2, fee=0.5)
    report = debug_issue(COMPLAINT, wrong, baselines=[well])
    assert first in report.causes[0].event_ids, str(report)
    assert "fee of sell is 0.5 at tick 0, as in no baseline (there: 0.05)" in str(report)
    assert "160 events of 1 baseline" in " ".join(report.looked_at)
    assert first not in {
        each for cause in debug_issue(COMPLAINT, wrong).causes for each in cause.event_ids[:1]
    }


def test_what_happens_in_a_baseline_too_is_no_cause(tmp_path):
    well, _ = shop_day(tmp_path / "well", 1, spike_at=35)
    again, _ = shop_day(tmp_path / "again", 2, spike_at=25)
    assert any("price of sell is 900" in each for each in titles(debug_issue(COMPLAINT, again)))
    assert not any("900" in each for each in titles(debug_issue(COMPLAINT, again, baselines=[well])))


def test_a_kind_of_event_that_no_baseline_has_is_told_as_such(tmp_path):
    well, _ = shop_day(tmp_path / "well", 1)
    odd, first = shop_day(tmp_path / "odd", 2, surcharge_at=20)
    report = debug_issue(COMPLAINT, odd, baselines=[well])
    assert any(first in cause.event_ids for cause in report.causes[:3]), str(report)
    assert "surcharge at tick 20, which no baseline has" in report.to_text()


def test_a_session_is_not_its_own_baseline(tmp_path):
    path, _ = shop_day(tmp_path, 1)
    with pytest.raises(UsageError, match="is the session to explain, so it is no baseline"):
        debug_issue(COMPLAINT, path, baselines=[path])


def test_the_command_takes_baselines_by_their_names(tmp_path):
    shop_day(tmp_path, 1, name="20261120_103045")
    shop_day(tmp_path, 3, name="20261120_103046")
    shop_day(tmp_path, 2, fee=0.5, name="20261121_103045")
    options = ["--baseline", "20261120_103045", "--baseline", "20261120_103046", "--root", str(tmp_path)]
    done = CliRunner().invoke(cli, ["debug", COMPLAINT, *options])
    assert "as in no baseline (there: 0.05)" in " ".join(done.output.split()), done.output
    refused = CliRunner().invoke(cli, ["debug", COMPLAINT, *options, "--engine", "duckdb"])
    assert refused.exit_code == 2
    assert "--baseline" in refused.output


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 40))), st.data())
def test_a_baseline_makes_no_finding_stronger_and_leaves_out_none_that_exceeds_it(found, data):
    log = read_acts([], steps(Axis(True, 0, 9), 0))
    usual = data.draw(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 40))))
    baseline = Baseline([log], lambda _: [Finding(*each[:2], [], each[2]) for each in usual])
    findings = [Finding(*each[:2], [], each[2]) for each in found]
    judged = [each for each in baseline.judged(log, findings) if each.rule != UNLIKE]
    kept = iter(judged)
    for each in findings:
        most = max(
            (nats for rule, about, nats in usual if (rule, about) == (each.rule, each.about)), default=0.0
        )
        if each.nats > most:
            assert next(kept).nats == pytest.approx(each.nats - most)
    assert next(kept, None) is None
