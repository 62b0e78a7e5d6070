"""`debug` beside sessions in which all was well: what none of them has is unusual."""

import random

import pytest
from analysis_kit import SessionBuilder
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis import debug_issue
from Agent.analysis.debug.root_causes.acts import read_acts
from Agent.analysis.debug.root_causes.detectors.values import Baseline
from Agent.cli.main import cli
from Agent.errors import UsageError

COMPLAINT = "customers of shop_2 say that they paid too much"
TICKS = 40


def shop_day(root, seed, *, fee=0.05, surcharge_at=None, name="20261120_103045"):
    """Write a session of shops that sell; return its path and the id of the first odd event of shop_2."""
    draw, builder, first = random.Random(seed), SessionBuilder(root, name), ""
    for tick in range(TICKS):
        builder.tick = tick
        for n in range(4):
            price = draw.randint(10, 20)
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


@given(
    st.lists(st.sampled_from([1, 2, "a", True]), min_size=20), st.lists(st.sampled_from([1, 2, "a", True, 7]))
)
def test_only_values_that_no_baseline_has_are_unlike(usual, seen):
    def log_of(held):
        return read_acts(
            [
                {
                    "id": f"e-{n}", "ts_us": n, "tick": n, "agent_id": "a", "event_type": "agent_action",
                    "agent_role": "a", "message": "", "level": "INFO", "extra": {"action_type": "x", "held": value},
                    "state": None, "span_id": None, "parent_span_id": None, "causes": [],
                }
                for n, value in enumerate(held)
            ],
            lambda row: row["tick"],
        )  # fmt: skip

    found = Baseline([log_of(usual)]).find(log_of(seen))
    odd = [n for n, value in enumerate(seen) if value not in usual]
    distinct = {value for value in seen if value not in usual}
    expected = [odd] if odd and len(distinct) <= max(1, len({*seen}) / 4) else []
    assert [[act.place for act in each.acts] for each in found] == expected
