"""Programs that work while the service is killed: agents that record, and one that ships what they recorded.

`python kill_programs.py traced URL` and `plain` record until stdin ends; `ship URL ROOT` sends all sessions of a
root until stdin ends and all is there. Each says on stdout, as JSON, what it did.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

from Agent import AgentLogger, shutdown_logging
from Agent.client import AgentTracer
from Agent.client.destination import Delivery, Destination
from Agent.client.shipment import Shipment
from Agent.errors import SessionNotFound
from Agent.flight import recorder
from Agent.tree.layout import list_sessions

PAUSE_S = 0.1
LONGEST_WAIT_S = 0.1
"""A sender that waits a minute after many failures would meet few of the kills."""


def told_to_end(seconds: float) -> bool:
    ready, _, _ = select.select([0], [], [], seconds)
    return bool(ready)


def trace(url: str) -> dict[str, int]:
    tracer = AgentTracer("traced", "1.0.0", url, exit_timeout_s=60)
    runs = 0
    while not told_to_end(PAUSE_S):
        runs += 1
        with tracer.start_run({"number": runs}) as run:
            for name in ("plan", "retrieve", "tool"):
                with run.step(name, f"{name}_it") as step:
                    step.add_metadata({"attempt": runs})
            if runs % 3 == 0:
                run.record_failure("tool", "timeout", "nobody answered")
    tracer.flush(60)
    tracer.close()
    return {"runs": runs}


def record() -> dict[str, int]:
    logger = AgentLogger("plain", "writer")
    runs = 0
    while not told_to_end(PAUSE_S):
        runs += 1
        with recorder.run("plain", {"number": runs}), recorder.step("one", "first"):
            for number in range(20):
                logger.log_action("write", {"number": number})
    return {"runs": runs}


def forget_what_was_refused() -> None:
    """The mutation: a body that nobody answered is taken for delivered."""
    delivers = Delivery.deliver

    def deliver(self: Delivery, events: object) -> None:
        before, self._wait = self._wait, lambda _seconds: True
        try:
            delivers(self, events)
        except BaseException:
            pass
        finally:
            self._wait = before

    Delivery.deliver = deliver


def ship(url: str, root: str) -> dict[str, int]:
    shipments: dict[Path, Shipment] = {}
    cut = 0

    def wait(seconds: float) -> bool:
        nonlocal cut
        # connected and not answered: the kill came while the service was at work on a body
        cut += any(word in str(shipment.outcome.problem) for word in ("closed", "reset"))
        time.sleep(min(seconds, LONGEST_WAIT_S))
        return False

    while True:
        ends = told_to_end(0.01)  # asked first: what is there by then is sent below
        for ref in list_sessions(Path(root)):
            if ref.path not in shipments:
                try:
                    shipments[ref.path] = Shipment(ref.path, Destination(url), wait)
                except SessionNotFound:
                    continue  # its program has made the directory a moment ago, and writes what it is next
            shipment = shipments[ref.path]
            while shipment.ship() or shipment.behind:
                pass
        if ends:
            break
    outcomes = [shipment.outcome for shipment in shipments.values()]
    for shipment in shipments.values():
        shipment.close()
    names = ("sent", "stored", "retries", "refused")
    return {name: sum(getattr(outcome, name) for outcome in outcomes) for name in names} | {"cut": cut}


def main(words: list[str]) -> None:
    if "--forget" in words:
        words.remove("--forget")
        forget_what_was_refused()
    done = {"traced": trace, "plain": record, "ship": ship}[words[0]](*words[1:])
    shutdown_logging()
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
