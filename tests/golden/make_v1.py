"""Makes `tests/golden/v1`: a small tree of schema version 1 with every kind of value, and what must be read from it.

Run once, when a version of the schema is final: `python tests/golden/make_v1.py`. It refuses to write over a tree
that is there, because the point of one is that it never changes. `expected.json` is made from the files by plain
JSON reading, not by the package's readers, so that it can judge them.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.session_files import kind_of, only_session, session_events

TARGET = Path(__file__).with_name("v1")

VALUES = {
    "tuple": (1, "two", None),
    "set": {3},
    "bytes": b"\x00\xff",
    "when": datetime(2026, 11, 20, 10, 30, 45, 123456, tzinfo=UTC),
    "span": timedelta(seconds=90),
    "uuid": UUID("0192f3a4-5b6c-7d8e-9f01-23456789abcd"),
    "decimal": Decimal("1.10"),
    "infinite": float("-inf"),
    "large": 2**80,
    "q_table": {(0, 1): 0.5, (1, 1): -0.25},
    "text": 'quotes " and\na line, ünïcödé',
}


def record() -> None:
    """A short life of two agents through every part of the public interface."""
    from Agent import (
        AgentLogger,
        InteractionLogger,
        LearningLogger,
        PerformanceLogger,
        SystemLogger,
        caused_by,
        health,
        measure_performance,
        shutdown_logging,
        tick,
        trace_agent_action,
        trace_context,
        trace_errors,
    )

    class Clerk:
        def __init__(self, agent_id: str) -> None:
            self.agent_id, self.agent_role = agent_id, "clerk"
            self.filed: list[str] = []

        @trace_agent_action(action_type="file")
        def file(self, name: str, copies: int = 1) -> dict[str, object]:
            self.filed.append(name)
            return {"name": name, "copies": copies}

        @trace_agent_action
        async def wait(self) -> None:
            await asyncio.sleep(0)

        @trace_errors()
        def lose(self) -> None:
            raise LookupError("form 27b is lost")

    clerk = Clerk("clerk/one")
    logger = AgentLogger("clerk/one", "clerk")
    for number in range(3):
        with tick(number):
            clerk.file(f"form {number}", copies=number)
    asyncio.run(clerk.wait())
    first = logger.log_action("values", VALUES, {"reason": "one of each"})
    with caused_by(first):
        logger.log_decision("archive", {"shelf": 3}, reasoning="full drawer")
    with trace_context(logger, "inventory", shelf="A"):
        logger.info("counted", extra={"forms": 3})
    logger.log_state_change(old_state={"open": True}, new_state={"open": False}, trigger="noon")
    logger.receive(AgentLogger("clerk_two", "clerk").send("clerk/one", {"text": "lunch?"}))
    learning = LearningLogger(learning_type="bandit", agent_id="clerk/one")
    learning.log_training_step(step=1, metrics={"loss": 0.5})
    learning.log_reward(action_id="a1", reward=1.5, cumulative_reward=1.5)
    learning.log_exploration_exploitation(action_selected="shelf", exploration=True, epsilon=0.1)
    InteractionLogger().log_interaction("ask", source_id="clerk_two", target_id="clerk/one", content_id="c1")
    with measure_performance("inventory"):
        pass
    PerformanceLogger().log_metric("latency", 1.25)
    SystemLogger().warning("paper is low")
    with contextlib.suppress(LookupError):
        clerk.lose()
    account = health()
    if account["dropped"] or account["notes"]:
        sys.exit(f"recording had trouble, so this would be no golden tree: {account}")
    shutdown_logging()


def without_this_machine(session: Path) -> None:
    """Names of this machine, its paths and its users do not belong into a tree that is handed on."""
    root = session.parent
    texts = {
        os.uname().nodename: "host",
        str(root): "trace",
        sys.prefix: "python",
        str(Path.cwd()): "project",
    }
    for path in [
        item for item in root.rglob("*") if item.is_file() and item.suffix in {".json", ".log", ".jsonl"}
    ]:
        text = path.read_text()
        for own, other in sorted(texts.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(own, other)
        text = re.sub(r'(File \\")[^"\\]*/', r"\1", text)
        text = re.sub(r'"boot_id":( ?)"[^"]*"', r'"boot_id":\1"00000000-0000-0000-0000-000000000000"', text)
        path.write_text(text)


def expected(session: Path) -> dict[str, object]:
    """What any later version must read from the tree."""
    events = session_events(session)
    of_clerk = [event for event in events if event.get("extra", {}).get("agent_id") == "clerk/one"]
    return {
        "session_id": events[0]["session_id"],
        "ids": [event["id"] for event in events],
        "kinds": dict(sorted(Counter(kind_of(event) for event in events).items())),
        "agents": sorted(
            {a for event in events if (a := event.get("extra", {}).get("agent_id")) is not None}
        ),
        "journey": [[event["timestamp"], event["message"]] for event in of_clerk],
    }


def main() -> None:
    if TARGET.exists():
        sys.exit(f"{TARGET} exists; a golden tree is never made again")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "trace"
        os.environ |= {"AGENT_TRACE_ROOT": str(root), "XDG_CONFIG_HOME": directory}
        record()
        session = only_session(root)
        without_this_machine(session)
        TARGET.mkdir()
        session.rename(TARGET / session.name)
    text = json.dumps(expected(only_session(TARGET)), indent=1, ensure_ascii=False)
    (TARGET / "expected.json").write_text(text + "\n")
    sys.stdout.write(f"made {TARGET}\n")


if __name__ == "__main__":
    main()
