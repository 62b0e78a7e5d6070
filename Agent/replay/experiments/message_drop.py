"""Messages that are held back: taken away where they wait, or taken out of what a call is given.

`player.py` looks for one after each call; `experiment.py` changes arguments.
"""

from __future__ import annotations

import gc
from collections import deque
from typing import Any

from Agent.record.messages import Message

_MAX_SEARCHES = 100
"""So often a message that is to be dropped is looked for: each time all objects are."""


class DroppedMessage:
    """A message that was sent and is taken away from wherever it waits: lists, queues, sets, mappings.

    Args:
        message_id: its id in this fork.
    """

    def __init__(self, message_id: str) -> None:
        self._id = message_id
        self._searches = 0
        self.is_gone = False
        gc.unfreeze()  # what is frozen is not found
        self._message: Message | None = None

    @property
    def message_id(self) -> str:
        """Its id in this fork."""
        return self._id

    def take_away(self) -> None:
        """Look for it, once more."""
        if self.is_gone or self._searches >= _MAX_SEARCHES:
            return
        self._searches += 1
        if self._message is None:
            self._message = next(
                (each for each in gc.get_objects() if type(each) is Message and each.id == self._id), None
            )
        if self._message is not None:
            self.is_gone = _taken_from_all(self._message)


def _taken_from_all(message: object) -> bool:
    """Whether anything held it that could give it up, also inside a tuple, as queues by priority do."""
    found = False
    for holder in gc.get_referrers(message):
        if type(holder) is tuple:
            outer = [each for each in gc.get_referrers(holder) if _taken_from(each, holder)]
            found = found or bool(outer)
        else:
            found = _taken_from(holder, message) or found
    return found


def _taken_from(holder: object, item: object) -> bool:
    if isinstance(holder, (list, deque)):
        places = [place for place, each in enumerate(holder) if each is item]
        for place in reversed(places):
            del holder[place]
        return bool(places)
    if isinstance(holder, set):
        holder.discard(item)
        return True
    if isinstance(holder, dict):
        # attributes and variables stand in mappings too, by their names: those are not queues
        own = getattr(item, "id", None)
        keys = [key for key, each in holder.items() if each is item and (key == own or not _is_name(key))]
        for key in keys:
            del holder[key]
        return bool(keys)
    return False


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier()


def without_message(value: Any, message_id: str) -> Any:
    """A value with the message taken out of every list and mapping in it; GONE where it is the message."""
    return _without(value, message_id, {})


def _without(value: Any, message_id: str, made: dict[int, tuple[Any, Any]]) -> Any:
    if _is_message(value, message_id):
        return GONE
    if not isinstance(value, (list, tuple, deque)) and type(value) is not dict:
        return value
    if id(value) in made:
        return made[id(value)][1]
    made[id(value)] = value, value  # within itself a value stays as it is
    kept: Any
    if type(value) is dict:
        items = {key: _without(item, message_id, made) for key, item in value.items()}
        kept = {key: item for key, item in items.items() if item is not GONE}
    else:
        parts = [_without(item, message_id, made) for item in value]
        parts = [item for item in parts if item is not GONE]
        kept = type(value)(parts) if type(value) in {list, tuple, deque} else value
    made[id(value)] = value, kept
    return kept


def _is_message(value: Any, message_id: str) -> bool:
    if isinstance(value, Message):
        return value.id == message_id
    return type(value) is dict and message_id in {value.get("id"), value.get("message_id")}


GONE: Any = object()
"""What is left of a value that was nothing but the message."""


def same_message(recorded: Any, given: Any, message_id: str) -> str:
    """The id of the message that stands where a recorded one stood; the recorded one where none does."""
    if isinstance(recorded, dict):
        own = recorded.get("id", recorded.get("message_id"))
        if own == message_id:
            new = given.id if isinstance(given, Message) else None
            if isinstance(given, dict):
                new = given.get("id", given.get("message_id"))
            return str(new) if new is not None else message_id
        found = given if isinstance(given, dict) else {}
        pairs = [(value, found.get(key)) for key, value in recorded.items()]
    elif isinstance(recorded, list) and isinstance(given, (list, tuple)):
        pairs = list(zip(recorded, given, strict=False))
    else:
        return message_id
    ids = (same_message(one, other, message_id) for one, other in pairs)
    return next((each for each in ids if each != message_id), message_id)
