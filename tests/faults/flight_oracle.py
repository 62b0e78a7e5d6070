"""What must hold of runs, artifacts and checkpoints after a kill or a fault, judged from what the program was told.

`oracle` judges the events themselves; here every acknowledged step, artifact and checkpoint has to be whole.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from flight_programs import (
    ERASED_WORD,
    KEPT_CHECKPOINTS,
    OLD_CHECKPOINTS,
    OLD_RUN,
    artifact_of,
    output_of,
    state_of,
)
from harness import Outcome
from oracle import Verdict, read_plainly
from support.session_files import session_directories

from Agent.archive.erase.erasing import erase, pending, target_of
from Agent.archive.recover import recover_session
from Agent.archive.verify import verify
from Agent.errors import AgentTraceError, EventNotFound, RunNotFound
from Agent.flight import LocalCheckpointStore, RetentionPolicy, read_run
from Agent.flight.checkpoints.model import CheckpointInfo
from Agent.flight.run_reading import RunRecord, RunRef
from Agent.record.encode.redaction import Redactor
from Agent.tree.read.reader import TreeReader

Fact = dict[str, Any]


def judge_runs(verdict: Verdict, outcome: Outcome, *, dropped: int = 0) -> None:
    """Whether the run opens, all that was acknowledged is whole, and what was open is named.

    Args:
        verdict: takes what is wrong, and how much was acknowledged.
        outcome: what the program said.
        dropped: how much may be missing, because `health()` counts it.
    """
    verdict.acknowledged += len(outcome.facts)
    for (session,) in [session_directories(outcome.root)] if outcome.facts else ():
        run_id = outcome.facts[0]["run"]
        try:
            record = read_run(RunRef(session, run_id))
        except AgentTraceError as error:
            verdict.expect(False, f"the run does not open: {error}")
            return
        missing = _judge_steps(verdict, outcome, record, dropped)
        missing += _judge_artifacts(verdict, outcome, record)
        missing += _judge_checkpoints(verdict, outcome, session, run_id)
        verdict.expect(len(missing) <= dropped, f"{len(missing)} missing, {dropped} told: {missing[:3]}")
        if not outcome.healths:
            recover_session(session)
            found = verify(session)
            verdict.expect(found.sound, f"recovered, verify says {found.to_dict()}")


def _facts(outcome: Outcome, what: str) -> list[Fact]:
    return [fact for fact in outcome.facts if fact["what"] == what]


def _judge_steps(verdict: Verdict, outcome: Outcome, record: RunRecord, dropped: int) -> list[str]:
    """The acknowledged steps that are missing or not whole."""
    state = record.summary.state
    # its end may have been written when the kill came, and its word not have got out
    likely = ("success",) if _facts(outcome, "ended") else ("crashed", "success")
    verdict.expect(state in likely or dropped > 0, f"the run is {state}")
    doubled = [step for step, times in Counter(step.step_id for step in record.steps).items() if times > 1]
    verdict.expect(not doubled, f"steps stand twice: {doubled[:3]}")
    known = {step.step_id: step for step in record.steps}
    finished = _facts(outcome, "step")
    missing = []
    for fact in finished:
        step = known.get(fact["step"])
        if step is None or step.state != "ok" or step.output_ref != fact["ref"]:
            missing.append(f"step {fact['step']}: {step}")
            continue
        wrong = _wrong_content(record, fact["ref"], None)
        if wrong is None:
            held = json.loads(b"".join(record.read(fact["ref"])))
            expected = json.loads(json.dumps(output_of(fact["thread"], fact["number"])))
            wrong = None if held == expected else f"holds {held}"
        if wrong is not None:
            missing.append(f"the output of {fact['step']}: {wrong}")
    for fact in _facts(outcome, "started"):
        # what was in flight is named, unless its end was written and only its word did not get out
        step = known.get(fact["step"])
        is_named = fact["step"] in record.summary.open_steps
        if step is None or not (is_named or step.state == "ok"):
            missing.append(f"the beginning of {fact['step']}")
    surplus = len([step for step in known.values() if step.state == "ok"]) - len(finished)
    verdict.expect(surplus <= outcome.threads, f"{surplus} more steps have ended than were told of")
    return missing


def _judge_artifacts(verdict: Verdict, outcome: Outcome, record: RunRecord) -> list[str]:
    """The acknowledged artifacts that are missing; what has an event has to be whole, told or not."""
    for artifact in record.artifacts:
        wrong = _wrong_content(record, artifact.ref, None)
        verdict.expect(wrong is None, f"{artifact.ref} has an event and is not whole: {wrong}")
    known = {artifact.ref for artifact in record.artifacts}
    missing = []
    for fact in _facts(outcome, "artifact"):
        if fact["ref"] not in known:
            missing.append(f"no event of {fact['ref']}")
            continue
        wrong = _wrong_content(record, fact["ref"], artifact_of(fact["thread"], fact["number"]))
        verdict.expect(wrong is None, f"{fact['ref']} was acknowledged: {wrong}")
    return missing


def _wrong_content(record: RunRecord, ref: str, expected: bytes | None) -> str | None:
    """What is wrong with an artifact; None where it is whole."""
    try:
        found = b"".join(record.read(ref))
    except AgentTraceError as error:
        return str(error)
    return None if expected is None or found == expected else f"{len(found)} other bytes"


def _judge_checkpoints(verdict: Verdict, outcome: Outcome, session: Path, run_id: str) -> list[str]:
    """The acknowledged checkpoints that are missing, and whether all that are there are whole."""
    told = _facts(outcome, "checkpoint")
    lacking: dict[tuple[str, str | None], Fact] = {}
    with LocalCheckpointStore(session, redactor=Redactor(b"")) as store:
        if run_id not in store.runs():
            return [f"checkpoint {fact['step']}" for fact in told]
        for again in (False, True):
            found = {
                (fact["step"], fact["agent"]): fact for fact in told if _is_lacking(verdict, store, fact)
            }
            lacking = lacking or found
            verdict.expect(
                found == lacking, f"pruned and indexed anew, others are missing: {list(found)[:3]}"
            )
            infos = store.list_checkpoints(run_id)
            surplus = len(infos) - len(told)
            verdict.expect(surplus <= outcome.threads, f"{surplus} checkpoints more than were told of")
            for info in infos:
                _compare(verdict, store, info.run_id, info.step_id, info.agent_id, _state_behind(info))
            left = [found for found in store.check(run_id) if found.step_id is not None or again]
            verdict.expect(not left, f"check says {left[:2]}, again: {again}")
            if not again:
                store.prune(RetentionPolicy(keep_days=None, keep_failed_days=None))
                store.rebuild_index(run_id)
    events = {
        (event["extra"]["step_id"], event["extra"].get("agent_id"))
        for event in read_plainly(session).of_kind("checkpoint")
    }
    without = [key for fact in told if (key := (fact["step"], fact["agent"])) not in events | lacking.keys()]
    return [f"checkpoint {key}" for key in lacking] + [f"the event of checkpoint {key}" for key in without]


def _state_behind(info: CheckpointInfo) -> Any:
    """What a checkpoint has to hold, by its name: step_NUMBER of an agent's thread, or by_hand_THREAD_NUMBER."""
    words = info.step_id.split("_")
    if info.agent_id is not None:
        return state_of(int(info.agent_id.removeprefix("agent_")), int(words[1]) - 1)
    return state_of(int(words[2]), int(words[3]))


