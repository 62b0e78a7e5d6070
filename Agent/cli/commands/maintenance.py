"""Commands for `Agent.archive`: `recover`, `merge`, `verify`, `prove`, `prune`, `seal`, `erase`."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from Agent.cli import parameters, render
from Agent.cli.commands.runs import prune_runs
from Agent.cli.parameters import FROM_ZERO, NewestSession, Root, SomeSession, command, misuse
from Agent.errors import InputError, RunNotFound, SessionInUse, SessionNotFound, UsageError
from Agent.flight.run_reading import find_run
from Agent.render import formats
from Agent.render.blocks import Column
from Agent.tree.default_root import no_key
from Agent.tree.layout import find_session, find_session_dir, is_encrypted, list_sessions, session_id_of

if TYPE_CHECKING:
    from Agent.archive.erase.erasing import Erasure
    from Agent.archive.erase.target import Proof, Target
    from Agent.archive.prune import PrunedSession, Pruning
    from Agent.archive.recover import Recovered
    from Agent.archive.verify import Verification, VerifiedWriter


_UNITS_BYTES = {"": 1, "b": 1} | {
    name: base**power
    for power, letter in enumerate("kmgt", 1)
    for name, base in ((letter, 1000), (f"{letter}b", 1000), (f"{letter}ib", 1024))
}
_SHOWN_ARTIFACTS = 10
_SHOWN_ROWS = 20
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")
_STATE_STYLES = {"running": "good", "killed": "bad", "recovered": "warn"}


@command()
def recover(run: NewestSession, every: Annotated[bool, "--all"], mirrors: bool, root: Root) -> int:
    """Finish a session whose program was killed.

    Records what was lost and which spans were open, ends torn files, and writes the summary. No event is
    changed or dropped; a session that ended well is not changed. Without RUN: the newest.

    Args:
        every: Every session under the root that no process writes to.
        mirrors: Also rebuild the category files of all sessions.

    Examples:
        agent-trace recover
        agent-trace recover --all --mirrors
    """
    from Agent.archive.recover import rebuild_mirrors, recover_session

    done: list[Recovered] = []
    exit_code = 0
    passed_over: list[dict[str, str]] = []
    if every:
        for ref in list_sessions(root):
            if is_encrypted(ref.path):  # it had ended
                continue
            try:
                done.append(recover_session(ref.path))
            except (InputError, FileNotFoundError, NotADirectoryError) as error:
                # sessions in use, empty or removed are skipped silently, unreadable ones are reported
                if ref.path.exists() and not isinstance(error, SessionInUse | SessionNotFound):
                    exit_code = InputError.exit_code
                reason = error.message if isinstance(error, SessionInUse) else str(error)
                passed_over.append({"session_id": ref.session_id, "reason": reason})
                render.note(f"{ref.session_id} was skipped: {reason}")
    else:
        done.append(recover_session(find_session_dir(root, parameters.session_of(run))))
    rebuilt = rebuild_mirrors(root, as_text=_text) if mirrors else None
    sessions = [each.to_dict() for each in done]
    render.document(lambda: {"sessions": sessions, "passed_over": passed_over, "mirrors": rebuilt})
    if not done and not passed_over:
        render.note(f"no session was recorded in {root} yet")
    for each in done:
        _show_recovered(each)
    if rebuilt is not None:
        lines = formats.plural(sum(rebuilt.values()), "line")
        render.emit(f"the category files were rebuilt, {lines} in total")
    return exit_code


@command()
def merge(sessions: Annotated[tuple[str, ...], "PATH..."], root: Root) -> int:
    """Join the sessions of several hosts into one.

    PATH is a session: its directory, or its id under the root. The new session is made under the root; the
    others stay as they are. Times of a host whose clock was behind what it had heard from the others are
    moved forward. Exit code 1: events were lost.

    Examples:
        agent-trace merge host-a/trace/session_20261120_103045 host-b/trace/session_20261120_103046
    """
    from Agent.archive.merge import merge_sessions

    with render.working("joining the sessions"):
        merged = merge_sessions([find_session(root, each) for each in sessions], root)
    render.document(merged.to_dict)
    for source in merged.sources:
        moved = f", moved by {source['shifted_us'] / 1e6:.6f} s" if source["shifted_us"] else ""
        render.emit(f"{source['session_id']} of {source['host'] or 'an unknown host'}{moved}")
    lost = f"; {formats.plural(merged.lost, 'event')} lost" if merged.lost else ""
    open_end = f"; what {formats.plural(merged.unknown, 'number')} held is unknown" if merged.unknown else ""
    render.emit(
        f"{session_id_of(merged.session)}: "
        f"{formats.plural(len(merged.sources), 'session')} joined{lost}{open_end}"
    )
    return 1 if merged.lost else 0


def _text(line: bytes) -> str:
    """The text of a line in the text mirrors."""
    import orjson

    from Agent.config.text_mirrors import as_text

    return as_text({"level": "INFO", "logger": "", "message": "", "extra": {}, **orjson.loads(line)})


def _show_recovered(done: Recovered) -> None:
    name = session_id_of(done.session)
    for line in done.notes:
        render.note(line)
    if not done.changed:
        render.emit(f"{name}: nothing to do, {_account(done)}")
        return
    render.heading(f"Recovered {name}", _account(done))
    killed = _first_of([f"{each.writer} (process {each.pid})" for each in done.writers])
    render.pairs(
        [
            ("killed writers", killed or "none"),
            ("events read", formats.count(done.losses.total_read)),
            ("lost", formats.count(done.losses.total_lost)),
            ("unacknowledged", f"{done.losses.total_unacknowledged:,}{_why_unacknowledged(done)}"),
            ("unknown", formats.count(done.losses.total_unknown)),
            ("retired", formats.count(done.losses.total_retired)),
            (
                "torn ends",
                _first_of([f"{each.file}:{each.line_number}" for each in done.torn_tails]) or "none",
            ),
        ]
    )
    if done.open_spans:
        render.emit()
        render.table(
            done.open_spans[:_SHOWN_ROWS],
            Column("AGENT", "agent_id", formats.named),
            Column("STILL OPEN", "name"),
        )
        if len(done.open_spans) > _SHOWN_ROWS:
            render.note(f"and {len(done.open_spans) - _SHOWN_ROWS:,} more; --json has them all")


def _first_of(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN_ROWS:,} more"] if len(names) > _SHOWN_ROWS else []
    return ", ".join([*names[:_SHOWN_ROWS], *more])


def _why_unacknowledged(done: Recovered) -> str:
    """What unacknowledged events mean, which depends on the durability of their writers."""
    kinds = {each.durability for each in done.losses.writers if each.unacknowledged}
    if not kinds:
        return ""
    held_kinds = kinds & {"queued", "buffered"}
    if held_kinds:
        return f" (held in memory, durability {' and '.join(sorted(held_kinds))})"
    return " (calls had not returned)"


def _account(done: Recovered) -> str:
    return "nothing lost" if done.losses.clean else "events are lost, see agent-trace verify"


@command()
def verify(
    run: NewestSession,
    heads: Annotated[tuple[str, ...], "--head HEAD"],
    show_all: Annotated[bool, "--all"],
    root: Root,
) -> int:
    """Check that a session is complete and unedited.

    Accounts for every event of every writer, compares lines, artifacts and sealed parts with their digests,
    and names the first edited block. Exit code 1: events are lost or missing without an explanation, or
    something is damaged or edited. Calls cut off by a kill, events retired by a policy, and payloads that
    differ from the table of kinds (docs/FORMAT.md) are shown but are not failures. Without RUN: the newest
    session.

    Somebody who can write to the files can recompute their digests; only a head kept elsewhere detects that.

    Args:
        heads: A head that was kept elsewhere: of the session, or of a writer.
        show_all: Show every writer, and everything that is damaged.

    Examples:
        agent-trace verify
        agent-trace verify last --json
        agent-trace verify last --head "$KEPT_HEAD"
    """
    from Agent.archive.erase.erasing import plan_file
    from Agent.archive.verify import verify as verify_session

    verification = verify_session(find_session(root, parameters.session_of(run)), heads)
    if plan_file(root).exists():
        render.note("an erasure under this root was interrupted; agent-trace erase finishes it")
    render.document(verification.to_dict)
    _show_verification(verification, None if show_all else _SHOWN_ROWS)
    return 0 if verification.sound else 1


def _with_others(writers: Sequence[VerifiedWriter], most: int | None) -> Sequence[VerifiedWriter]:
    """At most so many writers, the killed and damaged ones first, and a row with the sums of the others."""
    if most is None or len(writers) <= most:
        return writers
    from Agent.archive.verify import VerifiedWriter

    first = sorted(
        writers,
        key=lambda row: (
            row.taken == row.read and not row.damaged_lines + row.torn_tails,
            row.state != "killed",
        ),
    )
    others = first[most:]
    sums = {
        each.name: sum(getattr(row, each.name) for row in others)
        for each in fields(VerifiedWriter)
        if each.name not in {"writer", "pid", "kind", "state"}
    }
    together = VerifiedWriter(writer=f"{len(others):,} others", pid=None, kind="", state="", **sums)
    return [*first[:most], together]


def _show_verification(verification: Verification, most: int | None) -> None:
    render.table(
        _with_others(verification.writers, most),
        Column("WRITER", "writer"),
        Column("PROCESS", "pid", spare=1),
        Column("STATE", "state", looks=_STATE_STYLES),
        Column("TAKEN", "taken", formats.count),
        Column("READ", "read", formats.count),
        Column("LOST", "lost", formats.count),
        Column("UNACK", "unacknowledged", formats.count),
        Column("UNKNOWN", "unknown", formats.count),
        Column("RETIRED", "retired", formats.count),
        Column("DAMAGED", "damaged_lines", formats.count),
        Column("TORN", "torn_tails", formats.count),
    )
    render.emit()
    if most is not None and len(verification.writers) > most:
        render.note(f"{most} of {len(verification.writers):,} writers shown; --all shows all")
    _note_first(
        "not read, since the .json that describes it is missing, and seal removes it: ",
        verification.undescribed_parts,
        "more",
    )
    _note_first("passed over: ", verification.passed_over, "more")
    _note_first("not as the table of kinds says: ", verification.odd_payloads, "more such differences")
    read = sum(row.read for row in verification.writers)
    name = session_id_of(verification.session)
    if not verification.uncounted:
        _show_chain(verification)
    for reason, number in verification.dropped.items():
        render.emit(f"{formats.plural(number, 'event')} could not be written: {render.clean(reason)}")
    _show_graphs(verification)
    if verification.sound:
        artifacts = formats.plural(verification.artifacts, "artifact")
        beside = f" and {artifacts}" if verification.artifacts else ""
        never = sum(verification.dropped.values())
        lacking = f"{never:,} never written" if never else "none lost"
        render.emit(f"{name} is sound: {formats.plural(read, 'event')}{beside} read, {lacking}")
        if verification.erased:
            render.note(
                f"{formats.plural(verification.erased, 'event')} of the retired ones were erased on request"
            )
        if any(row.state == "killed" for row in verification.writers):
            render.note(f"a writer was killed; agent-trace recover {name} finishes its session")
        return
    render.emit(render.paint(f"{name} is not sound: {', '.join(_faults(verification))}", fg="red"))
    _show_faults(verification, most)


def _note_first(beginning: str, subjects: Sequence[object], others: str) -> None:
    for each in subjects[:_SHOWN_ARTIFACTS]:
        render.note(f"{beginning}{render.clean(each)}")
    if len(subjects) > _SHOWN_ARTIFACTS:
        render.note(f"and {len(subjects) - _SHOWN_ARTIFACTS:,} {others}")


def _show_faults(verification: Verification, most: int | None) -> None:
    """Print what is damaged or edited, a line each, and the remedy for a damaged archive."""
    from Agent.archive.sealed.parts import OF_PART

    edits = [] if verification.chain is None else verification.chain.edits
    for kind in (
        list(map(str, edits)),
        [f"{each.path}: {each.problem}" for each in verification.damaged_artifacts],
        [f"{path}: differs from what was sealed" for path in verification.damaged_parts],
        [f"{each.path}: {each.problem}" for each in verification.damaged_files],
    ):
        _emit_first(kind, most)
    if verification.uncounted or verification.damaged_parts:
        lacking = "the archive's events were not counted; " if verification.uncounted else ""
        render.note(f"{lacking}{OF_PART}")
    changed = [f"{path}: its lines differ from those that were sealed" for path in verification.changed_files]
    _emit_first(changed, most)


def _emit_first(lines: Sequence[str], most: int | None) -> None:
    for line in lines[:most]:
        render.emit(f"  {render.clean(line)}")
    if most is not None and len(lines) > most:
        render.emit(f"  and {len(lines) - most:,} more; --all shows them")


def _show_chain(verification: Verification) -> None:
    """Print the result of the digest checks, apart from edits."""
    chain = verification.chain
    if chain is None:
        render.note(
            "recorded without digests of its lines: an edit that leaves a valid event cannot be detected"
        )
        return
    where = " of unedited files" if chain.edits else f" in {formats.plural(chain.blocks, 'block')}"
    render.emit(f"{formats.plural(chain.lines, 'line')}{where} match their digests")
    for why in sorted({gap.why for gap in chain.gaps}):
        gaps = [gap for gap in chain.gaps if gap.why == why]
        lines = formats.plural(sum(gap.lines for gap in gaps), "line")
        render.emit(f"{lines} of {formats.plural(sum(gap.blocks for gap in gaps), 'block')} were {why}")
        if unchecked := sum(gap.unchecked for gap in gaps):
            render.emit(
                f"{formats.plural(unchecked, 'other line')} of these blocks cannot be compared with the head"
            )
    if chain.uncovered:
        verb = "is" if chain.uncovered == 1 else "are"
        render.emit(f"{formats.plural(chain.uncovered, 'line')} {verb} in no block")
    render.emit(f"head {chain.head}")


def _show_graphs(verification: Verification) -> None:
    """Print what was found in the files of `TraceSaver` under the root."""
    for graph in verification.graph_files:
        for problem in graph.problems:
            render.emit(render.paint(f"{render.clean(graph.path)}: {problem}", fg="red"))
        if not graph.problems:
            saved = formats.plural(graph.checkpoints, "checkpoint")
            render.emit(
                f"{render.clean(graph.path)}: {saved} of {formats.plural(graph.threads, 'thread')} as saved"
            )


@command()
def prove(event_id: Annotated[str, "ID"], run: NewestSession, root: Root) -> None:
    """Prove that an event is part of a session.

    The proof is for somebody who has the head of the session. With --json: the event's line, and the digests
    between it and the head; the program in docs/RELIABILITY.md checks them without the session. Without RUN:
    the newest session.

    Examples:
        agent-trace prove k3v9q2ma-1042
        agent-trace prove k3v9q2ma-1042 --json
    """
    from Agent.archive.chain_check import prove_event

    proof = prove_event(find_session(root, parameters.session_of(run)), event_id)
    render.document(lambda: proof)
    render.emit(render.clean(f"{event_id} is in {proof['place']}"))
    closed = formats.moment(proof["time"])
    render.emit(
        f"block {proof['block']} of the {proof['blocks']} of writer {proof['writer']}, closed {closed} UTC"
    )
    render.emit(f"{formats.plural(len(proof['path']), 'digest')} from its line to the head of the session")
    render.emit(f"head {proof['head']}")


def _faults(verification: Verification) -> list[str]:
    """The reasons why a session is not sound, with counts."""
    edits = [] if verification.chain is None else verification.chain.edits
    counted = (
        (verification.damaged_lines, "damaged line", ""),
        (len(verification.damaged_artifacts), "damaged artifact", ""),
        (len(verification.damaged_parts), "damaged part", " of the archive"),
        (len(verification.damaged_files), "damaged file", ""),
        (len(verification.changed_files), "file", " changed since sealing"),
        (sum(bool(graph.problems) for graph in verification.graph_files), "damaged file", " of graph states"),
    )
    return [
        *([f"{verification.lost:,} lost"] if verification.lost else []),
        *([f"{verification.unknown:,} missing without an explanation"] if verification.unknown else []),
        *(f"{formats.plural(number, noun)}{rest}" for number, noun, rest in counted if number),
        *([f"{len(edits):,} edited or gone"] if edits else []),
    ]


def _parse(value: str, units: Mapping[str, float], subject: str) -> float:
    match = _NUMBER.fullmatch(value.strip())
    unit = None if match is None else units.get(match[2].lower())
    amount = math.inf if match is None or unit is None else float(match[1]) * unit
    if math.isinf(amount):  # also what has too many digits for a float
        raise click.BadParameter(f"{value!r} is not {subject}")
    return amount


def _age(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    return None if value is None else _parse(value, parameters.UNITS_S, "an age, write 12h, 30d or 4w")


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    return None if value is None else int(_parse(value, _UNITS_BYTES, "a size, write 500MB or 2GB"))


@command()
def prune(
    keep_sessions: Annotated[int | None, "--keep-sessions N", FROM_ZERO],
    older_than: Annotated[float | None, "--older-than AGE", {"type": str, "callback": _age}],
    max_bytes: Annotated[int | None, "--max-bytes SIZE", {"type": str, "callback": _size}],
    checkpoints: bool,
    failed_older_than: Annotated[float | None, "--failed-older-than AGE", {"type": str, "callback": _age}],
    keep_last: Annotated[int | None, "--keep-last N", FROM_ZERO],
    database: Annotated[str | None, "--database URL"],
    project: Annotated[str | None, "--project NAME"],
    dry_run: Annotated[bool, "--dry-run -n"],
    root: Root,
) -> None:
    """Remove whole sessions by policy, oldest first.

    A session is removed if any rule matches, but never while a process writes to it. After a kill, the next
    prune continues. The option max_session_bytes limits a running session. With --checkpoints, runs stay and
    their checkpoints are removed, those of failed and crashed runs later.

    Args:
        keep_sessions: Keep the newest N.
        older_than: Remove sessions that ended longer ago, such as 30d.
        max_bytes: Remove the oldest until the rest fits, such as 2GB.
        checkpoints: Remove checkpoints instead: after 14 days, those of failed runs after 90.
        failed_older_than: The age for checkpoints of failed runs.
        keep_last: For each agent in a successful run, keep only the last N, plus errors and phases.
        database: Delete from this database of the service instead: sessions and runs older than --older-than.
        project: Of this project of the database; default: default.
        dry_run: Show what would be removed, without removing it.

    Examples:
        agent-trace prune --keep-sessions 20 --dry-run
        agent-trace prune --older-than 30d --max-bytes 2GB
        agent-trace prune --checkpoints
        agent-trace prune --checkpoints --older-than 7d --failed-older-than 60d --keep-last 10
        agent-trace prune --database service.db --older-than 90d
    """
    if database is not None:
        others = (keep_sessions, max_bytes, failed_older_than, keep_last)
        if checkpoints or any(each is not None for each in others) or older_than is None:
            raise misuse("--database takes --older-than, --project and --dry-run")
        _prune_database(database, project or "default", older_than, dry_run=dry_run)
        return
    if checkpoints:
        if keep_sessions is not None or max_bytes is not None:
            raise misuse("--keep-sessions and --max-bytes are for whole sessions")
        prune_runs(root, older_than, failed_older_than, keep_last, dry_run=dry_run)
        return
    if failed_older_than is not None or keep_last is not None:
        raise misuse("--failed-older-than and --keep-last are for --checkpoints")
    from Agent.archive.prune import Policy
    from Agent.archive.prune import prune as prune_sessions

    def tell(session: PrunedSession) -> None:
        render.emit(f"removed {session.session_id}, {formats.size(session.size_bytes)}: {session.reason}")

    done = prune_sessions(
        root, Policy(keep_sessions, older_than, max_bytes), dry_run=dry_run, on_removed=tell
    )
    render.document(lambda: {"root": str(root), **done.to_dict()})
    _show_pruning(done)


def _prune_database(url: str, project: str, older_than_s: float, *, dry_run: bool) -> None:
    """Delete what is older from the service's database, and print how much that was."""
    from Agent.store import open_store

    before_us = round(max(time.time() - older_than_s, 0.0) * 1e6)
    with open_store(url, role="admin") as store:
        project_of_name = store.find_project(project)
        count_or_delete = store.count_older if dry_run else store.delete_older
        done = count_or_delete(project_of_name, before_us)
    render.document(lambda: {"database": store.url, "project": project, "dry_run": dry_run, **done._asdict()})
    runs, sessions = formats.plural(done.runs, "run"), formats.plural(done.sessions, "session")
    verb = "would be deleted" if dry_run else "deleted"
    render.emit(f"{sessions}, {runs} and {formats.plural(done.events, 'event')} {verb}")


