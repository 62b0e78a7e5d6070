"""`agent_vars`: exposed fields by tick and agent, equal to what a data collector of the simulation collects."""

from __future__ import annotations

import pytest

from Agent import LogAnalyzer, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.errors import EventNotFound
from Agent.flight import CheckpointPolicy, recorder, trace_mesa

pandas = pytest.importorskip("pandas", reason="pandas is not installed; it is in the extra [dataframe]")


class Farmer:
    agent_role = "farmer"

    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.grain = 0
        self.fields = [1, 2]

    @trace_agent_action
    def harvest(self, amount):
        self.grain += amount


@pytest.fixture
def farm(trace_root):
    setup_logging(trace_root=trace_root)
    first, second = Farmer("first"), Farmer("second")
    for number in range(1, 7):
        with tick(number):
            if number != 3:
                first.harvest(number)
            if number in (3, 5):
                second.harvest(10)
                second.harvest(1)
    shutdown_logging()
    return LogAnalyzer(next(trace_root.glob("session_*")))


def test_a_row_has_the_values_at_the_end_of_its_tick_and_idle_ticks_repeat_them(farm):
    table = farm.agent_vars()
    assert table.index.names == ["tick", "agent_id"]
    assert table["grain"].unstack()["first"].tolist() == [1, 3, 3, 7, 12, 18]
    assert table["grain"].xs("second", level="agent_id").to_dict() == {3: 11, 4: 11, 5: 22}
    assert "fields" not in table.columns  # a list; by name it is there
    assert farm.agent_vars("second", ["fields"])["fields"].tolist() == [[1, 2]] * 3


def test_arrow_readers_take_the_frame(farm):
    pyarrow = pytest.importorskip(
        "pyarrow", reason="pyarrow is not installed; it is in the extra [dataframe]"
    )
    assert pyarrow.table(farm.agent_vars(fields=["grain"]).reset_index()).num_rows == 9


def test_agents_that_are_not_there_are_an_error_with_a_remedy(farm):
    with pytest.raises(EventNotFound, match=r"'nobody\*'.*traced with"):
        farm.agent_vars("nobody*")


@pytest.fixture
def model_class():
    pytest.importorskip("mesa", reason="mesa is not installed; it is in the extra [test]")
    from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth, MoneyAgent

    with trace_mesa(BoltzmannWealth, MoneyAgent):
        yield BoltzmannWealth


@pytest.mark.integration
def test_a_model_of_mesa_gives_the_same_frame_as_its_own_data_collector(trace_root, model_class):
    setup_logging(trace_root=trace_root)
    # half of all money is given by others, after an agent's own step
    with recorder.run("wealth", checkpoints=CheckpointPolicy(every_ticks=1, of="run")):
        model = model_class(n=12, width=3, height=3, seed=42)
        for _ in range(15):
            model.step()
    shutdown_logging()
    ours = LogAnalyzer(next(trace_root.glob("session_*"))).agent_vars("moneyagent_*", ["wealth"])["wealth"]
    theirs = model.datacollector.get_agent_vars_dataframe()["Wealth"]
    assert {
        (step, f"moneyagent_{number}"): wealth for (step, number), wealth in theirs.items() if step
    } == ours.to_dict()
    assert len(ours) == 12 * 15 and ours.nunique() > 2


@pytest.mark.further
def test_the_preset_of_mesa_can_be_undone(trace_root):
    pytest.importorskip("mesa", reason="mesa is not installed; it is in the extra [test]")
    from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth, MoneyAgent

    before = BoltzmannWealth.step, MoneyAgent.step
    with trace_mesa(BoltzmannWealth, MoneyAgent):
        assert (BoltzmannWealth.step, MoneyAgent.step) != before
    assert (BoltzmannWealth.step, MoneyAgent.step) == before
    BoltzmannWealth(n=3, width=2, height=2, seed=1).step()
    shutdown_logging()
    assert not list(trace_root.glob("session_*/agents/moneyagent*"))
