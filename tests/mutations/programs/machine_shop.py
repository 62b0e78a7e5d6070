"""A machine shop of simpy: machines break, one repairer mends them."""

import random

import simpy

from Agent import AgentLogger, setup_logging, shutdown_logging, trace_agent_action


class Shop:
    def __init__(self, machines=3, seed=8):
        self.agent_id, self.agent_role = "shop", "workshop"
        self.logger = AgentLogger("shop", "workshop")
        self.rng = random.Random(seed)
        self.made = dict.fromkeys(range(machines), 0)
        self.broken = []

    def machine(self, env, repairer, number):
        until_broken = self.rng.expovariate(1 / 40)
        while True:
            work = self.rng.normalvariate(10, 2)
            yield env.timeout(max(1, work))
            self.made[number] += 1
            until_broken -= work
            if until_broken < 0:
                with repairer.request() as request:
                    yield request
                    yield env.timeout(15)
                self.broken.append((number, round(env.now, 6)))
                until_broken = self.rng.expovariate(1 / 40)

    @trace_agent_action()
    def shift(self, number):
        env = simpy.Environment()
        repairer = simpy.Resource(env, capacity=1)
        for machine in self.made:
            env.process(self.machine(env, repairer, machine))
        env.run(until=200)
        self.logger.log_decision("shift", {"made": dict(self.made)})
        return sum(self.made.values()), self.broken[-1:]


def build(spec):
    return Shop()


def main():
    setup_logging()
    shop = Shop()
    for number in range(8):
        shop.shift(number)
    shutdown_logging()
    print(shop.made)


if __name__ == "__main__":
    main()
