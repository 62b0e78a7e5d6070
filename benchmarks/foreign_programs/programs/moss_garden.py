"""Cellular automaton: moss spreads over a stone garden cut into tiles; each tile is an agent that trades borders."""
import hashlib
import os

import numpy as np

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

SIDE = 8
SALT = os.urandom(2)


def chance(*parts):
    """A stable pseudo-random number for a place and a time, without carrying a generator around."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=4, salt=SALT).digest()
    return int.from_bytes(digest, "big") / 2 ** 32


class Tile:
    def __init__(self, row, col):
        self.agent_id = f"tile_{'abc'[row]}{col}"
        self.row, self.col = row, col
        self.moss = np.zeros((SIDE, SIDE), dtype=np.uint8)
        if (row + col) % 2 == 0:
            self.moss[2:4, 3:6] = 1
        self.age = np.zeros((SIDE, SIDE), dtype=np.int16)
        self.border = {}
        self.record = (0, 0)
        self.flowers = []

    @property
    def cover(self):
        return float(self.moss.mean())

    @trace_agent_action()
    @watch
    def receive(self, side, strip):
        if len(strip) != SIDE:
            raise ValueError(f"{self.agent_id}: strip of {len(strip)} on the {side}")
        self.border[side] = np.array(strip, dtype=np.uint8)
        return sum(strip)

    @trace_agent_action()
    @watch
    def grow(self, season):
        padded = np.zeros((SIDE + 2, SIDE + 2), dtype=np.uint8)
        padded[1:-1, 1:-1] = self.moss
        for side, where in {"north": (0, slice(1, -1)), "south": (-1, slice(1, -1)),
                            "west": (slice(1, -1), 0), "east": (slice(1, -1), -1)}.items():
            if side in self.border:
                padded[where] = self.border[side]
        around = sum(np.roll(np.roll(padded, dr, 0), dc, 1) for dr in (-1, 0, 1) for dc in (-1, 0, 1) if dr or dc)[1:-1, 1:-1]
        born = (self.moss == 0) & (around == 3)
        survive = (self.moss == 1) & (around >= 2) & (around <= 4)
        self.moss = (born | survive).astype(np.uint8)
        self.age = np.where(self.moss == 1, self.age + 1, 0).astype(np.int16)
        if season % 5 == 0:
            spot = divmod(int(chance(self.row, self.col, season) * SIDE * SIDE), SIDE)
            self.moss[spot] ^= 1
        if self.age.max() > 6:
            self.flowers.append((season, int(self.age.argmax())))
            self.age[self.age > 6] = 0
        alive = int(self.moss.sum())
        self.record = max(self.record, (alive, season))
        return alive

    @trace_agent_action()
    @watch
    def edge(self, side):
        strip = {"north": self.moss[0], "south": self.moss[-1], "west": self.moss[:, 0], "east": self.moss[:, -1]}[side]
        return strip.tolist()


def garden():
    return {t.agent_id: t for t in (Tile(r, c) for r in range(3) for c in range(3))}


def build(spec):
    tiles = garden()
    return tiles if spec.agent_id is None else tiles[spec.agent_id]


OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    tiles = garden()
    place = {(t.row, t.col): t for t in tiles.values()}
    for season in range(16):
        with tick(season):
            for (r, c), tile in place.items():
                for side, (dr, dc) in {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}.items():
                    other = place.get((r + dr, c + dc))
                    if other and season % 2 == 0:
                        tile.receive(side, other.edge(OPPOSITE[side]))
            for tile in tiles.values():
                tile.grow(season)
    try:
        tiles["tile_a0"].receive("north", [0, 1])
    except ValueError as error:
        print(error)
    for tile in tiles.values():
        print(tile.agent_id, f"{tile.cover:.2f}", tile.record, tile.flowers[-2:])


if __name__ == "__main__":
    main()
