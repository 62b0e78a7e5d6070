"""Cluster schedulers: worker threads pull from a shared condition variable in a strict turn order (token passing)."""
import heapq
import itertools
import os
import random
import threading
from datetime import datetime, timedelta, timezone

from Agent import AgentLogger, instrument, setup_logging
from oracle import watch_class

EPOCH = datetime(2020, 2, 28, 22, 0, tzinfo=timezone.utc)


class Task:
    __slots__ = ("number", "cpu", "ram", "deadline", "retries")

    def __init__(self, number, cpu, ram, deadline):
        self.number, self.cpu, self.ram, self.deadline, self.retries = number, cpu, ram, deadline, 0

    def __lt__(self, other):
        return (self.deadline, self.number) < (other.deadline, other.number)


class Node:
    def __init__(self, host, cpu, ram):
        self.host = host
        self.logger = AgentLogger(host, "node")
        self.free = {"cpu": cpu, "ram": ram}
        self.running = []
        self.late = []
        self.rng = random.Random(host)
        self.uptime = timedelta(0)
        self.labels = {"gpu"} if cpu > 8 else set()

    def offer(self, number, cpu, ram):
        """How well a task fits; None means it does not."""
        if cpu > self.free["cpu"] or ram > self.free["ram"]:
            return None
        return round((self.free["cpu"] - cpu) / 8 + (self.free["ram"] - ram) / 64, 4)

    def start(self, number, cpu, ram, deadline, now):
        if self.offer(number, cpu, ram) is None:
            raise MemoryError(f"{self.host} has {self.free['cpu']} cores, task {number} wants {cpu}")
        self.free["cpu"] -= cpu
        self.free["ram"] -= ram
        length = timedelta(minutes=self.rng.randint(15, 90) + 5 * cpu)
        end = now + length
        if end > deadline:
            self.late.append((number, str(end - deadline)))
        heapq.heappush(self.running, (end, number, cpu, ram))
        return end.isoformat()

    def advance(self, now):
        done = []
        while self.running and self.running[0][0] <= now:
            end, number, cpu, ram = heapq.heappop(self.running)
            self.free["cpu"] += cpu
            self.free["ram"] += ram
            done.append(number)
        self.uptime += timedelta(minutes=10)
        if self.uptime > timedelta(hours=9):
            self.labels.add("old" if not self.late else f"late{len(self.late) // 3}")
        return done


METHODS = ["offer", "start", "advance"]
watch_class(Node, METHODS, id_attr="host")
instrument(Node, methods=METHODS, agent_id="host", agent_role="node")

HOSTS = {"ada": (8, 64), "bohr": (16, 128), "curie": (4, 96)}


def build(spec):
    nodes = {name: Node(name, *size) for name, size in HOSTS.items()}
    return nodes if spec.agent_id is None else nodes[spec.agent_id]


def worker(node, turn, order, shared):
    for step in itertools.count():
        with turn:
            turn.wait_for(lambda: shared["turn"] == order)
            now = EPOCH + timedelta(minutes=10 * step)
            if step < 75:
                node.advance(now)
                waiting = shared["tasks"]
                if waiting and waiting[0].number <= step * 2:
                    task = waiting[0]
                    if node.offer(task.number, task.cpu, task.ram) is not None or task.retries > 5:
                        heapq.heappop(waiting)
                        try:
                            node.start(task.number, task.cpu, task.ram, task.deadline, now)
                        except MemoryError as error:
                            shared["errors"].append(str(error))
                    else:
                        task.retries += 1
            shared["turn"] = (order + 1) % len(HOSTS)
            turn.notify_all()
        if step >= 75:
            return


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    rng = random.Random(10)
    tasks = [Task(n, rng.choice([1, 2, 4, 8]), rng.choice([4, 8, 32]), EPOCH + timedelta(minutes=10 * (n + rng.randint(1, 20)))) for n in range(110)]
    heapq.heapify(tasks)
    shared = {"turn": 0, "tasks": tasks, "errors": []}
    turn = threading.Condition()
    nodes = [Node(name, *size) for name, size in HOSTS.items()]
    threads = [threading.Thread(target=worker, args=(node, turn, k, shared)) for k, node in enumerate(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for node in nodes:
        print(node.host, node.free, len(node.running), node.late[-2:], sorted(node.labels))
    print(len(shared["tasks"]), shared["errors"][:2])


if __name__ == "__main__":
    main()