def _is_lacking(verdict: Verdict, store: LocalCheckpointStore, fact: Fact) -> bool:
    """Whether an acknowledged checkpoint is missing; what is there and not whole is a problem."""
    try:
        state = state_of(fact["thread"], fact["number"])
        _compare(verdict, store, fact["run"], fact["step"], fact["agent"], state)
    except (EventNotFound, RunNotFound):
        return True
    return False


def _compare(
    verdict: Verdict, store: LocalCheckpointStore, run_id: str, step: str, agent: str | None, state: Any
) -> None:
    try:
        found = store.load_checkpoint(run_id, step, agent).state
    except (EventNotFound, RunNotFound):
        raise
    except AgentTraceError as error:
        verdict.expect(False, f"checkpoint {step} of {agent} does not load: {error}")
        return
    verdict.expect(found == state, f"checkpoint {step} of {agent} is not what was saved")


def judge_thinning(verdict: Verdict, outcome: Outcome) -> None:
    """Whether each checkpoint is whole or gone, the last ones are there, and pruning again ends it."""
    for session in session_directories(outcome.root.parent / "old"):
        policy = RetentionPolicy(keep_days=None, keep_last=KEPT_CHECKPOINTS)
        with LocalCheckpointStore(session, redactor=Redactor(b"")) as store:
            for again in (False, True):
                steps = {info.step_id for info in store.list_checkpoints(OLD_RUN)}
                expected = {f"step_{OLD_CHECKPOINTS - 1 - number}" for number in range(KEPT_CHECKPOINTS)}
                verdict.expect(expected <= steps, f"{expected - steps} went, which stay")
                verdict.expect(not again or steps == expected, f"pruned again, {steps - expected} are left")
                for step in steps:
                    state = state_of(0, int(step.removeprefix("step_")))
                    _compare(verdict, store, OLD_RUN, step, "a", state)
                store.prune(policy)
            verdict.expect(store.check(OLD_RUN) == [], f"check says {store.check(OLD_RUN)}")