def _show_pruning(done: Pruning) -> None:
    for session in done.sessions:
        if session.in_use is not None:
            render.note(f"{session.session_id} is kept although it is {session.reason}: {session.in_use}")
        elif done.dry_run:
            render.emit(
                f"would remove {session.session_id}, {formats.size(session.size_bytes)}: {session.reason}"
            )
    if done.finished:
        subject = formats.plural(done.finished, "removal")
        render.note(f"{subject} interrupted earlier {'would be finished' if done.dry_run else 'finished'}")
    verb = "would free" if done.dry_run else "freed"
    render.emit(
        f"{verb} {formats.size(done.freed_bytes)}; "
        f"{formats.plural(done.kept, 'session')} of {formats.size(done.kept_bytes)} "
        f"{'stays' if done.kept == 1 else 'stay'}"
    )


@command()
def seal(
    session: SomeSession,
    every: Annotated[bool, "--all"],
    remove: bool,
    encrypt: bool,
    restore: bool,
    keep_plain_days: Annotated[int | None, "--keep-plain-days N", FROM_ZERO],
    root: Root,
) -> int:
    """Convert finished segments to Parquet.

    Parquet takes a tenth of the space, and queries are faster with the same answers. Segments that a running
    process still writes, and those already sealed, are left alone. SESSION is an id, a unique prefix of one,
    a path, or last (the default).

    Args:
        every: Every session of the trace root.
        remove: Remove the JSON lines of sealed segments, once the copy has been read back byte by byte.
        encrypt: Write the session as one file, encrypted with the key in the file that
            AGENT_TRACE_ENCRYPTION_KEY_FILE names; with --remove nothing else of it stays.
        restore: Undo: restore the JSON lines exactly, and decrypt what is encrypted.
        keep_plain_days: With --all, only sessions that ended more than N days ago.

    Examples:
        agent-trace seal
        agent-trace seal --all --remove --keep-plain-days 30
        agent-trace seal 20261120_103045 --json
        agent-trace seal 20261120_103045 --encrypt --remove
    """
    if restore and (remove or encrypt):
        raise misuse("--restore takes neither --remove nor --encrypt")
    if keep_plain_days is not None and not every:
        raise misuse("--keep-plain-days is for --all")
    paths = parameters.sessions_of(session, root, every=every)
    if keep_plain_days is not None:
        from Agent.archive.prune import ended_before

        old = set(ended_before(root, time.time() - keep_plain_days * 86_400))
        paths = [path for path in paths if path in old]
        if not paths and not render.wants_json():
            render.note(f"no session ended more than {formats.plural(keep_plain_days, 'day')} ago")
            return 0
    if encrypt:
        render.give_each([_encrypt(path, _key(root), remove) for path in paths], every=every)
    else:
        done = [_restore(path, root) if restore else _seal(path, remove) for path in paths]
        render.give_each(done, every=every)
    return 0


