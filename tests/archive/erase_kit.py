"""A trace root with everything in it that can hold a value, and an oracle that reads it by itself."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sqlite3
import urllib.parse
from contextlib import closing
from pathlib import Path
from typing import Any

import zstandard
from support.session_files import session_directories

from Agent import setup_logging, shutdown_logging
from Agent.archive.sealed.reader import open_reader
from Agent.config.recording import current_session
from Agent.errors import RunNotFound
from Agent.event.codec import encode_event
from Agent.flight import LocalCheckpointStore, Recorder
from Agent.utils import AgentLogger, InteractionLogger, SystemLogger

VALUE = 'Jane "J" Döe <jane@example.org>'


def record(root: Path, value: str = VALUE) -> dict[str, str]:
    """Two sessions with the value in every place; ids of the runs by name."""
    runs: dict[str, str] = {}
    for number in range(2):
        setup_logging(trace_root=root, segment_size_bytes=4096)
        for index in range(30):
            AgentLogger("writer", "author").log_action("write", {"n": index, "text": "x" * 200})
            AgentLogger("reader").log_action("read", {"n": index})
        AgentLogger("writer").log_action("tell", {"to": value})
        AgentLogger("writer").log_action("tell", {"url": "https://e.org/?q=" + urllib.parse.quote(value)})
        AgentLogger("reader").log_action("hear", {"raw": b"\x00" + value.encode() + b"\x01"})
        AgentLogger("reader").log_action("hear", {"json": json.dumps({"who": value})})
        try:
            raise LookupError(value)
        except LookupError:
            AgentLogger("reader").exception("failed")
        SystemLogger().info(f"{value} logged in")
        InteractionLogger().log_interaction("like", "writer", "reader", value)
        recorder = Recorder(agent="writer" if number else "reader", labels={"number": number})
        with recorder.run() as run:
            runs[f"run{number}"] = run.run_id
            with recorder.step("one") as step:
                step.output = {"who": value}
            with recorder.step("two") as step:
                step.output = {"plain": "word" * 2000}
            recorder.save_artifact("notes/page.txt", f"{'filler ' * 1000}{value}")
            recorder.save_artifact("notes/same.txt", f"{'filler ' * 1000}{value}")
            recorder.save_artifact("notes/other.txt", "filler " * 1000)
            recorder.save_artifact("packed.gz", gzip.compress(value.encode() * 3))
            recorder.record_model_call("one", model_name="m", prompt=f"Hello {value}", output="fine")
            with LocalCheckpointStore(current_session().path) as store:
                for step_id in range(6):
                    held = value if step_id in {2, 3} else None
                    state = {"n": step_id, "big": ["y" * 100] * 200, "who": held}
                    store.save_checkpoint(run.run_id, f"s{step_id}", state, agent_id="reader")
                    store.save_checkpoint(run.run_id, f"s{step_id}", {"n": step_id}, agent_id="writer")
            with Recorder(agent="helper").run() as inner:
                runs[f"inner{number}"] = inner.run_id
        shutdown_logging()
    return runs


def events(root: Path) -> dict[str, bytes]:
    """Every event under a root by its id, encoded."""
    return {
        event.id: encode_event(event)
        for session in session_directories(root)
        for event in open_reader(session).events()
    }


def forms(value: str) -> list[bytes]:
    """How the oracle would know the value again, worked out apart from the product."""
    raw = value.encode()
    found = [raw, json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode()]
    found += [json.dumps(json.dumps(value))[3:-3].encode(), urllib.parse.quote(value, safe="").encode()]
    found += [urllib.parse.quote_plus(value).encode()]
    if len(raw) >= 9:
        found += [base64.b64encode(raw[skip : skip + (len(raw) - skip) // 3 * 3]) for skip in range(3)]
    return found


def traces(root: Path, needles: list[bytes]) -> list[str]:
    """Every file in which one of these stands, also inside what is compressed."""
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        data = path.read_bytes()
        if path.parent.name == "chain":
            # digests and times hold any short text by chance
            data = b"".join(json.loads(line).get("file", "").encode() + b"\n" for line in data.splitlines())
        for content in (data, _unpacked(path, data)):
            found += [f"{path.relative_to(root)}: {needle!r}" for needle in needles if needle in content]
    return found + [
        str(path) for path in root.rglob("*") if any(needle in str(path).encode() for needle in needles)
    ]


def _unpacked(path: Path, data: bytes) -> bytes:
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return "\n".join(database.iterdump()).encode() + _graph_states(path)
    if data.startswith(b"PAR1"):
        import duckdb

        return repr(duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()).encode()
    return b""


def _graph_states(path: Path) -> bytes:
    """What LangGraph itself reads from a file of `TraceSaver`."""
    if path.name != "langgraph.sqlite":
        return b""
    from Agent.flight import TraceSaver

    with TraceSaver(path) as saver:
        return repr(list(saver.list(None))).encode()


def documents(root: Path) -> dict[tuple[str, str, str | None], Any]:
    """Every checkpoint under a root that can be loaded."""
    found = {}
    for session in session_directories(root):
        with LocalCheckpointStore(session) as store:
            for run_id in store.runs():
                try:
                    listed = store.list_checkpoints(run_id)
                except RunNotFound:  # their removal had been cut short
                    continue
                for info in listed:
                    found[run_id, info.step_id, info.agent_id] = store.load_checkpoint(
                        run_id, info.step_id, info.agent_id
                    ).state
    return found


def _raise(value: str) -> None:
    try:
        raise LookupError(value)
    except LookupError:
        AgentLogger("reader").exception("failed")


def _in_run(value: str, how: str) -> None:
    from Agent.flight import record_tool

    recorder = Recorder(agent="runner", labels={"for": value if how == "label" else "none"})
    with recorder.run() as run, recorder.step(value if how == "step" else "one"):
        if how == "artifact":
            recorder.save_artifact("notes/page.txt", f"{'filler ' * 500}{value}")
        elif how == "packed artifact":
            recorder.save_artifact("packed.gz", gzip.compress(value.encode() * 3))
        elif how == "model":
            recorder.record_model_call("one", model_name="m", prompt=f"Hello {value}", output="fine")
        elif how == "tool":
            record_tool(lambda who: {"found": who})(value)
        elif how == "checkpoint":
            with LocalCheckpointStore(current_session().path) as store:
                for step_id in range(3):
                    store.save_checkpoint(run.run_id, f"s{step_id}", {"who": value if step_id == 1 else None})


def _in_graph(value: str, how: str) -> None:
    from langgraph.graph import START, StateGraph

    from Agent.flight import TraceSaver

    made = StateGraph(dict)
    made.add_node("answer", lambda state: {"n": 2})
    made.add_edge(START, "answer")
    config: dict[str, Any] = {"configurable": {"thread_id": value if how == "thread" else "t"}}
    if how == "metadata":
        config["metadata"] = {"customer": value}
    with TraceSaver(redact=False) as saver:
        made.compile(checkpointer=saver).invoke({"who": value if how == "state" else "x", "n": 1}, config)


PLACES = {
    "action": lambda value: AgentLogger("writer").log_action("tell", {"to": [value]}),
    "bytes": lambda value: AgentLogger("writer").log_action("hear", {"raw": b"\x00" + value.encode()}),
    "name of an agent": lambda value: AgentLogger(value).log_action("act", {}),
    "exception": _raise,
    "message": lambda value: SystemLogger().info(f"{value} logged in"),
    "interaction": lambda value: InteractionLogger().log_interaction("like", "writer", "reader", value),
    **{
        f"run: {how}": lambda value, how=how: _in_run(value, how)
        for how in ("label", "step", "artifact", "packed artifact", "model", "tool", "checkpoint")
    },
    **{
        f"graph: {how}": lambda value, how=how: _in_graph(value, how)
        for how in ("state", "thread", "metadata")
    },
}
"""Where a person's data can go while a program records."""


def _view(session: Path) -> None:
    from Agent.view.session_view import SessionView

    view = SessionView(session)
    assert view.wait(30)
    view.close()


def _follow(session: Path) -> None:
    from Agent.tree.read.follower import Follower
    from Agent.tree.retention import write_cursor

    follower = Follower(session)
    follower.poll()
    write_cursor(session, "shipper", follower.cursor())
    follower.close()


def _seal(session: Path) -> None:
    from Agent.archive.sealed.sealing import seal

    seal(session)


def _seal_and_remove(session: Path) -> None:
    from Agent.archive.sealed.sealing import seal

    seal(session, remove=True)


def _query(session: Path) -> None:
    from Agent import LogAnalyzer

    with LogAnalyzer(session) as analyzer:
        analyzer.sql("SELECT count(*) FROM events")


def _export(session: Path) -> None:
    from Agent.tree.read.reader import TreeReader, write_summary

    write_summary(session, TreeReader(session))


AFTERWARDS = {
    "pages": _view, "followed": _follow, "sealed": _seal, "sealed, lines removed": _seal_and_remove,
    "queried": _query, "summarized": _export,
}  # fmt: skip
"""What else writes files below the trace root, once a program has ended."""
