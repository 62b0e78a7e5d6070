"""Encodes values as bytes: plain payloads without secrets by the judge, all others by the slow path.

The judge scans keys and bytes, in C (`_native.c`) if the package was built with a compiler. The slow path is
the value codec with its tags and limits, then redaction of the result. In both cases the result is the inner
JSON of one object, without its braces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any, NamedTuple, Protocol

import orjson

from Agent.event import classes
from Agent.event.limits_of_time import pass_on
from Agent.event.pointers import escape
from Agent.event.values import class_contents, codecs, content_digest, opaque, plain, short_walk, values
from Agent.event.values.arrays import number_tag
from Agent.event.values.digest import ALGORITHM
from Agent.event.values.opaque import often_reference
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, exceeds, read_json, write_json
from Agent.event.values.reading import DEFAULT_LIMITS, Limits, Named, Places, Reading
from Agent.event.values.values import MOST_OF_FORM, form_of_named, form_of_reference, form_of_scalars, to_json
from Agent.record.encode.native import native
from Agent.record.encode.redaction import Redactor, hides_text
from Agent.record.secrets.issuers import (
    INNER_NAMES,
    NAME_ENDS,
    NAMES_NEARBY,
    OPENERS,
    OTHER_SCRIPTS,
    SAYING,
    SUFFIXES,
    literals,
    looks_clean,
)

if native is not None:
    values.are_few_scalars = native.are_few_scalars
    values.digest_of_scalars = native.digester(
        orjson.dumps, values.SORTED, ALGORITHM, values.digest_of_scalars
    )
    opaque.shown_of = native.shown
    values.attributes_version = native.attributes_version
    plain.most_needed = native.most_needed
    short_walk.copied = native.copied
    native.learn_pass(
        content_digest.USED_BY_PASS,
        *(codecs.ClassPlan, Places, opaque.ReachedObjects, codecs.plan_of.known, classes.places_of.known),
        *(codecs.exact_way.known, class_contents.reader_of.known, codecs.REGISTERED),
    )
    content_digest.run_pass = native.run_pass
    classes.in_slots = native.in_slots
AgentOf = Callable[[object], str | None]
MOST_WITH_AGENTS = 500
"""A field with more values that refers to other agents is an environment, not part of one agent's state."""
_MOST_IN_CALLS = 5_000
"""The same limit for an argument or result."""


_known_to_native: set[type] = set()


def _register(kind: type) -> None:
    """Register a numpy number type with the judge in C, which then encodes it as a plain value with a tag."""
    if native is None or kind in _known_to_native:
        return
    tag = number_tag(kind)
    if tag is not None:
        native.tag_numbers(kind, tag)
        _known_to_native.add(kind)


class EncodedField(NamedTuple):
    """A value that was encoded a moment ago."""

    identity: int
    """Its `id`: the value itself would stay alive."""
    json: bytes
    types: Types
    """Its tags, by pointers relative to it."""

    def is_whole(self, value: object) -> bool:
        """Whether it is this value, and every line holds all of it alike: nothing was cut or described."""
        return self.identity == id(value) and _PARTIAL.isdisjoint(self.types.values())


_PARTIAL = frozenset({"opaque", "truncated"})


