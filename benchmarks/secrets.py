"""How often a secret stays in clear, and how often a harmless text is changed: `python -m benchmarks.secrets`.

    --gitleaks DIR   a checkout or a bare repository of gitleaks: the cases of its rules
    --logs DIR       the same of loghub (https://github.com/logpai/loghub): 2,000 lines of each of 16 systems
    --sources DIR    sources and documents, such as `site-packages`: at most 60,000 lines of them
    --second         what detect-secrets finds as well: of formats, and of the lines of --logs and --sources
    --shapes         our own shapes of secrets and harmless texts, each drawn five times
    --show           every case that went wrong

Every text goes the way of a message: the quick look over its bytes first, then the close one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.issuers import looks_clean
from benchmarks.gitleaks_cases import Rule, entropy, read_rules
from benchmarks.second_oracle import Line, generated, lines_of, lines_with
from benchmarks.shapes_of_secrets import harmless_values, secret_values

_PIECE = 12


def recorded(text: str, redactor: Redactor) -> str:
    """The text as a message of it would be recorded."""
    return text if looks_clean(orjson.dumps({"m": text})) else redactor.text(text)


def recorded_value(value: Any, redactor: Redactor) -> str:
    """A text as a message of it would be recorded, any other value as an argument of it would be."""
    return recorded(value, redactor) if isinstance(value, str) else _as_text(redactor.value(value, "", {}))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def stays(secret: str, clean: str) -> bool:
    """Whether the secret, or a piece of it of 12 characters, is left."""
    if len(secret) <= _PIECE:
        return secret in clean
    return any(secret[at : at + _PIECE] in clean for at in range(0, len(secret) - _PIECE + 1, 4))


def left_in_clear(rule: Rule, redactor: Redactor) -> list[str]:
    """The positive cases of a rule of which something is left."""
    left = []
    for case in rule.positives:
        clean, secret = recorded(case, redactor), rule.secret_in(case)
        # A rule may take the name with the secret, which stays; the secret is the longest of its words.
        if clean == case if secret is None else stays(max(secret.split(), key=len), clean):
            left.append(case)
    return left


def harmless(rules: Sequence[Rule]) -> list[str]:
    """The negative cases in which no rule of gitleaks finds a secret; many are another rule's positive ones."""
    negatives = [case for rule in rules for case in rule.negatives]
    return [case for case in negatives if not any(rule.calls_secret(case) for rule in rules)]


def changed(texts: Iterable[str], redactor: Redactor) -> list[tuple[str, str]]:
    """The texts that are not recorded as they are, each with what is recorded."""
    return [(text, clean) for text in texts if (clean := recorded(text, redactor)) != text]


_NAMES = re.compile(r"(?i)access|auth|api|credential|creds|key|passw(?:or)?d|secret|token")
_LEAST_BITS = 3.0
_TOKEN = re.compile(r"\[redacted:[0-9a-f]{16}\]")


def is_named_value(text: str, clean: str) -> bool:
    """Whether all that was replaced in a text is of 3 bits for each character, behind a name of gitleaks' generic rule."""
    before, *rest = _TOKEN.split(clean)
    at = len(before)
    for piece in rest:
        end = text.find(piece, at) if piece else len(text)
        if entropy(text[at:end]) < _LEAST_BITS or not _NAMES.search(text[max(0, at - 50) : at]):
            return False
        at = end + len(piece)
    return True


def half_of(rule: Rule) -> int:
    """0 or 1 by the name of a rule: one half was looked at while the classes were made, the other was not."""
    return sha256(rule.name.encode()).digest()[0] & 1


def log_lines(place: Path) -> list[str]:
    """The lines of loghub's samples."""
    git = ["git", f"--git-dir={place if (place / 'HEAD').is_file() else place / '.git'}"]
    listed = subprocess.run([*git, "ls-tree", "-r", "--name-only", "HEAD"], check=True, capture_output=True)
    lines: list[str] = []
    for path in listed.stdout.decode().splitlines():
        if path.endswith("_2k.log"):
            shown = subprocess.run([*git, "show", f"HEAD:{path}"], check=True, capture_output=True)
            lines += shown.stdout.decode("utf-8", "replace").splitlines()
    return lines


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks.secrets", description="The two error rates of redaction.")
    parser.add_argument("--gitleaks", type=Path, help="a checkout or a bare repository of gitleaks")
    parser.add_argument("--logs", type=Path, help="a checkout or a bare repository of loghub")
    parser.add_argument("--sources", type=Path, help="a folder of sources and documents")
    parser.add_argument("--second", action="store_true", help="compare with detect-secrets as well")
    parser.add_argument("--shapes", action="store_true", help="our own shapes of secrets and harmless texts")
    parser.add_argument("--show", action="store_true", help="print every case that went wrong")
    given = parser.parse_args(arguments)
    redactor = Redactor(b"a key of the measurement")
    if given.gitleaks is not None:
        _measure_rules(given.gitleaks, redactor, show=given.show)
    if given.second:
        _measure_formats(redactor, show=given.show)
    if given.shapes:
        _measure_shapes(redactor, show=given.show)
    if given.logs is not None:
        texts = log_lines(given.logs)
        lines = lines_with(texts) if given.second else [Line("log", text) for text in texts]
        _measure_lines("lines of public logs", lines, redactor, given)
    if given.sources is not None:
        _measure_lines("lines of sources", lines_of(given.sources, seen=given.second), redactor, given)
    return 0


