"""The positive and negative cases of gitleaks' rules, read out of its Go sources as data.

gitleaks (https://github.com/gitleaks/gitleaks) states for each rule texts that hold a secret and texts that
only look so. They are the oracle of `benchmarks.secrets`; nothing of them is kept here. The sources are read
from a checkout or a bare repository by `git archive`; expressions are evaluated as far as the cases use Go:
literals, `+`, lists, variables, and gitleaks' own generators of samples.
"""

from __future__ import annotations

import io
import math
import random
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_RULES = "cmd/generate/config"
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)|(?P<raw>`[^`]*`)|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<rune>'(?:[^'\\]|\\.)+')"""
    r"""|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?P<number>\d[\w.]*)|(?P<mark>:=|\.\.\.|.)""",
    re.DOTALL,
)
_LONGEST_REPEAT_ADDED = 1


@dataclass
class Rule:
    """One rule of gitleaks with its cases."""

    name: str
    positives: list[str] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)
    expression: re.Pattern[str] | None = None
    group: int = 0
    least_entropy: float = 0.0

    def secret_in(self, text: str) -> str | None:
        """What the rule calls the secret of a text, None where it finds none."""
        found = self.expression.search(text) if self.expression is not None else None
        if found is None:
            return None
        given = [one for one in found.groups() if one]
        return found[self.group] if self.group else (given[0] if given else found[0])

    def calls_secret(self, text: str) -> bool:
        """Whether the rule finds a secret in a text, drawn enough to be one."""
        secret = self.secret_in(text)
        return secret is not None and entropy(secret) >= self.least_entropy


def entropy(text: str) -> float:
    """Shannon's entropy of the characters, in bits."""
    counts = [text.count(char) / len(text) for char in set(text)]
    return -sum(share * math.log2(share) for share in counts)


class Unread(Exception):
    """An expression that is none of those that cases are made of."""


def sources(place: Path) -> dict[str, str]:
    """The files of the rules in a checkout or a bare repository, by path."""
    git_directory = place if (place / "HEAD").is_file() else place / ".git"
    packed = subprocess.run(
        ["git", f"--git-dir={git_directory}", "archive", "HEAD", _RULES, "config/gitleaks.toml"],
        check=True,
        capture_output=True,
    ).stdout
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                found[member.name] = file.read().decode()
    return found


def read_rules(place: Path, seed: int = 1) -> tuple[list[Rule], list[str]]:
    """The rules of gitleaks' configuration that have an expression, and what could not be read, as sentences."""
    files = sources(place)
    table = {rule["id"]: rule for rule in tomllib.loads(files["config/gitleaks.toml"])["rules"]}
    templates = _templates(files[f"{_RULES}/utils/generate.go"])
    shared: dict[str, Any] = {}
    rules: list[Rule] = []
    unread: list[str] = []
    for path, text in files.items():
        if not path.startswith(f"{_RULES}/rules/") or path.endswith("_test.go"):
            continue
        reader = _Reader(_tokens(text), templates, random.Random(f"{seed}/{path}"), shared)
        rules += reader.rules()
        unread += [f"{path}: {problem}" for problem in reader.unread]
    rules = [rule for rule in rules if "regex" in table.get(rule.name, {})]
    for rule in rules:
        stated = table[rule.name]
        rule.group, rule.least_entropy = stated.get("secretGroup", 0), stated.get("entropy", 0.0)
        try:
            rule.expression = re.compile(_as_python(stated["regex"]))
        except re.error as problem:
            unread.append(f"the expression of {rule.name}: {problem}")
    return rules, unread


def _as_python(expression: str) -> str:
    """An expression of Go's in Python's words: in Go `(?i)` holds from where it stands to the group's end."""
    for name, letters in {"alnum": "A-Za-z0-9", "alpha": "A-Za-z"}.items():
        expression = expression.replace(f"[:{name}:]", letters)
    parts: list[str] = []
    opened = [0]  # how many groups to close with each group
    for piece in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?i\)|.", expression, re.DOTALL):
        if piece == "(?i)":
            opened[-1] += 1
            parts.append("(?i:")
        elif piece == "(":
            opened.append(0)
            parts.append(piece)
        elif piece == ")":
            parts.append(")" * (opened.pop() + 1))
        else:
            parts.append(r"\Z" if piece == r"\z" else piece)
    return "".join(parts) + ")" * opened[0]


def _tokens(text: str) -> list[tuple[str, str]]:
    return [
        (match.lastgroup or "", match[0]) for match in _TOKEN.finditer(text) if match.lastgroup != "space"
    ]


def _literal(kind: str, text: str) -> str:
    if kind == "raw":
        return text[1:-1]
    return text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")


def _templates(text: str) -> list[str]:
    """The ways in which gitleaks sets a secret into code and configuration."""
    begin = text.index("samples := map[string]string{")
    tokens = _tokens(text[begin : text.index("replacer :=", begin)])
    return [
        _literal(*tokens[at + 1])
        for at in range(1, len(tokens) - 1)
        if tokens[at] == ("mark", ":") and tokens[at + 1][0] in {"raw", "text"}
    ]


class _Reader:
    """Evaluates the functions of one file that make rules."""

    def __init__(
        self,
        tokens: list[tuple[str, str]],
        templates: list[str],
        chance: random.Random,
        shared: dict[str, Any],
    ) -> None:
        self.tokens = [*tokens, ("end", ""), ("end", "")]
        self.templates, self.chance, self.shared = templates, chance, shared
        self.at = 0
        self.names: dict[str, Any] = {}
        self.unread: list[str] = []

    def rules(self) -> Iterator[Rule]:
        rule: Rule | None = None
        while self.tokens[self.at][0] != "end":
            kind, text = self.tokens[self.at]
            follows = self.tokens[self.at + 1][1]
            if (kind, text) == ("name", "func"):
                rule, self.names = None, {}
            elif text == "RuleID" and follows == ":":
                self.at += 2
                rule = Rule(self.expression())
                continue
            elif kind == "name" and follows in {":=", "="} and "." not in text:
                self._assign(text)
                continue
            elif text in {"utils.Validate", "utils.ValidateWithPaths"} and rule is not None:
                self.at += 1
                try:
                    _, positives, negatives = self.arguments()
                    rule.positives, rule.negatives = _texts(positives), _texts(negatives)
                except Unread as problem:
                    self.unread.append(f"{rule.name}: {problem}")
                yield rule
                continue
            self.at += 1

    def _assign(self, name: str) -> None:
        begin = self.at
        self.at += 2
        try:
            self.names[name] = self.shared[name] = self.expression()
        except Unread as problem:
            self.names[name] = problem
            self.at = begin + 2

    def expression(self) -> Any:
        value = self.primary()
        while self.tokens[self.at][1] == "+":
            self.at += 1
            value = value + self.primary()
        return value

    def primary(self) -> Any:
        kind, text = self.tokens[self.at]
        if kind == "end":
            raise Unread("the file ends")
        self.at += 1
        if kind in {"raw", "text"}:
            return _literal(kind, text)
        if text == "[" and self.tokens[self.at][1] == "]":
            self.at += 2
            return self.items()
        if text == "map":
            while self.tokens[self.at][1] != "{":
                self.at += 1
            return self.items()
        if kind == "name" and self.tokens[self.at][1] == "(":
            return self.call(text)
        if text == "nil":
            return []
        found = self.names.get(text, self.shared.get(text, Unread(f"no value for {text!r}")))
        if isinstance(found, Unread):
            raise found
        return found

    def items(self) -> list[Any]:
        """The items of a list or the values of a map; the names of files count for nothing here."""
        self.at += 1
        found = []
        while self.tokens[self.at][1] != "}":
            value = self.expression()
            if self.tokens[self.at][1] == ":":
                self.at += 1
                value = self.expression()
            found.append(value)
            self.at += self.tokens[self.at][1] == ","
        self.at += 1
        return found

    def arguments(self) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while self.tokens[self.at][1] != ")":
            if self.tokens[self.at][1] == "r":  # the rule itself
                self.at += 1
                value: Any = None
            else:
                value = self.expression()
            if self.tokens[self.at][1] == "...":
                self.at += 1
                found += value
            else:
                found.append(value)
            self.at += self.tokens[self.at][1] == ","
        self.at += 1
        return found

    def call(self, name: str) -> Any:
        begin = self.at
        function = name.rpartition(".")[2]
        if function == "generateTestValues" or function not in _CALLS:
            raise Unread(f"{name}()")
        try:
            given = self.arguments()
        except Unread:
            self.at = begin
            raise
        if function == "append":
            return [*given[0], *given[1:]]
        if function in {"NewSecret", "newPlausibleSecret"}:
            return some_of(given[0], self.chance)
        if function == "GenerateSampleSecrets":
            return [
                one.replace("{i}", given[0]).replace("{I}", given[0].upper()).replace("{s}", given[1])
                for one in self.templates
            ]
        if function == "GenerateSampleSecret":
            return f'{given[0]}_api_token = "{given[1]}"'
        if function == "Sprintf":
            return given[0] % tuple(given[1:])
        if function == "ToUpper":
            return given[0].upper()
        return _CLASSES[function] if not given else f"{_CLASSES[function]}{{{given[0]}}}"


_CLASSES = {
    "Numeric": "[0-9]",
    "Hex": "[a-f0-9]",
    "AlphaNumeric": "[a-z0-9]",
    "AlphaNumericExtendedShort": "[a-z0-9_-]",
    "AlphaNumericExtended": "[a-z0-9=_-]",
    "AlphaNumericExtendedLong": "[a-z0-9/=_+-]",
    "Hex8_4_4_4_12": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
_CALLS = {
    "append",
    "NewSecret",
    "newPlausibleSecret",
    "GenerateSampleSecrets",
    "GenerateSampleSecret",
    "Sprintf",
    "ToUpper",
    *_CLASSES,
}


def _texts(value: Any) -> list[str]:
    return [one for one in value or [] if isinstance(one, str)]


def some_of(expression: str, chance: random.Random) -> str:
    """A text that the expression matches, drawn by chance."""
    from re import _parser  # type: ignore[attr-defined]

    return _drawn(_parser.parse(_as_python(expression)), chance)


def _drawn(tree: Any, chance: random.Random) -> str:
    parts: list[str] = []
    for operation, given in tree:
        match str(operation):
            case "LITERAL":
                parts.append(chr(given))
            case "ANY":
                parts.append(chance.choice("abcxyz019"))
            case "IN":
                parts.append(chance.choice([*_members(given)]))
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = given
                count = chance.randint(least, min(most, least + _LONGEST_REPEAT_ADDED))
                parts += [_drawn(inner, chance) for _ in range(count)]
            case "SUBPATTERN":
                parts.append(_drawn(given[3], chance))
            case "BRANCH":
                parts.append(_drawn(chance.choice(given[1]), chance))
            case "AT" | "ASSERT" | "ASSERT_NOT":
                pass
            case other:
                raise Unread(f"{other} in an expression")
    return "".join(parts)


def _members(given: Any) -> Iterator[str]:
    words = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
    for operation, value in given:
        match str(operation), str(value):
            case "LITERAL", _:
                yield chr(value)
            case "RANGE", _:
                yield from map(chr, range(value[0], value[1] + 1))
            case "CATEGORY", "CATEGORY_WORD":
                yield from words
            case "CATEGORY", "CATEGORY_DIGIT":
                yield from "0123456789"
            case other:
                raise Unread(f"{other} in a class")
