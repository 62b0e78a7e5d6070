"""What must hold after a kill of whoever follows a session, recovers or seals one, or removes old ones.

`oracle` has judged the record itself; here somebody goes on where the one who was killed had come to.
"""

from __future__ import annotations

import json
from collections import Counter

from harness import Outcome
from keeping_programs import AS_IT_WAS, OLD_EVENTS, OLD_SESSIONS
from oracle import Verdict, difference, read_plainly, unfinished
from support.session_files import session_directories

from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import scan
from Agent.archive import open_reader, seal, unseal
from Agent.archive.prune import Policy, prune
from Agent.archive.recover import recover_session
from Agent.archive.sealed.parts import archive_dir
from Agent.archive.verify import verify
from Agent.tree.layout import list_sessions, tree_files
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader
from Agent.tree.retention import interrupted_removals


def judge_following(verdict: Verdict, outcome: Outcome) -> None:
    """Whether somebody who goes on at the cursor that was kept gets all the rest, and nothing before it again."""
    place = outcome.root.parent
    handed_on, saved = place / "handed_on.txt", place / "cursor.json"
    lines = handed_on.read_text().split("\n")[:-1] if handed_on.exists() else []
    kept = json.loads(saved.read_text()) if saved.exists() else {"count": 0, "cursor": None}
    sessions = session_directories(outcome.root)
    if len(sessions) != 1:
        return
    session = sessions[0]
    with Follower(session, cursor=kept["cursor"]) as follower:
        rest: list[str] = []
        while events := follower.poll():
            rest += [event.id for event in events]
    before = lines[: kept["count"]]
    verdict.expect(
        len(before) == kept["count"], f"the cursor counts {kept['count']} of {len(lines)} handed on"
    )
    no_lines = unfinished(session)
    complete = Counter(identity for identity in read_plainly(session).events if identity not in no_lines)
    verdict.expect(
        Counter(before + rest) == complete,
        f"with the cursor's rest one gets others: {difference(Counter(before + rest), complete)}",
    )


def judge_recovering(verdict: Verdict, outcome: Outcome) -> None:
    """Whether recovering once more changes no event, ends what was torn, and leaves an exact account."""
    for session in session_directories(outcome.root):
        before = read_plainly(session).events
        recover_session(session)
        after = read_plainly(session)
        verdict.expect(
            after.events == before, f"recovering changed events: {difference(after.events, before)}"
        )
        verdict.expect(not unfinished(session), "a line still lacks its newline")
        losses = TreeReader(session).losses()
        verdict.expect(losses.clean, f"recovered, losses() says {losses.to_dict()}")
        verdict.expect(losses.total_read == len(before), f"{losses.total_read} of {len(before)} are read")
        verdict.expect(not recover_session(session).changed, "recovering a third time changes something")
        found = verify(session)
        verdict.expect(found.sound, f"verify says {found.to_dict()}")


def judge_pruning(verdict: Verdict, outcome: Outcome) -> None:
    """Whether each old session is whole or gone, and pruning once more ends what was begun."""
    root = outcome.root.parent / "old"
    if not root.exists():
        return
    for again in (False, True):
        sessions = list_sessions(root)
        for session in sessions:
            events = len(read_plainly(session.path).of_kind("agent_action"))
            verdict.expect(
                events == OLD_EVENTS, f"{events} of {OLD_EVENTS} events are left of an old session"
            )
        if not again:
            verdict.expect(1 <= len(sessions) <= OLD_SESSIONS, f"{len(sessions)} old sessions")
            prune(root, Policy(keep_sessions=1))
    verdict.expect(len(list_sessions(root)) == 1, "pruning once more leaves other sessions than the newest")
    verdict.expect(not interrupted_removals(root), f"left: {interrupted_removals(root)}")


def judge_sealing(verdict: Verdict, outcome: Outcome) -> None:
    """Whether every event is there exactly once, live and sealed together, and every byte can be had again.

    So it must be as the kill left it, and once more after sealing again, which ends what was begun.
    """
    place = outcome.root.parent
    (was,) = session_directories(place / AS_IT_WAS)
    session = place / "old" / was.name
    before = {path.relative_to(was).as_posix(): path.read_bytes() for path in tree_files(was)}
    expected = Counter(event.id for event in TreeReader(was).events())
    damaged = TreeReader(was).losses().damaged_lines
    for again in (False, True):
        when = "sealed again" if again else "as the kill left it"
        read = Counter(event.id for event in open_reader(session).events())
        verdict.expect(read == expected, f"{when}, other events are read: {difference(read, expected)}")
        engine = open_engine(session)
        counted = Counter({row["id"]: row["n"] for row in engine.rows(_BY_ID)})
        told = sum(engine.damaged_lines().values())
        engine.close()
        verdict.expect(counted == expected, f"{when}, others are counted: {difference(counted, expected)}")
        verdict.expect(told == damaged, f"{when}, {told} of {damaged} damaged lines are counted")
        found = verify(session)
        verdict.expect(
            (found.lost, found.unknown, found.damaged_lines + found.torn_tails) == (0, 0, damaged),
            f"{when}, verify says {found.to_dict()}",
        )
        back = place / f"back-{again}"
        unseal(session, back)
        # a file that still stands is the record: what was sealed of it is a copy
        standing = {path.relative_to(session).as_posix(): path.read_bytes() for path in tree_files(session)}
        sealed = {path.relative_to(back).as_posix(): path.read_bytes() for path in tree_files(back)}
        verdict.expect(sealed | standing == before, f"{when}, other bytes: {sorted(sealed | standing)}")
        if not again:
            seal(session, remove=True)
    verdict.expect(not tree_files(session), "sealed again, JSON lines are left")
    left = [path.name for path in archive_dir(session).iterdir() if path.name.startswith(".")]
    verdict.expect(not left, f"left in the archive: {left}")


_BY_ID = f"SELECT id, count(*) AS n FROM {scan()} GROUP BY id"