def _measure_formats(redactor: Redactor, *, show: bool) -> None:
    found = generated()
    left = {
        sort: [text for text, secret in cases if stays(secret, recorded(text, redactor))]
        for sort, cases in found.items()
    }
    _print("kinds of detect-secrets of which a case stays in clear", sum(map(bool, left.values())), len(left))
    _print("cases of them", sum(map(len, left.values())), sum(map(len, found.values())))
    for sort, texts in left.items() if show else ():
        for text in texts[:4]:
            print(f"    {sort}: {text!r}")


def _measure_shapes(redactor: Redactor, *, show: bool) -> None:
    drawn, harmless_drawn = secret_values(), harmless_values()
    left = shapes_in_clear(redactor)
    _print("own shapes of secrets of which a drawn one stays in clear", len(left), len(drawn))
    wrong = shapes_changed(redactor)
    _print("own shapes of harmless texts of which a drawn one is changed", len(wrong), len(harmless_drawn))
    for name, values in (left | wrong).items() if show else ():
        print(f"    {name}: {len(values)}, such as {values[0]!r}")


def shapes_in_clear(redactor: Redactor) -> dict[str, list[Any]]:
    """Own shapes of secrets with the values of which something is left."""
    found = {
        name: [value for value, secret in values if stays(secret, recorded_value(value, redactor))]
        for name, values in secret_values().items()
    }
    return {name: values for name, values in found.items() if values}


def shapes_changed(redactor: Redactor) -> dict[str, list[Any]]:
    """Own shapes of harmless texts with the values that are not recorded as they are."""
    found = {
        name: [value for value in values if recorded_value(value, redactor) != _as_text(value)]
        for name, values in harmless_values().items()
    }
    return {name: values for name, values in found.items() if values}


def _measure_lines(what: str, lines: list[Line], redactor: Redactor, given: argparse.Namespace) -> None:
    wrong = changed((line.text for line in lines), redactor)
    _print(f"{what} changed", len(wrong), len(lines))
    if given.second:
        clean = dict(wrong)
        missed = [
            line
            for line in lines
            if any(stays(secret, clean.get(line.text, line.text)) for secret in line.named if secret)
        ]
        unseen = [line for line in lines if line.text in clean and not line.named and not line.drawn]
        _print(f"{what} changed in which detect-secrets finds nothing", len(unseen), len(lines))
        _print(f"{what} with a finding that stays", len(missed), sum(bool(line.named) for line in lines))
        print(f"    with entropy alone: {sum(bool(line.drawn) and not line.named for line in lines)}")
        for line in missed if given.show else ():
            print(f"    stays: {line.place} {line.named} {line.text.strip()[:160]!r}")
    if given.show:
        _show(wrong)


def _measure_rules(place: Path, redactor: Redactor, *, show: bool) -> None:
    rules, unread = read_rules(place)
    positive = [rule for rule in rules if rule.positives]
    left = {rule.name: found for rule in positive if (found := left_in_clear(rule, redactor))}
    cases, kept = sum(len(rule.positives) for rule in positive), sum(map(len, left.values()))
    _print("kinds of secrets of which a case stays in clear", len(left), len(positive))
    _print("positive cases that stay in clear", kept, cases)
    negatives = harmless(rules)
    wrong = changed(negatives, redactor)
    _print("negative cases in which no rule finds a secret, changed", len(wrong), len(negatives))
    others = [pair for pair in wrong if not is_named_value(*pair)]
    _print("    without those that hold a drawn value behind a name", len(others), len(negatives))
    for half in (0, 1):
        mine = [rule for rule in positive if half_of(rule) == half]
        _print(f"    kinds in half {half}", sum(rule.name in left for rule in mine), len(mine))
        texts = [case for rule in mine for case in rule.negatives if case in negatives]
        _print(f"    negative cases in half {half}", len(changed(texts, redactor)), len(texts))
    print(f"not read: {len(unread)} {unread}")
    if show:
        for name, found in left.items():
            print(f"{name}: {len(found)}")
            for case in found[:4]:
                print(f"    {case[:160]!r}")
        _show(wrong)


def _show(wrong: list[tuple[str, str]]) -> None:
    for text, clean in wrong:
        at = clean.find("[redacted:")
        print(f"    {text[max(0, at - 60) : at + 60]!r} -> {clean[max(0, at - 30) : at + 27]!r}")


def _print(what: str, count: int, total: int) -> None:
    print(f"{what}: {count} of {total} ({count / max(total, 1):.1%})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
