"""Rumours on a small-world network (networkx). A person believes a rumour from enough trusted friends."""
import os
import random

import networkx as nx

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

RUMOURS = ["bridge closed", "free soup", "mayor resigns", "wolf seen"]
HALF_LIFE = 0.97


class Person:
    def __init__(self, agent_id, trust, stubborn):
        self.agent_id = agent_id
        self.trust = dict(trust)
        self.stubborn = stubborn
        self.heard = nx.DiGraph()
        self.beliefs = {}
        self.rng = random.Random(int(agent_id[1:]) * 7)
        self.told = []

    @trace_agent_action()
    @watch
    def hear(self, rumour, source):
        if source not in self.trust:
            raise KeyError(f"{source} is a stranger to {self.agent_id}")
        if self.heard.has_edge(source, rumour):
            self.heard[source][rumour]["times"] += 1
        else:
            self.heard.add_edge(source, rumour, times=1)
        weight = sum(self.trust.get(s, 0.1) for s in self.heard.predecessors(rumour))
        if weight > self.stubborn and rumour not in self.beliefs:
            self.beliefs[rumour] = round(weight, 4)
            return "believes"
        return "doubts"

    @trace_agent_action()
    @watch
    def talk(self):
        if not self.beliefs:
            return None
        rumour = max(self.beliefs, key=lambda r: (self.beliefs[r], r))
        friend = self.rng.choice(list(self.trust))
        self.told.append((rumour, friend))
        self.beliefs[rumour] = round(self.beliefs[rumour] * HALF_LIFE, 4)
        if len(self.told) % 10 == 0:
            self.trust[friend] = round(self.trust[friend] * 1.1, 4)
        return friend, rumour

    @trace_agent_action()
    @watch
    def sleep(self):
        faded = [r for r, w in self.beliefs.items() if w < 0.35]
        for rumour in faded:
            del self.beliefs[rumour]
            self.heard.remove_node(rumour)
        return faded


def society(n=18, seed=4):
    graph = nx.connected_watts_strogatz_graph(n, 4, 0.3, seed=seed)
    rng = random.Random(seed)
    people = {}
    for node in graph.nodes:
        trust = {f"p{other}": round(rng.uniform(0.2, 0.9), 2) for other in sorted(graph[node])}
        people[f"p{node}"] = Person(f"p{node}", trust, round(rng.uniform(0.3, 1.1), 2))
    return graph, people


def build(spec):
    _, people = society()
    return people if spec.agent_id is None else people[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    graph, people = society()
    for k, rumour in enumerate(RUMOURS):
        people[f"p{4 * k}"].beliefs[rumour] = 1.0
    for day in range(45):
        with tick(day):
            for person in people.values():
                told = person.talk()
                if told:
                    people[told[0]].hear(told[1], person.agent_id)
            if day % 5 == 4:
                for person in people.values():
                    person.sleep()
    try:
        people["p0"].hear(RUMOURS[0], "p99")
    except KeyError as error:
        print(error)
    for rumour in RUMOURS:
        print(rumour, sum(rumour in p.beliefs for p in people.values()))
    ranks = nx.pagerank(graph)
    print(sorted(ranks, key=lambda v: (-round(ranks[v], 9), v))[:5])


if __name__ == "__main__":
    main()
