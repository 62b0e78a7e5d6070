"""The mirrors by category rebuilt from the recording of all sessions under a root."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from Agent.archive.sealed.reader import open_reader
from Agent.errors import InputError, SessionInUse
from Agent.event.codec import encode_event
from Agent.event.kinds import LEVELS
from Agent.event.model import Event, RedactedBytes
from Agent.event.payloads import KINDS
from Agent.tree.layout import MIRROR_FILES, list_sessions
from Agent.tree.retention.retention import delete_tree, living_writers
from Agent.tree.write.mirror import Mirrors

__all__ = ["rebuild_mirrors"]

_MAKING: Final = ".mirrors-"
_BATCH_LINES: Final = 64
_TEXT: Final = ".text"


def rebuild_mirrors(
    root: Path,
    *,
    as_text: Callable[[bytes], str] | None = None,
) -> dict[str, int]:
    """Make every mirror under a root again, session after session, each in its order.

    They are made beside the old ones and take their places at the end; killed before that, nothing has
    changed, and the next one begins again.

    Args:
        root: the trace root.
        as_text: a line as the text twins show it; without it they are left out.

    Returns:
        How many lines each category got.

    Raises:
        SessionInUse: a process records under that root, and writes to the mirrors itself.
        OSError: they cannot be written.
    """
    for ref in list_sessions(root):
        living = living_writers(ref.path)
        if living:
            raise SessionInUse(
                f"process {min(living.values())} records here and writes to the mirrors",
                path=ref.path,
                remedy="rebuild them when no process records",
            )
    for left in root.glob(f"{_MAKING}*"):
        delete_tree(left)
    place = root / f"{_MAKING}{os.urandom(4).hex()}"
    place.mkdir(mode=0o700)
    counts = _fill(root, place, as_text)
    for category, name in MIRROR_FILES.items():
        if as_text is not None or not category.endswith(_TEXT):
            _take_place(root / name, place / name)
    delete_tree(place)
    return dict(counts)


def _fill(
    root: Path,
    place: Path,
    as_text: Callable[[bytes], str] | None,
) -> Counter[str]:
    mirrors = Mirrors(place)
    # closed from the start: what is added is written at once, by this thread
    mirrors.close()
    waiting: defaultdict[str, list[bytes]] = defaultdict(list)
    counts: Counter[str] = Counter()

    def write(category: str) -> None:
        mirrors.add(category, RedactedBytes(b"".join(waiting.pop(category, []))))

    for ref in list_sessions(root):
        for event in open_reader(ref.path).events():
            line = encode_event(event)
            for category in _categories(event):
                counts[category] += 1
                waiting[category].append(line)
                if as_text is not None and category + _TEXT in MIRROR_FILES:
                    waiting[category + _TEXT].append(as_text(line).encode("utf-8", "replace"))
                if len(waiting[category]) >= _BATCH_LINES:
                    write(category)
                    write(category + _TEXT)
    for category in list(waiting):
        write(category)
    mirrors.close()
    failures = mirrors.counts.snapshot()
    if failures:
        raise InputError(
            f"the mirrors could not be written: {', '.join(sorted(failures))}",
            path=place,
            remedy="free space, or change the permissions; the old ones are unchanged",
        )
    return counts


def _categories(event: Event) -> set[str]:
    """The mirrors that show an event: that of its category, and that of errors where it is one."""
    kind = KINDS.get(event.kind)
    if kind is None or event.kind == "log":
        # a free message belongs to whose logger wrote it
        first = event.logger.partition(".")[0]
        plural = {"agent": "agents", "interaction": "interactions"}.get(first, first)
        category = plural if plural in MIRROR_FILES else "agents" if event.agent_id is not None else "system"
    else:
        category = str(kind.category)
    found = {category if category in MIRROR_FILES else "events"}
    if LEVELS.get(event.level, 0) >= LEVELS["ERROR"]:
        found.add("errors")
    return found


def _take_place(old: Path, new: Path) -> None:
    """Put a mirror and its backups where the old ones stand."""
    for path in sorted(old.parent.glob(f"{old.name}*")):
        if path.name == old.name or path.name.removeprefix(f"{old.name}.").isdigit():
            path.unlink()
    for path in sorted(new.parent.glob(f"{new.name}*")):
        old.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(old.parent / path.name)
