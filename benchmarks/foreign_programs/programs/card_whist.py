"""Four players play knock-out whist with seeded decks; each keeps a memory of suits others have run out of."""
import os
from collections import defaultdict
from functools import lru_cache, total_ordering
from random import Random

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

SUITS = "CDHS"
RANKS = "23456789TJQKA"


@total_ordering
class Card:
    __slots__ = ("rank", "suit")

    def __init__(self, rank, suit):
        self.rank, self.suit = rank, suit

    @classmethod
    def parse(cls, text):
        return cls(RANKS.index(text[0]), text[1])

    def __eq__(self, other):
        return (self.rank, self.suit) == (other.rank, other.suit)

    def __lt__(self, other):
        return (self.suit, self.rank) < (other.suit, other.rank)

    def __hash__(self):
        return self.rank * 4 + SUITS.index(self.suit)

    def __repr__(self):
        return RANKS[self.rank] + self.suit


@lru_cache(maxsize=None)
def strength(text, led, trump):
    card = Card.parse(text)
    if card.suit == trump:
        return 100 + card.rank
    return card.rank if card.suit == led else -1


class Player:
    def __init__(self, agent_id, boldness):
        self.agent_id = agent_id
        self.boldness = boldness
        self.hand = []
        self.voids = defaultdict(set)
        self.tricks = 0
        self.played = set()
        self.score = {"won": 0, "lost": 0}
        self.rng = Random(agent_id)

    @trace_agent_action()
    @watch
    def receive(self, cards):
        self.hand = sorted(Card.parse(c) for c in cards)
        self.voids.clear()
        self.played = set()
        self.tricks = 0
        return len(self.hand)

    @trace_agent_action()
    @watch
    def call_trump(self):
        """The longest suit; between equals, the one with the higher cards."""
        best = max(SUITS, key=lambda s: (sum(c.suit == s for c in self.hand), sum(c.rank for c in self.hand if c.suit == s)))
        return best

    @trace_agent_action()
    @watch
    def play(self, table, trump):
        led = table[0][1] if table else None
        legal = [c for c in self.hand if c.suit == led] or self.hand
        if not legal:
            raise LookupError(f"{self.agent_id} has no card left")
        if led is None:
            card = self._lead(trump)
        else:
            bar = max(strength(t, led, trump) for t in table)
            winners = [c for c in legal if strength(repr(c), led, trump) > bar]
            if winners and (len(table) == 3 or self.rng.random() < self.boldness):
                card = min(winners, key=lambda c: strength(repr(c), led, trump))
            else:
                card = min(legal, key=lambda c: (c.suit == trump, c.rank))
        self.hand.remove(card)
        self.played.add(card)
        return repr(card)

    def _lead(self, trump):
        safe = [c for c in self.hand if not any(c.suit in v for v in self.voids.values())]
        pool = safe or self.hand
        return max(pool, key=lambda c: (c.suit != trump, c.rank, c.suit))

    @trace_agent_action()
    @watch
    def observe(self, led, plays, winner):
        for who, text in plays:
            card = Card.parse(text)
            self.played.add(card)
            if card.suit != led and who != self.agent_id:
                self.voids[who].add(led)
        if winner == self.agent_id:
            self.tricks += 1
        high = sum(1 for c in self.played if c.rank >= 10)
        return high

    @trace_agent_action()
    @watch
    def settle(self, best):
        key = "won" if self.tricks == best else "lost"
        self.score[key] += 1
        if self.score["lost"] - self.score["won"] > 3:
            self.boldness = round(min(0.95, self.boldness + 0.05), 3)
        return dict(self.score)


TABLE = [("nora", 0.9), ("ed", 0.5), ("south", 0.7), ("wim", 0.3)]


def players():
    return [Player(*row) for row in TABLE]


def build(spec):
    everyone = {p.agent_id: p for p in players()}
    return everyone if spec.agent_id is None else everyone[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    seats = players()
    dealer = Random(52)
    for number, size in enumerate([13, 11, 9, 7, 5, 13, 11, 9, 7, 5, 3]):
        with tick(number):
            deck = [r + s for s in SUITS for r in RANKS]
            dealer.shuffle(deck)
            for k, player in enumerate(seats):
                player.receive(deck[k * size:(k + 1) * size])
            leader = number % 4
            trump = seats[leader].call_trump()
            for _ in range(size):
                plays = []
                for k in range(4):
                    player = seats[(leader + k) % 4]
                    plays.append((player.agent_id, player.play([t for _, t in plays], trump)))
                led = plays[0][1][1]
                best = max(range(4), key=lambda k: strength(plays[k][1], led, trump))
                leader = (leader + best) % 4
                for player in seats:
                    player.observe(led, plays, seats[leader].agent_id)
            best = max(p.tricks for p in seats)
            print(f"round {number:2} {size:2} cards, trump {trump}:", " ".join(f"{p.agent_id}={p.tricks}" for p in seats))
            for player in seats:
                player.settle(best)
    try:
        seats[0].play([], "C")
    except (LookupError, ValueError) as error:
        print(type(error).__name__, error)
    print({p.agent_id: (p.score, p.boldness) for p in seats}, strength.cache_info().currsize)


if __name__ == "__main__":
    main()