class Capture:
    """Encodes payloads for one pipeline."""

    def __init__(
        self, redactor: Redactor, limits: Limits = DEFAULT_LIMITS, agent_of: AgentOf | None = None
    ) -> None:
        self.levels = redactor.levels
        self.strict = redactor
        """A redactor that searches texts, even if some levels keep texts unchanged."""
        if redactor.levels is not None and redactor.levels.keeps_texts:
            redactor = redactor.for_names_alone()
        self.redactor = redactor
        self.limits = limits
        self.known_keys = redactor.known_keys
        self.agent_of = agent_of
        self.careful_count = 0
        self._check = redactor.enabled
        self._judge_by(redactor)

    def _judge_by(self, redactor: Redactor) -> None:
        hides = redactor if redactor.enabled else None
        self.reading = Reading(hides=hides, most_with_agents=_MOST_IN_CALLS, keeps_content=True)
        self._of_constructors = self.reading._replace(most_with_agents=MOST_WITH_AGENTS)
        self.judge = make_judge(redactor, self.limits, partial(form_of_scalars, self.agent_of, hides))

    def at(self, level: str) -> Capture:
        """Return the capture of a level; for levels other than `full`, it also searches texts for secrets."""
        if level == "full" or self.redactor is self.strict:
            return self
        twin = copy(self)
        twin.redactor = self.strict
        twin._judge_by(self.strict)  # noqa: SLF001 - of the same class
        return twin

    def body(
        self, payload: Mapping[str, Any], pointer: str = "/extra", found: list[str] | None = None
    ) -> tuple[bytes, Types | None]:
        """Return the payload's inner JSON bytes, redacted, and the tags of values that JSON cannot hold.

        The top-level keys of `payload` count as harmless: this package defines them, or the caller checked
        them. `found` receives the secrets recognised by name.
        """
        judged = self.judge.tagged(payload, pointer)
        if judged is not None:
            return judged[0][1:-1], judged[1]
        return self.careful_body(payload, pointer, found)

    def constructor_body(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        pointer: str,
        positional: Mapping[int, str] | None = None,
    ) -> tuple[bytes, Types | None]:
        """Encode a constructor's arguments; a large one that refers to agents is recorded as a reference.

        Args:
            positional: the names of parameters that hold secrets, by the position of their arguments.
        """
        payload = {"args": list(args), "kwargs": kwargs}
        named = self._not_harmless(args, positional) if positional and self._check else None
        forms_alone = self._forms_alone((*args, *kwargs.values()))
        if named:
            judged = None
        elif not forms_alone:
            judged = self.judge.tagged(payload, pointer)
        else:
            judged = self.judge.tagged(payload, pointer, forms_alone, 1)
        if judged is not None and (not forms_alone or len(judged[0]) <= MOST_OF_FORM):
            return judged[0][1:-1], judged[1]
        reading = self._of_constructors
        is_short = len(args) + len(kwargs) <= _SHORT_CHARS and all(map(str.isascii, kwargs))
        if not is_short or not all(map(_stands_alone, (*args, *kwargs.values()))):
            return self.careful_body(payload, pointer, reading=reading, positional=named)
        self.careful_count += 1
        types: Types = {}
        forms: list[dict[str, Any]] = []
        listed = [
            self._standing_alone(value, f"{pointer}/args/{number}", reading, types, forms)
            for number, value in enumerate(args)
        ]
        by_name = [
            b"%s:%s"
            % (
                orjson.dumps(name),
                self._standing_alone(value, f"{pointer}/kwargs/{escape(name)}", reading, types, forms),
            )
            for name, value in kwargs.items()
        ]
        body = b'"args":[%s],"kwargs":{%s}' % (b",".join(listed), b",".join(by_name))
        if (
            self._check
            and not named
            and self.redactor.keys_pass(kwargs)
            and all(map(self._keys_known, forms))
            and self.judge.clean(body)
            and not hides_text(types)
        ):
            return body, self.redactor.tags(types) if types else None
        return self._redact(body, types or None, pointer, own_keys=frozenset(payload), positional=named)

    def _not_harmless(self, args: tuple[Any, ...], positional: Mapping[int, str]) -> dict[int, str]:
        """Return the names of the arguments whose values are no such numbers as are harmless under them."""
        redactor = self.redactor
        return {
            at: name
            for at, name in positional.items()
            if at < len(args) and redactor.says(name) and not redactor.keys_pass({name: args[at]})
        }

    def _forms_alone(self, values: tuple[Any, ...]) -> dict[int, dict[str, Any]]:
        """Return the forms of references with known keys, by id; {} if a value is of another kind."""
        forms: dict[int, dict[str, Any]] = {}
        if native is None or SCALARS.issuperset(map(type, values)):
            return forms
        try:
            for value in values:
                kind = type(value)
                if kind in SCALARS:
                    continue
                if type(kind) is not type:
                    return {}
                if often_reference(kind) is None:
                    if kind not in _known_to_native and number_tag(kind) is None:
                        return {}
                    _register(kind)
                    continue
                form = form_of_reference(value, self.agent_of, self._of_constructors)
                if form is None or not self._keys_known(form):
                    return {}
                forms[id(value)] = form
        except Exception as error:  # noqa: BLE001 - attributes that the class hides: each value by itself
            pass_on(error)
            return {}
        return forms

    def _standing_alone(
        self, value: Any, place: str, reading: Reading, types: Types, forms: list[dict[str, Any]]
    ) -> bytes:
        """Return the JSON of a value that `_stands_alone`, and add its tag and, of an object, its form."""
        if type(value) not in SCALARS:
            try:
                form = form_of_reference(value, self.agent_of, reading)
                raw = b"" if form is None else orjson.dumps(form)
            except Exception as error:  # noqa: BLE001 - attributes that the class hides, a surrogate: use the codec
                pass_on(error)
                form, raw = None, b""
            if form is not None and len(raw) <= MOST_OF_FORM:
                types[place] = "opaque"
                forms.append(form)
                return raw
        elif (short := _short_json(value)) is not None:
            return short
        encoded = to_json(value, place, self.limits, self.agent_of, reading)
        if encoded.types:
            types.update(encoded.types)
            forms.append(read_json(encoded.json))
        return encoded.json

    @staticmethod
    def joined(*bodies: tuple[bytes, Types | None]) -> tuple[bytes, Types | None]:
        """Return the inner JSON bytes of several bodies as one, and their tags."""
        types = {place: tag for _, tags in bodies if tags for place, tag in tags.items()}
        return b",".join(body for body, _ in bodies if body), types or None

    def careful_body(
        self,
        payload: Mapping[str, Any],
        pointer: str,
        found: list[str] | None = None,
        reading: Reading | None = None,
        environments: Mapping[str, dict[str, Any]] | None = None,
        positional: Mapping[int, str] | None = None,
        own_keys: frozenset[str] | None = None,
        encoded: Mapping[str, EncodedField] | None = None,
    ) -> tuple[bytes, Types | None]:
        """Return the same as `body` by the slow path, which encodes each value separately.

        Args:
            encoded: by key, what was encoded a moment ago.
            own_keys: the top-level keys that count as harmless; None for all.
        """
        self.careful_count += 1
        if native is not None:
            # A class with another metaclass is not a numpy number, and may run code when it is hashed.
            kinds = {each for each in map(type, payload.values()) if type(each) is type}
            for kind in kinds - SCALARS - _known_to_native:
                _register(kind)
        reading = self.reading if reading is None else reading
        parts: list[bytes] = []
        types: Types = {}
        for key, value in payload.items():
            if (short := _short_scalar(key, value)) is not None:
                parts.append(short)
                continue
            place = f"{pointer}/{escape(key)}"
            if environments and key in environments:
                parts.append(orjson.dumps({key: environments[key]})[1:-1])
                types[place] = "opaque"
                continue
            known = encoded.get(key) if encoded else None
            if known is not None and known.is_whole(value) and self.limits == DEFAULT_LIMITS:
                parts.append(orjson.dumps(key) + b":" + known.json)
                types.update({f"{place}{below}": tag for below, tag in known.types.items()})
                continue
            dumped = to_json(value, place, self.limits, self.agent_of, reading)
            parts.append(orjson.dumps(key) + b":" + dumped.json)
            if dumped.types:
                types.update(dumped.types)
        own_keys = frozenset(payload) if own_keys is None else own_keys
        return self._redact(
            b",".join(parts), types or None, pointer, own_keys=own_keys, found=found, positional=positional
        )

    def user_body(
        self,
        payload: Mapping[Any, Any],
        pointer: str,
        owner: str | None = None,
        places: Places | None = None,
        environments: Mapping[str, dict[str, Any]] | None = None,
        shows_references: bool = True,
        encoded: Mapping[str, EncodedField] | None = None,
    ) -> tuple[bytes, Types | None]:
        """Return the same as `body`, for a mapping whose keys are the user's.

        Args:
            owner: the agent whose fields these are; a large value with other agents becomes a reference.
            places: the places of the objects in all fields of the agent.
            environments: by key, the forms of values that are references to objects that contain agents.
            shows_references: whether references have the plain attributes of their objects.
            encoded: by key, what was encoded a moment ago.
        """
        are_known = False
        try:
            are_known = type(payload) is dict and self.redactor.keys_pass(payload)
            judged = None
            if are_known and shows_references:
                forms = _forms_of_references(payload, environments or {})
                if not forms:
                    judged = self.judge.tagged(payload, pointer)
                elif all(map(self._keys_known, forms.values())):
                    judged = self.judge.tagged(payload, pointer, forms)
            if judged is not None:
                return judged[0][1:-1], judged[1]
            if are_known and encoded and (body := self._encoded_body(payload, encoded, pointer)) is not None:
                return body
        except Exception as error:  # noqa: BLE001 - a key with a broken __hash__ or __eq__ goes the careful way
            pass_on(error)
            self.careful_count += 1
        reading = Reading(
            self.reading.hides,
            owner,
            self.reading.most_with_agents if owner is None else MOST_WITH_AGENTS,
            is_of_names=not are_known,
            places=places,
            keeps_content=owner is not None,
            shows_references=shows_references,
        )
        if are_known:
            # A name such as `password` passes above a small number, and is not harmless above other values.
            known = frozenset(self.known_keys.intersection(payload))
            return self.careful_body(
                payload,
                pointer,
                reading=reading,
                environments=environments,
                own_keys=known,
                encoded=encoded,
            )
        whole = to_json(payload, pointer, self.limits, self.agent_of, reading)
        raw, types = whole.json, whole.types
        if not raw.startswith(b"{") or (types and pointer in types):
            # Not a plain mapping with text keys: it is recorded under the key `value`, with its own tag.
            moved = {f"{pointer}/value{known[len(pointer) :]}": tag for known, tag in (types or {}).items()}
            return self._redact(b'"value":' + raw, moved or None, pointer, own_keys=frozenset({"value"}))
        return self._redact(raw[1:-1], types, pointer, own_keys=frozenset())

    def _encoded_body(
        self, payload: Mapping[str, Any], encoded: Mapping[str, EncodedField], pointer: str
    ) -> tuple[bytes, Types | None] | None:
        """Return the same as `careful_body`; None if a value is neither encoded nor plain."""
        parts: list[bytes] = []
        types: Types = {}
        for key, value in payload.items():
            known = encoded.get(key)
            if (
                known is not None
                and known.identity == id(value)
                and len(known.json) <= self.limits.unread_bytes
            ):
                parts.append(orjson.dumps(key) + b":" + known.json)
                types.update({f"{pointer}/{escape(key)}{below}": tag for below, tag in known.types.items()})
            elif (alone := _short_scalar(key, value)) is not None:
                parts.append(alone)
            elif (alone := self.judge.value({key: value})) is not None:
                parts.append(alone[1:-1])
            else:
                return None
        own_keys = frozenset(self.known_keys.intersection(payload))  # as in `user_body`
        return self._redact(b",".join(parts), types or None, pointer, own_keys=own_keys)

    def dumped_body(
        self, fields: Mapping[str, tuple[bytes, Types]], pointer: str
    ) -> tuple[bytes, Types | None]:
        """Return the same as `body`, for values that are already JSON, with tags relative to each value."""
        parts: list[bytes] = []
        types: Types = {}
        for key, (raw, tags) in fields.items():
            parts.append(orjson.dumps(key) + b":" + raw)
            types.update({f"{pointer}/{escape(key)}{below}": tag for below, tag in tags.items()})
        return self._redact(b",".join(parts), types or None, pointer, own_keys=frozenset())

    def _redact(
        self,
        body: bytes,
        types: Types | None,
        pointer: str,
        *,
        own_keys: frozenset[str],
        found: list[str] | None = None,
        positional: Mapping[int, str] | None = None,
    ) -> tuple[bytes, Types | None]:
        if types and self._check:
            types = self.redactor.tags(types)
        if positional:
            self.known_keys.update(own_keys)
            return self.redactor.payload(body, types, pointer, found, positional)
        stays = not self._check or self.judge.stays(body, own_keys)
        if not self._check or (stays and not (types and hides_text(types))):
            return body, types
        if own_keys and body.count(b'"') == 2 * len(own_keys) and (stays or self.judge.clean(body)):
            return body, types  # it has no texts but these keys
        value = read_json(b"{" + body + b"}")
        known_keys = self.known_keys
        if not stays:
            stays = (
                all(key in known_keys or key in own_keys for key in value)
                and all(map(self._keys_known, value.values()))
                and self.judge.clean(body)
            )
        if stays and not (types and hides_text(types, value, pointer, self.redactor.says)):
            return body, types
        self.known_keys.update(own_keys)
        return self.redactor.payload(body, types, pointer, found)

    def _keys_known(self, value: Any) -> bool:
        """Whether every key in a JSON value is known to be harmless."""
        if type(value) is dict:
            if not self.redactor.keys_pass(value):
                for key in value:
                    self.redactor.says(key)  # new ones may become known
                if not self.redactor.keys_pass(value):
                    return False
            value = value.values()
        elif type(value) is not list:
            return True
        for item in value:
            if (type(item) is dict or type(item) is list) and not self._keys_known(item):
                return False
        return True


