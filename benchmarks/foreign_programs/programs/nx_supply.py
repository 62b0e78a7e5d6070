"""Supply network: depots route parcels over a road graph that loses edges; alternatives are sampled from shortest paths."""
import os
import random

import networkx as nx

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

CITIES = ["Porto", "Braga", "Lisboa", "Evora", "Faro", "Coimbra", "Aveiro", "Viseu"]


def road_map(seed=9):
    rng = random.Random(seed)
    graph = nx.cycle_graph(CITIES)
    for _ in range(6):
        a, b = rng.sample(CITIES, 2)
        graph.add_edge(a, b)
    for a, b in graph.edges:
        graph[a][b]["km"] = rng.randint(3, 12)
        graph[a][b]["load"] = 0
    return graph


def shake(paths):
    """Some variety between equally long ways."""
    ways = list(paths)
    random.shuffle(ways)
    return min(ways, key=len)


class Depot:
    def __init__(self, agent_id, graph):
        self.agent_id = agent_id
        self.roads = graph.copy()
        self.sent = []
        self.closed = set()
        self.balance = 0.0
        self.trust = {city: 1.0 for city in CITIES if city != agent_id}

    @trace_agent_action()
    @watch
    def route(self, goal, weight):
        if goal == self.agent_id:
            raise ValueError(f"{goal} is here")
        way = shake(nx.all_shortest_paths(self.roads, self.agent_id, goal))
        for a, b in zip(way, way[1:]):
            self.roads[a][b]["load"] += weight
        km = nx.path_weight(self.roads, way, "km")
        self.sent.append((goal, km))
        self.balance = round(self.balance + weight * self.trust[goal] - km / 10, 4)
        return way

    @trace_agent_action()
    @watch
    def road_closed(self, a, b):
        if not self.roads.has_edge(a, b):
            return False
        data = self.roads[a][b]
        self.roads.remove_edge(a, b)
        if not nx.is_connected(self.roads):
            self.roads.add_edge(a, b, **data)
            return False
        self.closed.add(frozenset((a, b)))
        if len(self.closed) > 3:
            hub = max(nx.degree_centrality(self.roads).items(), key=lambda kv: (kv[1], kv[0]))[0]
            if hub in self.trust:
                self.trust[hub] = round(self.trust[hub] * 1.05, 4)
        return True

    @trace_agent_action()
    @watch
    def month_end(self):
        heavy = sorted(((d["load"], *sorted((a, b))) for a, b, d in self.roads.edges(data=True)), reverse=True)[:2]
        for _, _, d in self.roads.edges(data=True):
            d["load"] //= 2
        return heavy


def depots():
    graph = road_map()
    return {city: Depot(city, graph) for city in CITIES[:4]}


def build(spec):
    everyone = depots()
    return everyone if spec.agent_id is None else everyone[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    everyone = depots()
    rng = random.Random(21)
    for day in range(60):
        with tick(day):
            for depot in everyone.values():
                for _ in range(2):
                    goal = rng.choice([c for c in CITIES if c != depot.agent_id])
                    depot.route(goal, rng.randint(1, 5))
            if day % 8 == 3:
                a, b = rng.sample(CITIES, 2)
                for depot in everyone.values():
                    depot.road_closed(a, b)
            if day % 20 == 19:
                for depot in everyone.values():
                    print(day, depot.agent_id, depot.month_end())
    for depot in everyone.values():
        print(depot.agent_id, depot.balance, len(depot.closed), sum(km for _, km in depot.sent))


if __name__ == "__main__":
    main()