def _key(root: Path) -> bytes:
    from Agent.config.keys import session_key

    key = session_key(root)
    if key is None:
        raise UsageError(
            "no key is given",
            remedy="openssl rand -hex 32 > FILE, chmod 600 FILE, and AGENT_TRACE_ENCRYPTION_KEY_FILE=FILE",
        )
    return key


def _encrypt(path: Path, key: bytes, remove: bool) -> dict[str, object]:
    from Agent.archive.encrypted import encrypt

    name = session_id_of(path)
    with render.working(f"encrypting {name}"):
        done = encrypt(path, key, remove=remove, as_text=_text)
    if done.already:
        render.emit(f"{name}: already encrypted, {formats.size(done.size_bytes)}")
    else:
        files = formats.plural(done.files, "file")
        render.emit(f"{name}: {files} encrypted, {formats.size(done.size_bytes)}")
    if done.removed:
        render.emit(f"{name}: {formats.plural(done.removed, 'readable file')} removed")
    elif not done.already:
        render.note("its readable files are still there; --remove removes them")
    return done.to_dict()


def _seal(path: Path, remove: bool) -> dict[str, object]:
    from Agent.archive.sealed.sealing import Sealed
    from Agent.archive.sealed.sealing import seal as seal_session

    name = session_id_of(path)
    if is_encrypted(path):
        render.emit(f"{name}: already sealed, and encrypted")
        return Sealed(path).to_dict()
    with render.bar(f"sealing {name}") as show:
        done = seal_session(path, remove, progress=lambda ready, total: show(ready / max(total, 1)))
    if done.segments:
        ratio = done.json_bytes / max(done.parquet_bytes, 1)
        render.emit(
            f"{name}: {formats.plural(done.segments, 'file')}, "
            f"{formats.plural(done.events, 'event')} sealed, "
            f"{formats.size(done.json_bytes)} in {formats.size(done.parquet_bytes)} (1/{ratio:.1f})"
        )
    elif done.already:
        render.emit(f"{name}: already sealed, {formats.plural(done.already, 'file')}")
    else:
        render.emit(f"{name}: nothing to seal")
    if done.removed:
        render.emit(
            f"{name}: {formats.plural(done.removed, 'JSON file')} removed, {formats.size(done.removed_bytes)}"
        )
    if done.damaged:
        render.note(f"{formats.plural(done.damaged, 'damaged line')} kept unchanged")
    if done.waiting:
        file, why = next(iter(done.waiting.items()))
        render.note(f"{formats.plural(len(done.waiting), 'file')} skipped: {file}: {why}")
    return done.to_dict()


