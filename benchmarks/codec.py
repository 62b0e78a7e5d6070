"""Why orjson: beside msgspec, writing a payload and reading a line: `python -m benchmarks.codec`.

Needs `msgspec` beside the `bench` extra; medians of alternating rounds.
"""

from __future__ import annotations

import statistics
import timeit

import msgspec
import orjson

from benchmarks.peers import SMALL

LINE = {"timestamp": "2026-11-20T10:30:45.123456Z", "id": "k3v9q2ma-1042", "level": "INFO", "extra": SMALL}
CALLS, ROUNDS = 20_000, 15


def main() -> None:
    encode, text = msgspec.json.Encoder().encode, orjson.dumps(LINE)
    contenders = {
        "write a payload": {"orjson": lambda: orjson.dumps(SMALL), "msgspec": lambda: encode(SMALL)},
        "read a line": {"orjson": lambda: orjson.loads(text), "msgspec": lambda: msgspec.json.decode(text)},
    }
    for what, pair in contenders.items():
        took: dict[str, list[float]] = {name: [] for name in pair}
        for _ in range(ROUNDS):
            for name, call in pair.items():
                took[name].append(timeit.timeit(call, number=CALLS) / CALLS * 1e9)
        print(f"{what}: " + ", ".join(f"{name} {statistics.median(ns):.0f} ns" for name, ns in took.items()))


if __name__ == "__main__":
    main()