def judge_erasing(verdict: Verdict, outcome: Outcome) -> None:
    """Whether the record is sound as the kill left it, and the next erasure ends with no byte of it left."""
    root = outcome.root.parent / "old"
    for session in session_directories(root):
        before = read_plainly(session)
        stays = {i: found for i, found in before.events.items() if not _is_of_erased(found[0])}
        verdict.expect(verify(session).sound, f"as the kill left it, verify says {verify(session).to_dict()}")
        begun = pending(root)
        done = erase(root, begun or target_of(agent="goes"))
        verdict.expect(done.proof is not None and done.proof.clean, f"not proven: {done.to_dict()}")
        verdict.expect(pending(root) is None, "an erasure is still pending")
        after = read_plainly(session)
        verdict.expect(after.events == stays, f"{len(after.events)} of {len(stays)} events are left")
        found, losses = verify(session), TreeReader(session).losses()
        verdict.expect(found.sound and losses.clean, f"erased, verify says {found.to_dict()}")
        with LocalCheckpointStore(session, redactor=Redactor(b"")) as store:
            agents = {info.agent_id for run in store.runs() for info in store.list_checkpoints(run)}
            verdict.expect(agents == {"stays"}, f"there are checkpoints of {agents}")
            problems = [found for run in store.runs() for found in store.check(run)]
            verdict.expect(not problems, f"check says {problems[:3]}")
    left = [path.name for path in root.rglob("*") if path.is_file() and _holds_word(path)]
    verdict.expect(not left, f"the word is left in {left}")


def _is_of_erased(event: dict[str, Any]) -> bool:
    """Whether a line is the agent's, or of its run, or names it."""
    return ERASED_WORD in json.dumps(event) or '"goes"' in json.dumps(event)


def _holds_word(path: Path) -> bool:
    data = path.read_bytes()
    if path.name.endswith(".zst"):
        from zstandard import ZstdDecompressor

        data = ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return ERASED_WORD.encode() in data


def judge_flight_fault(verdict: Verdict, outcome: Outcome, error: str) -> None:
    """Whether the program went on to its end, and `health()` counts and names what it lacks.

    What is missing is counted; an error that cost nothing need not be told.
    """
    verdict.expect(outcome.exit_code == 0, f"exit code {outcome.exit_code}: {outcome.stderr[-300:]}")
    verdict.expect("Traceback" not in outcome.stderr, f"an exception came out: {outcome.stderr[-600:]}")
    health = outcome.healths.get(0, {})
    dropped = sum(health.get("dropped", {}).values())
    refused = len(_facts(outcome, "refused"))
    verdict.expect(dropped >= refused, f"{refused} were refused, health() counts {dropped}")
    judge_runs(verdict, outcome, dropped=dropped)
    if dropped and outcome.injected:
        # SQLite has its own word for what it met, and none for why a file cannot be opened
        said = json.dumps(outcome.healths) + outcome.stderr
        words = (error, os.strerror(getattr(errno, error)), " EIO", " ENOSPC", " EROFS", "unable to open")
        named = any(word in said for word in words)
        verdict.expect(named, f"nobody names {error}: {health}; {outcome.injected[:2]}")