def _restore(path: Path, root: Path) -> dict[str, object]:
    from Agent.archive.encrypted import decrypt
    from Agent.archive.sealed.reader import open_reader, unseal
    from Agent.config.keys import session_key

    if is_encrypted(path):
        key = session_key(root)
        if key is None:
            raise no_key(path)
        number = decrypt(path, key)
        render.emit(f"{session_id_of(path)}: {formats.plural(number, 'file')} decrypted")
    written = unseal(path)
    if not written and not open_reader(path).has_files():
        raise InputError(
            "the session has neither an archive nor log files",
            path=path,
            remedy="restore its archive/ from a copy",
        )
    names = [file.relative_to(path).as_posix() for file in written]
    render.emit(f"{path.name.removeprefix('session_')}: {formats.plural(len(names), 'file')} restored")
    return {"session": str(path), "restored": names}


_SHOWN_ERASED = 20
_FORMS = {
    "literal": "as it is",
    "JSON": "escaped for JSON",
    "URL": "quoted for a URL",
    "UTF-16 or 32": "in UTF-16 and UTF-32",
    "pieces of a stream": "in pieces of a stream",
    "base64": "inside base64",
}


@command()
def erase(
    agent: Annotated[str | None, "--agent ID"],
    run: Annotated[str | None, "--run ID"],
    match: Annotated[str | None, "--match VALUE"],
    yes: Annotated[bool, "--yes -y"],
    dry_run: Annotated[bool, "--dry-run -n"],
    root: Root,
) -> int:
    """Erase an agent, a run or a value, with proof.

    Removes whole events, artifacts and checkpoints from the logs, the mirrors, the archive and every cache
    under the trace root, then searches every byte for the erased data. Erased events count as retired, so the
    session stays sound. After a kill, the next erase continues; without an option, erase does only that. Exit
    code 1: something is left.

    Args:
        agent: Everything that an agent recorded, and the runs started for it.
        run: A run, its nested runs, and the session's events in them.
        match: Everything that contains this text, in any form used in a file.
        yes: Do not ask for confirmation.
        dry_run: Show what would be erased, without erasing it.

    Examples:
        agent-trace erase --agent creator_001 --dry-run
        agent-trace erase --match jane.doe@example.com
        agent-trace erase --run 01a1f918 --yes
        agent-trace erase
    """
    from Agent.archive.erase.erasing import erase as erase_from
    from Agent.archive.erase.erasing import pending

    target = _target(root, agent, run, match)
    if not dry_run and not yes:
        _confirm(target or pending(root), root)
    with render.bar("looking" if dry_run else "erasing") as show:
        done = erase_from(root, target, dry_run=dry_run, progress=lambda _step, part: show(part))
    render.document(lambda: {"root": str(root), **done.to_dict()})
    _show_erasure(done)
    encrypted = sum(is_encrypted(ref.path) for ref in list_sessions(root))
    if encrypted:
        sessions = formats.plural(encrypted, "encrypted session")
        render.note(f"not looked into: {sessions}; agent-trace seal SESSION --restore makes one readable")
    return 1 if done.proof is not None and not done.proof.clean else 0


