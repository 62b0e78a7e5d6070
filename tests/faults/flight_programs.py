"""Programs that record runs, artifacts and checkpoints, thin checkpoints out, or erase; what they say is `F {json}`.

What step, artifact or checkpoint `number` of a thread holds follows from both, so that the oracle makes it again.
"""

import io
import itertools
import json
import random
from pathlib import Path
from typing import Any

from keeping_programs import with_words
from told import TEXTS, Told, end

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.archive.erase.erasing import erase, target_of
from Agent.flight import CheckpointPolicy, LocalCheckpointStore, RetentionPolicy, checkpoint_store, recorder
from Agent.flight.checkpoints.files import CheckpointIndex
from Agent.record.encode.redaction import Redactor
from Agent.tree.write.artifacts import ArtifactFiles
from Agent.utils import trace_agent_action

OLD_RUN, OLD_CHECKPOINTS, KEPT_CHECKPOINTS = "old-run", 12, 3
ERASED_WORD = "quondam-word-that-goes"
"""Stands in every value of what is erased, and nowhere else."""
_STREAMED_BYTES = 300_000


def output_of(thread: int, number: int) -> dict[str, Any]:
    """What step `number` of a thread gives."""
    return {"thread": thread, "number": number, "text": TEXTS[number % len(TEXTS)]}


def artifact_of(thread: int, number: int) -> bytes:
    """The bytes of artifact `number`: short, streamed, the same for all of its kind, or large."""
    chance = random.Random(f"{thread} {number}")
    kind = number % 4
    if kind == 1:
        return chance.randbytes(_STREAMED_BYTES + number)
    if kind == 2:
        return b"the same for everybody\n" * 1000
    return chance.randbytes(40 if kind == 0 else 20_000)


def state_of(thread: int, number: int) -> dict[str, Any]:
    """The state behind step `number`: some 15 KB of which little changes from step to step."""
    chance = random.Random(thread)
    items = [{"id": index, "score": chance.random(), "text": TEXTS[0]} for index in range(300)]
    for step in range(max(0, number - 20), number + 1):
        items[step * 7 % 300]["score"] = step
    return {"thread": thread, "number": number, "items": items, "pair": (thread, number)}


def say(told: Told, what: str, **facts: Any) -> None:
    told.say(f"F {json.dumps({'what': what, **facts})}")


