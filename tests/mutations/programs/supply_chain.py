"""The beer game: four stages that order from each other, each an agent."""

from collections import deque

from Agent import InteractionLogger, setup_logging, shutdown_logging, tick, trace_agent_action

DEMAND = [4, 4, 4, 8, 8, 8, 8, 6, 6, 6, 4, 4, 8, 8, 4, 4]


class Stage:
    agent_role = "stage"

    def __init__(self, name, upstream=None):
        self.agent_id = name
        self.upstream = upstream
        self.stock, self.backlog = 12, 0
        self.pipeline = deque([4, 4])
        self.smoothed = 4.0

    @trace_agent_action()
    def fulfil(self, amount):
        self.stock += self.pipeline.popleft()
        wanted = amount + self.backlog
        shipped = min(self.stock, wanted)
        self.stock -= shipped
        self.backlog = wanted - shipped
        self.smoothed = 0.7 * self.smoothed + 0.3 * amount
        order = max(0, round(self.smoothed + 0.5 * (12 - self.stock + self.backlog)))
        arriving = self.upstream.fulfil(order) if self.upstream else order
        self.pipeline.append(arriving)
        return shipped


def make():
    chain, upstream = {}, None
    for name in ("factory", "distributor", "wholesaler", "retailer"):
        upstream = chain[name] = Stage(name, upstream)
    return chain


def build(spec):
    chain = make()
    return chain[spec.agent_id] if spec.agent_id else chain


def main():
    setup_logging()
    chain = make()
    interactions = InteractionLogger()
    for week, demand in enumerate(DEMAND):
        with tick(week):
            shipped = chain["retailer"].fulfil(demand)
            interactions.log_interaction("retailer", "customer", "sale", {"shipped": shipped})
    shutdown_logging()
    print({name: (stage.stock, stage.backlog) for name, stage in chain.items()})


if __name__ == "__main__":
    main()