def _forms_of_references(
    payload: Mapping[Any, Any], environments: Mapping[str, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Return the forms of values that are recorded as references, by their ids."""
    forms = {id(payload[name]): form for name, form in environments.items() if name in payload}
    for value in payload.values():
        if type(value) is Named:
            forms[id(value)] = form_of_named(value)
    return forms


def _stands_alone(value: Any) -> bool:
    """Whether a value's JSON is independent of other values: a scalar, or an object recorded by name."""
    kind = type(value)
    if kind in SCALARS:
        return kind is not str or len(value) <= _SHORT_CHARS
    return type(kind) is type and (number_tag(kind) is not None or often_reference(kind) is not None)


def _short_scalar(key: Any, value: Any) -> bytes | None:
    """Return the JSON of a key with a short scalar; None for all other values, which need the codec."""
    if type(key) is not str or len(key) > _SHORT_CHARS or (short := _short_json(value)) is None:
        return None
    try:
        return orjson.dumps(key) + b":" + short
    except TypeError:  # a lone surrogate
        return None


def _short_json(value: Any) -> bytes | None:
    """Return the JSON of a short scalar; None for all other values."""
    kind = type(value)
    if kind is float:
        is_short = value - value == 0.0
    elif kind is str:
        is_short = len(value) <= _SHORT_CHARS
    else:
        is_short = kind is int or kind is bool or value is None
    try:
        return orjson.dumps(value) if is_short else None
    except TypeError:  # a lone surrogate, an integer over 64 bit
        return None


_SHORT_CHARS = 64
Types = dict[str, str]
Noted = Callable[[dict[str, Any], frozenset[str], dict[str, bytes]], tuple[bytes, Types | None] | None]
"""`Judge.noted` for one pointer."""

_MAX_PLAIN_DEPTH = 8
# With these options orjson writes times as text, and the native judge adds the tags.
_TAG_OPTIONS = DUMP_OPTIONS & ~orjson.OPT_PASSTHROUGH_DATETIME
# Constants of the native judge; it is used only if the configured limits are at least as large.
_NATIVE_DEPTH, _NATIVE_ITEMS = 16, 4096


class Judge(Protocol):
    """Checks the payloads of one pipeline; None as a result, also after an error, means the slow path."""

    def line_end(self, payload: dict[str, Any], /) -> bytes | None:
        """Return the end of a line whose payload is plain, with known keys and without secrets.

        The result is the payload's JSON after its first brace, and the end of the event.
        """

    def tagged(
        self, payload: Any, pointer: str, forms: dict[int, dict[str, Any]] = ..., below: int = ..., /
    ) -> tuple[bytes, Types | None] | None:
        """Like `line_end`, with tags, for payloads with times, UUIDs, tuples and simple objects.

        Args:
            forms: the forms of values of the payload, by their ids.
            below: how many containers in the payload may be around these values.
        """

    def value(self, value: Any, /) -> bytes | None:
        """Return the JSON of one plain value with known keys; its texts are not searched for secrets."""

    def clean(self, raw: bytes, /) -> bool:
        """Return whether JSON bytes contain nothing in the format of a secret."""

    def stays(self, body: bytes, own: frozenset[str], /) -> bool:
        """Return whether inner JSON has only known keys, or at its top `own` ones, and no secret."""

    def noted(
        self, last: dict[str, Any], heavy: frozenset[str], forms: dict[str, bytes], pointer: str, /
    ) -> tuple[bytes, Types | None] | None:
        """Return the inner JSON and the tags of what a tracker knows of a garbage-collected agent.

        Args:
            last: by field, the scalars and the bytes by which it compared values; without those in `heavy`.
            forms: by field, the JSON of objects.
        """


KeysPass = Callable[[Mapping[str, Any]], bool]
"""Whether every key of a mapping is harmless for its value (`Redactor.keys_pass`)."""
FormOf = Callable[[Any], dict[str, Any] | None]


def make_judge(redactor: Redactor, limits: Limits, form_of: FormOf | None = None) -> Judge:
    """Return the fastest available judge for these limits.

    Args:
        form_of: returns the replacement of an object without a codec, or None if that needs the slow path.
    """
    if native is None or limits.max_depth < _NATIVE_DEPTH or limits.max_items < _NATIVE_ITEMS:
        return SweepingJudge(redactor, limits)
    judge: Judge = native.Judge(
        known_keys=redactor.known_keys,
        number_keys=redactor.number_keys,
        dumps=orjson.dumps,
        looks_clean=looks_clean if redactor.enabled and redactor.reads_texts else None,
        options=DUMP_OPTIONS,
        tag_options=_TAG_OPTIONS,
        unread_bytes=limits.unread_bytes,
        prefixes=literals().beginnings,
        heads=literals().heads,
        near_names=NAMES_NEARBY,
        name_ends=NAME_ENDS,
        suffixes=SUFFIXES,
        inner_names=INNER_NAMES,
        other_scripts=OTHER_SCRIPTS,
        saying=SAYING,
        openers=OPENERS,
        form_of=form_of,
    )
    if redactor.enabled and redactor.reads_texts:
        redactor.looks_clean = judge.clean
    return judge


class SweepingJudge:
    """The judge in Python, which does not support tags."""

    def __init__(self, redactor: Redactor, limits: Limits) -> None:
        self._keys_pass = redactor.keys_pass
        self._check = redactor.enabled and redactor.reads_texts
        self._unread_bytes = limits.unread_bytes

    def line_end(self, payload: dict[str, Any], /) -> bytes | None:
        """See `Judge`."""
        raw = self._plain(payload, known=False) if type(payload) is dict else None
        return None if raw is None or not self.clean(raw) else raw[1:] + b"}\n"

    def tagged(
        self,
        payload: Any,
        pointer: str,  # noqa: ARG002
        forms: dict[int, dict[str, Any]] | None = None,  # noqa: ARG002
        below: int = 0,  # noqa: ARG002
        /,
    ) -> tuple[bytes, Types | None] | None:
        """See `Judge`; here no value has a tag."""
        raw = self._plain(payload, known=False) if type(payload) is dict else None
        return None if raw is None or not self.clean(raw) else (raw, None)

    def value(self, value: Any, /) -> bytes | None:
        """See `Judge`."""
        return self._plain(value, known=True)

    def clean(self, raw: bytes, /) -> bool:
        """See `Judge`."""
        return not self._check or looks_clean(raw)

    def stays(self, body: bytes, own: frozenset[str], /) -> bool:  # noqa: ARG002
        """See `Judge`; here the JSON is always parsed."""
        return False

    def noted(self, *_given: Any) -> None:
        """See `Judge`; here each value is encoded separately."""

    def _plain(self, value: Any, *, known: bool) -> bytes | None:
        """Return the JSON of a plain value; with `known`, its top-level keys are checked, too."""
        try:
            if exceeds(value, self._unread_bytes):
                return None
            values = (value,) if known else value.values()
            if not all(is_plain(each, self._keys_pass) for each in values):
                return None
            raw = write_json(value, DUMP_OPTIONS)
        except Exception as error:  # noqa: BLE001 - an unhashable key, or a dict that another thread changes
            pass_on(error)
            return None
        return raw if len(raw) <= self._unread_bytes else None


def is_plain(value: Any, keys_pass: KeysPass, depth: int = 0) -> bool:
    """Whether JSON holds a value exactly and every key in it is known to be harmless."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth > _MAX_PLAIN_DEPTH or (kind is dict and not keys_pass(value)):
            return False
        items = value.values() if kind is dict else value
        return all(is_plain(item, keys_pass, depth + 1) for item in items)
    return kind in SCALARS and (kind is not float or value - value == 0.0)