def _target(root: Path, agent: str | None, run: str | None, match: str | None) -> Target | None:
    """The target from the options; None without any."""
    from Agent.archive.erase.erasing import pending, target_of

    if agent is run is match is None:
        return None
    target = target_of(agent=agent, run=run, match=match)
    before = pending(root)
    if run is None or (before is not None and (before.kind, before.value) == ("run", run)):
        return target
    ref = find_run(run, root)
    if ref.agent_id is not None:
        raise RunNotFound(f"{run!r} is an agent, not a run", path=root, remedy="use --agent")
    if ref.run_id is None:
        raise UsageError(
            f"{run!r} is a session, not a run",
            path=ref.session,
            remedy="remove its directory, or let agent-trace prune do so",
        )
    return target_of(run=ref.run_id)


def _confirm(target: Target | None, root: Path) -> None:
    """Ask for confirmation; raise if it is refused or there is no terminal."""
    if target is None:
        return  # nothing to erase, which is reported later
    if not sys.stdin.isatty():
        raise UsageError(
            "erase asks for confirmation, and there is no terminal", remedy="give --yes, or try --dry-run"
        )
    named = {"match": "everything that contains"}.get(target.kind, f"the {target.kind}")
    click.confirm(f"Erase {named} {target.value!r} from {root}? It cannot be undone.", abort=True, err=True)


