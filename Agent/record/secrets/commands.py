"""Finds the passwords of commands that are given as lists of words, as programs are started."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from Agent.record.secrets.introduced import COMMAND_FORMS
from Agent.record.secrets.issuers import COMMANDS, JOINED_OPTIONS, LOGINS, PASSWORD_OPTIONS, WHOLE_COMMANDS
from Agent.record.secrets.names import compiled, is_placeholder


def command_secrets(words: Sequence[str]) -> dict[int, int]:
    """Return {index of a word: offset in it} of the passwords in a command."""
    found: dict[int, int] = {}
    program = ""
    waits = ""  # the option whose value the next word is
    for index, word in enumerate(words):
        option, value, at = (waits, word, 0) if waits else (word[:2], word[2:], 2)
        waits = ""
        joined = program in JOINED_OPTIONS.get(option, ())
        if joined or program in PASSWORD_OPTIONS.get(option, ()):
            password = value.partition(":")[2] if program in _OF_USERS else value
            if password and (at or not value.startswith("-")) and not is_placeholder(password):
                found[index] = at
            waits = option if at and not value and not joined else ""
        elif program in PASSWORD_OPTIONS.get(word, ()):
            waits = word
        elif not word.startswith("-"):
            name = _name_of(word)
            if name in _PROGRAMS and not (name == "login" and program not in LOGINS):
                program = name
            if name in WHOLE_COMMANDS:
                found |= _of_command(words[index : index + _MOST_WORDS], WHOLE_COMMANDS[name], index)
    return found


_PROGRAMS: Final = COMMANDS | {"login", "ssh", "scp", "sftp", "rsync"}
"""The last four take other options after `sshpass`, so that its `-p` does not apply to them."""
_OF_USERS: Final = frozenset({"curl", "etcdctl", "http", "https"})
"""Their options take `user:password`, or a user alone."""
_JOINTS: Final = r"""[\s"'`|;&]"""
_MOST_WORDS: Final = 64
_FORMS: Final = {
    **COMMAND_FORMS,
    # no sentence begins with these words of a list, so that a token may be short
    "vault login ": r"vault login (?:-\S+ )*(?=\S*\d)(?P<secret>[^\s=\-][^\s=]{3,})(?:\s|\Z)",
}


def _name_of(word: str) -> str:
    return word.rpartition("/")[2].lower()


def _of_command(words: Sequence[str], literals: Sequence[str], first: int) -> dict[int, int]:
    """Return what the forms of command lines find in a command; `first` is the index of its program."""
    # what would end a word in a line is part of it here
    plain = [_name_of(words[0]), *(compiled(_JOINTS).sub("_", word) for word in words[1:])]
    starts = [0, *accumulate(len(word) + 1 for word in plain[:-1])]
    found: dict[int, int] = {}
    for literal in literals:
        for match in compiled(_FORMS[literal]).finditer(" ".join(plain)):
            index = bisect_right(starts, match.start("secret")) - 1
            at = match.start("secret") - starts[index]
            if not is_placeholder(words[index][at : at + len(match["secret"])]):
                found[first + index] = at
    return found
