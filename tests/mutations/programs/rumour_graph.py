"""A rumour on a small-world graph of networkx, every person an agent."""

import random

import networkx as nx

from Agent import instrument, setup_logging, shutdown_logging, tick


class Town:
    def __init__(self, size=12, seed=4):
        self.unique_id = "town"
        self.graph = nx.connected_watts_strogatz_graph(size, 4, 0.3, seed=seed)
        self.rng = random.Random(seed)
        nx.set_node_attributes(self.graph, 0, "heard")
        self.graph.nodes[0]["heard"] = 1
        self.day = 0

    def step(self):
        self.day += 1
        for person in sorted(self.graph):
            if not self.graph.nodes[person]["heard"]:
                continue
            for friend in sorted(self.graph[person]):
                if self.rng.random() < 0.2:
                    self.graph.nodes[friend]["heard"] += 1
        heard = [person for person, data in self.graph.nodes(data=True) if data["heard"]]
        return {"day": self.day, "heard": heard, "cut": nx.node_boundary(self.graph, heard)}


instrument(Town, methods=["step"], agent_id="unique_id", agent_role="town")


def build(spec):
    return Town()


def main():
    setup_logging()
    town = Town()
    for day in range(10):
        with tick(day):
            town.step()
    shutdown_logging()
    print(nx.get_node_attributes(town.graph, "heard"))


if __name__ == "__main__":
    main()
