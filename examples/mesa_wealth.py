"""A model of Mesa, recorded, with its data frame; replayed with `--target mesa_wealth:build`."""

from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth, MoneyAgent

from Agent import LogAnalyzer
from Agent.flight import CheckpointPolicy, recorder, trace_mesa

trace_mesa(BoltzmannWealth, MoneyAgent)


def build(spec):
    return {"model": BoltzmannWealth(*spec.init.args, **spec.init.kwargs), **spec.nested}


if __name__ == "__main__":
    with recorder.run("wealth", checkpoints=CheckpointPolicy(every_ticks=1, of="run")):
        model = BoltzmannWealth(n=10, width=4, height=4, seed=42)
        for _ in range(20):
            model.step()
    print(LogAnalyzer().agent_vars("moneyagent_*", ["wealth"]).unstack())