def _show_erasure(done: Erasure) -> None:
    if done.resumed:
        render.note("finished an interrupted erasure; what it had erased before is not counted")
    verb = "would be erased" if done.dry_run else "erased"
    for session in done.sessions[:_SHOWN_ERASED]:
        parts = [
            formats.plural(number, noun)
            for number, noun in (
                (session.events, "event"),
                (session.artifacts, "artifact"),
                (session.checkpoints, "checkpoint"),
                (session.replays, "replay"),
                (session.runs, "run"),
                (session.damaged_lines, "damaged line"),
            )
            if number
        ]
        render.emit(f"{session.session_id}: {', '.join(parts) or 'the description'} {verb}")
    if len(done.sessions) > _SHOWN_ERASED:
        render.emit(f"and {formats.plural(len(done.sessions) - _SHOWN_ERASED, 'more session')}")
    if done.mirror_lines:
        render.emit(f"mirrors: {formats.plural(done.mirror_lines, 'line')} {verb}")
    if done.graph_checkpoints:
        render.emit(f"graphs: {formats.plural(done.graph_checkpoints, 'checkpoint')} {verb}")
    if not (done.sessions or done.mirror_lines or done.graph_checkpoints):
        render.emit("nothing like that is recorded here")
    if done.proof is not None:
        _show_proof(done.proof)


def _show_proof(proof: Proof) -> None:
    looked_for = ", ".join(text for form, text in _FORMS.items() if form in proof.forms)
    searched = (
        f"{formats.plural(proof.files, 'file')} of {formats.size(proof.size_bytes)} searched "
        f"({looked_for}), {proof.unpacked_files:,} of them unpacked"
    )
    if proof.clean:
        render.emit(f"proven: {searched}, nothing found")
    else:
        render.emit(render.paint(f"NOT ERASED: {searched}", fg="red"))
        for left in proof.left[:_SHOWN_ERASED]:
            render.emit(f"  {render.clean(left.file)}: {left.form}")
        if len(proof.left) > _SHOWN_ERASED:
            render.emit(f"  and {formats.plural(len(proof.left) - _SHOWN_ERASED, 'more file')}")
    if "base64" not in proof.forms:
        render.note("it is too short to be searched inside base64")
    for kind, number in proof.not_looked_into.items():
        render.note(f"{formats.plural(number, 'file')} of kind {kind} searched as raw bytes, not decoded")
