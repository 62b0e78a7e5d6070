"""Gold miners, one thread each, with a barrier per day and a shared (locked) town bank."""
import os
import random
import threading
from collections import defaultdict

from Agent import AgentLogger, setup_logging, trace_agent_action
from oracle import watch

DAYS = 60


class Bank:
    """Shared by everybody; deposits of a day are only visible after the night."""

    def __init__(self):
        self.lock = threading.Lock()
        self.accounts = defaultdict(int)
        self.pending = []
        self.price = 10

    def deposit(self, name, grams):
        with self.lock:
            self.pending.append((name, grams))

    def night(self):
        total = 0
        for name, grams in sorted(self.pending):
            self.accounts[name] += grams * self.price
            total += grams
        self.pending.clear()
        self.price = max(4, self.price + (1 if total < 18 else -1))


class Miner:
    def __init__(self, agent_id, skill):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "miner")
        self.skill = skill
        self.rng = random.Random(f"{agent_id}:{skill}")
        self.thirst = 0
        self.gold = 0
        self.claims = {"creek": 40, "ridge": 60}
        self.tools = {"pan", "pick"}
        self.stories = []

    @trace_agent_action()
    @watch
    def dig(self, day):
        claim = max(self.claims, key=lambda c: (self.claims[c], c))
        found = min(self.claims[claim], int(self.rng.random() * self.skill * len(self.tools)))
        self.claims[claim] -= found
        self.gold += found
        self.thirst += 1 + (claim == "ridge")
        if self.claims[claim] == 0:
            del self.claims[claim]
            self.claims[f"{claim}-{day}"] = self.rng.randint(30, 50)
            self.stories.append(f"day {day}: {claim} is dry")
        if self.rng.random() < 0.05 and "pick" in self.tools:
            self.tools.remove("pick")
            raise OSError(f"{self.agent_id} broke the pick on day {day}")
        return found

    @trace_agent_action()
    @watch
    def evening(self, price):
        if self.thirst > 7:
            drinks = min(self.gold, self.thirst // 4)
            self.gold -= drinks
            self.thirst = 0
            return ("saloon", drinks)
        if "pick" not in self.tools and self.gold >= 3:
            self.gold -= 3
            self.tools.add("pick")
            return ("smith", 3)
        if price >= 8:
            sold, self.gold = self.gold, 0
            return ("bank", sold)
        return ("camp", 0)


MINERS = {"clem": 4.5, "nell": 6.0, "ah_fong": 5.2, "sully": 3.1}


def build(spec):
    if spec.agent_id is None:
        return {name: Miner(name, skill) for name, skill in MINERS.items()}
    return Miner(spec.agent_id, MINERS[spec.agent_id])


def life(miner, bank, morning, errors):
    for day in range(DAYS):
        price = bank.price
        morning.wait()
        try:
            miner.dig(day)
        except OSError as error:
            errors[miner.agent_id].append(str(error))
        place, amount = miner.evening(price)
        if place == "bank":
            bank.deposit(miner.agent_id, amount)
        morning.wait()


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    bank = Bank()
    state = {"phase": 0}

    def between():
        state["phase"] += 1
        if state["phase"] % 2 == 0:
            bank.night()

    morning = threading.Barrier(len(MINERS), action=between)
    errors = defaultdict(list)
    miners = [Miner(*row) for row in MINERS.items()]
    threads = [threading.Thread(target=life, args=(m, bank, morning, errors), name=m.agent_id) for m in miners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for miner in miners:
        print(miner.agent_id, bank.accounts[miner.agent_id], miner.gold, miner.claims, miner.stories[-1:], errors[miner.agent_id])


if __name__ == "__main__":
    main()