def _in_threads(run_id: str, threads: int, work: Any) -> None:
    """Let threads take part in a run; without any others the caller does it."""
    import threading

    def part(thread: int) -> None:
        with recorder.attach(run_id):
            work(thread)

    if threads == 1:
        part(0)
        return
    running = [threading.Thread(target=part, args=[number]) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def stepping(told: Told, events: int, threads: int, **options: Any) -> None:
    """A run whose threads make steps with outputs, each third with a call of a model."""
    setup_logging(segment_size_bytes=4096, mirrors=False, **options)
    run_id = recorder.start_run("killed")
    say(told, "run", run=run_id)
    told.gate()

    def work(thread: int) -> None:
        for number in range(events):
            step = f"step_{thread}_{number}"
            if recorder.start_step(step):
                say(told, "started", run=run_id, step=step)
            if number % 3 == 0:
                recorder.record_model_call(step, f"call_{thread}_{number}", "m", prompt="p", output=step)
            ref = recorder.finish_step(step, None, output_of(thread, number))
            say(told, "step", run=run_id, step=step, ref=ref, thread=thread, number=number)

    _in_threads(run_id, threads, work)
    recorder.finish_run()
    say(told, "ended", run=run_id)
    end(told)


def storing(told: Told, events: int, threads: int, **options: Any) -> None:
    """Artifacts of a run, short and streamed, some of them with the same content."""
    setup_logging(segment_size_bytes=4096, mirrors=False, **options)
    run_id = recorder.start_run("killed")
    recorder.start_step("store")
    say(told, "run", run=run_id)
    say(told, "started", run=run_id, step="store")
    told.gate()

    def work(thread: int) -> None:
        for number in range(events):
            content = artifact_of(thread, number)
            data = io.BytesIO(content) if number % 4 == 1 else content
            ref = recorder.save_artifact(f"made/{thread}/{number}.bin", data, "application/octet-stream")
            say(told, "artifact", run=run_id, ref=ref, thread=thread, number=number)

    _in_threads(run_id, threads, work)
    ref = recorder.finish_step("store", None, output_of(0, 0))
    say(told, "step", run=run_id, step="store", ref=ref, thread=0, number=0)
    recorder.finish_run()
    say(told, "ended", run=run_id)
    end(told)


class Stateful:
    """An agent whose state is that of its last step."""

    def __init__(self, thread: int) -> None:
        self.agent_id = f"agent_{thread}"
        self.held: dict[str, Any] = {}

    def trace_state(self) -> dict[str, Any]:
        return self.held

    @trace_agent_action("go")
    def go(self, thread: int, number: int) -> None:
        self.held = state_of(thread, number)


def checkpointing(told: Told, events: int, threads: int, **options: Any) -> None:
    """Checkpoints that a run takes by itself behind each action, and some that are saved by hand."""
    setup_logging(segment_size_bytes=4096, mirrors=False, **options)
    run_id = recorder.start_run("killed", checkpoints=CheckpointPolicy(every_steps=1))
    say(told, "run", run=run_id)
    told.gate()

    def work(thread: int) -> None:
        agent = Stateful(thread)
        for number in range(events):
            agent.go(thread, number)
            facts = {"run": run_id, "thread": thread, "number": number}
            say(told, "checkpoint", step=f"step_{number + 1}", agent=agent.agent_id, **facts)
            if number % 3 == 2:
                step = f"by_hand_{thread}_{number}"
                info = checkpoint_store.save_checkpoint(run_id, step, state_of(thread, number))
                say(told, "refused" if info is None else "checkpoint", step=step, agent=None, **facts)

    _in_threads(run_id, threads, work)
    recorder.finish_run()
    say(told, "ended", run=run_id)
    end(told)


def thinning(told: Told, events: int, threads: int, **options: Any) -> None:
    """All but the last checkpoints of a run that has ended are removed, while nothing else is recorded."""
    old = Path("old").absolute()
    session = setup_logging(trace_root=old, mirrors=False, **options)
    shutdown_logging()
    with LocalCheckpointStore(session.path, redactor=Redactor(b"")) as store:
        for number in range(OLD_CHECKPOINTS):
            store.save_checkpoint(OLD_RUN, f"step_{number}", state_of(0, number), agent_id="a")
    told.gate()
    with LocalCheckpointStore(session.path, redactor=Redactor(b"")) as store:
        with_words(lambda: store.prune(RetentionPolicy(keep_days=None, keep_last=KEPT_CHECKPOINTS)))
    told.say("D 0")


def erasing(told: Told, events: int, threads: int, **options: Any) -> None:
    """An agent is erased from a session that has ended: lines, a run, artifacts, checkpoints and mirrors."""
    old = Path("old").absolute()
    setup_logging(trace_root=old, segment_size_bytes=4096, **options)
    for number in range(events):
        AgentLogger("stays").log_action("write", {"number": number})
        AgentLogger("goes").log_action("write", {"number": number, "text": ERASED_WORD})
    for name in ("stays", "goes"):
        word = ERASED_WORD if name == "goes" else "another word"
        with recorder.run(name) as run, recorder.step("one") as step:
            step.output = {"text": word}
            recorder.save_artifact("page.txt", f"{word}\n" * 500)
            for number in range(3):
                state = {"number": number, "text": word, "items": [word] * 600}
                checkpoint_store.save_checkpoint(run.run_id, f"step_{number}", state, agent_id=name)
        # in one run both leave some
        for number in range(3):
            checkpoint_store.save_checkpoint("both", f"step_{number}", {"text": word * 900}, agent_id=name)
    together = {"goes": {"text": ERASED_WORD}, "stays": {"text": "another word"}}
    checkpoint_store.save_checkpoint("both", "together", together)
    shutdown_logging()
    told.gate()
    with_words(lambda: erase(old, target_of(agent="goes")))
    told.say("D 0")


def sabotage(mutation: str) -> bool:
    """Do something to runs as a broken recorder would; whether that is known here.

    `forget` lists no third checkpoint, `cut` stores artifacts without their last byte.
    """
    if mutation == "forget":
        put = CheckpointIndex.put
        count = itertools.count(1)
        CheckpointIndex.put = lambda self, row: put(self, row) if next(count) % 3 else None  # type: ignore[method-assign]
    elif mutation == "cut":
        write = ArtifactFiles._write_new
        ArtifactFiles._write_new = (
            lambda self, path, chunks: write(  # type: ignore[method-assign]
                self, path, (chunk[:-1] for chunk in chunks)
            )
        )
    return mutation in {"forget", "cut"}


def warm_up() -> None:
    """Do each of these once in the session that is recorded, so that nothing is left to be imported."""
    with recorder.run("warm", checkpoints=CheckpointPolicy(every_steps=1)), recorder.step("up"):
        Stateful(0).go(0, 1)
        recorder.save_artifact("a.bin", io.BytesIO(artifact_of(0, 1)))
        recorder.record_model_call("up", "c", "m", prompt="p", output="o")
