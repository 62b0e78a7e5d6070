"""A chat room with bots. Messages go through an async moderator; every bot has a tiny Markov chain."""
import asyncio
import os
import random
import re
from collections import Counter, defaultdict, deque

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

SEEDS = {
    "poet": "the rain falls on the old town and the town forgets the rain and sings",
    "nerd": "the parser reads the token and the token is the parser of another parser",
    "chef": "the soup needs salt and the salt needs the soup and the pot sings",
}
BANNED = re.compile(r"\b(forgets|another)\b")


class Moderator:
    def __init__(self):
        self.agent_id = "moderator"
        self.strikes = Counter()
        self.muted = {}
        self.floor = deque(maxlen=12)
        self.seen_words = set()

    @trace_agent_action()
    @watch
    async def review(self, author, text, minute):
        await asyncio.sleep(0)
        if self.muted.get(author, -1) >= minute:
            raise PermissionError(f"{author} is muted until {self.muted[author]}")
        bad = BANNED.findall(text)
        if bad:
            self.strikes[author] += len(bad)
            if self.strikes[author] % 4 == 0:
                self.muted[author] = minute + 2
        clean = BANNED.sub("***", text)
        self.floor.append((minute, author, clean))
        fresh = set(clean.split()) - self.seen_words
        self.seen_words |= fresh
        return {"text": clean, "fresh": sorted(fresh), "strikes": self.strikes[author]}


class Bot:
    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.rng = random.Random(agent_id)
        self.chain = defaultdict(list)
        self.friends = Counter()
        self.patience = 5
        words = SEEDS[agent_id].split()
        for a, b in zip(words, words[1:]):
            self.chain[a].append(b)

    def _sentence(self, start, length):
        words = [start]
        while len(words) < length:
            options = self.chain.get(words[-1])
            if not options:
                break
            words.append(self.rng.choice(options))
        return " ".join(words)

    @trace_agent_action()
    @watch
    async def speak(self, minute):
        await asyncio.sleep(0)
        length = self.rng.randint(3, 8) if self.patience > 0 else 3
        return self._sentence("the", length)

    @trace_agent_action()
    @watch
    async def listen(self, author, text):
        words = text.split()
        for a, b in zip(words, words[1:]):
            if "***" in (a, b):
                continue
            if len(self.chain[a]) < 7:
                self.chain[a].append(b)
        if "sings" in words:
            self.friends[author] += 1
        if "***" in words:
            self.patience -= 1
        elif self.patience < 5:
            self.patience += 1
        if self.friends.total() > 15:
            self.friends = Counter(dict(self.friends.most_common(1)))
        return len(self.chain)


def room():
    return {a.agent_id: a for a in [Moderator()] + [Bot(name) for name in SEEDS]}


def build(spec):
    agents = room()
    return agents if spec.agent_id is None else agents[spec.agent_id]


async def evening(agents):
    moderator = agents["moderator"]
    bots = [a for a in agents.values() if isinstance(a, Bot)]
    refused = 0
    for minute in range(45):
        with tick(minute):
            texts = await asyncio.gather(*(bot.speak(minute) for bot in bots))
            for bot, text in zip(bots, texts):
                try:
                    verdict = await moderator.review(bot.agent_id, text, minute)
                except PermissionError as error:
                    refused += 1
                    if refused < 3:
                        print(error)
                    continue
                await asyncio.gather(*(other.listen(bot.agent_id, verdict["text"]) for other in bots if other is not bot))
    print("refused", refused)
    for minute, author, text in list(moderator.floor)[-6:]:
        print(f"{minute:2} <{author}> {text}")
    for bot in bots:
        print(bot.agent_id, dict(bot.friends), bot.patience, sum(map(len, bot.chain.values())))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(evening(room()))


if __name__ == "__main__":
    main()
