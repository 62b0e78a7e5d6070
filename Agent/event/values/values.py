"""Encode any Python value as plain JSON with sparse tags, and decode it exactly where possible.

`encode_value` starts the walk of `walk.py`; `decode_value` applies the tags by the table in `codecs.py`, or
rebuilds a graph of objects. `to_json` turns a value into bytes, in a faster way if possible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from types import CellType, FunctionType
from typing import Any, NamedTuple

import orjson

from Agent.event.classes import attributes_of, class_name, forgetting, own_attributes, restore_attributes
from Agent.event.limits_of_time import pass_on
from Agent.event.pointers import copy_tree, escape, fold_tags, leads_to, value_at
from Agent.event.script_names import class_text, directories, imported, without_script
from Agent.event.values.arrays import number_tag
from Agent.event.values.class_codecs import Binding, bare_instance, pairs_of
from Agent.event.values.codecs import (
    BUILDERS,
    REGISTERED,
    REGISTERED_NAMES,
    is_plain_class,
    plan_of,
    registered_codec,
    with_own,
)
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import ALGORITHM, digest_bytes
from Agent.event.values.opaque import (
    CONTENT,
    CYCLE,
    LARGE_BYTES,
    NAMED,
    OBJECT,
    SAME,
    SHARED,
    SHOWN_ATTRIBUTES,
    STAND_IN,
    TEXT_CHARS,
    Content,
    OpaqueKind,
    describe,
    is_name_of_lock,
    make_lock,
    often_reference,
    shorten,
)
from Agent.event.values.parts import CELL, LOCAL, PART_BUILDERS, local_code, name_of, named_object
from Agent.event.values.plain import (
    DUMP_OPTIONS,
    SCALARS,
    all_scalars,
    all_strings,
    any_may_be_made,
    any_nonfinite,
    census,
    exceeds,
    plain_bytes,
    read_json,
    write_json,
)
from Agent.event.values.reading import DEFAULT_LIMITS, USUAL, AgentOf, Hides, Limits, Named, Reading
from Agent.event.values.short_walk import common_bytes
from Agent.event.values.walk import BudgetSpent, RepeatsSpent, Walk


class Encoded(NamedTuple):
    """A recorded value."""

    value: Any
    """Plain JSON that shares nothing with the original."""
    types: dict[str, str]
    """{JSON Pointer: tag}, empty for plain values."""
    opaque: tuple[str, ...]
    """Pointers of parts that cannot be restored."""


def encode_value(
    value: object,
    pointer: str = "",
    limits: Limits = DEFAULT_LIMITS,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
) -> Encoded:
    """Return the value as plain JSON with tags; never raises.

    Args:
        value: anything.
        pointer: the value's place in its event, as a JSON Pointer; prefix of all pointers in the result.
        limits: parts that exceed them are cut.
        agent_of: distinguishes agents from other objects; an agent is recorded as its id.
        reading: how the content of values without a codec is read.
    """
    failure: Exception | None = None
    for cutting in (False, True):  # cuts add bytes, for which the second walk leaves room in its budget
        if not cutting and _is_surely_cut(value, limits):
            continue
        try:
            walk = Walk(limits, agent_of, cutting=cutting, reading=reading, start=pointer)
            return Encoded(walk.whole(value, pointer), walk.types, tuple(walk.opaque))
        except BudgetSpent as error:  # too large: walk it again, and cut it
            failure = error
            if type(error) is RepeatsSpent:
                limits = limits.usual()
        except Exception as error:  # noqa: BLE001 - recording must not raise into the recorded program
            pass_on(error)
            failure = error
            break
    return _given_up(value, pointer, failure)


def _is_surely_cut(value: Any, limits: Limits) -> bool:
    """Whether a container has more values than the limits allow, so that only a cutting walk ends."""
    try:
        if limits.max_items > limits.max_repeats:
            return False  # repeats may change the limits first
        return census(value, limits.max_items, limits.max_depth).nodes > limits.max_items
    except Exception as error:  # noqa: BLE001 - another thread changes the value, or there is no memory
        pass_on(error)
        return False


def _given_up(value: object, pointer: str, error: BaseException | None) -> Encoded:
    name = class_name(type(value))
    form = {"repr": shorten(f"<{name} object>"), "class": name, "failure": class_name(type(error))}
    return Encoded({**form, "unseen": "it could not be read"}, {pointer: "opaque"}, (pointer,))


def decode_value(
    value: Any,
    types: Mapping[str, str] | None,
    pointer: str = "",
    codecs: Mapping[str, Any] | None = None,
    unrestored: list[str] | None = None,
) -> Any:
    """Return the Python value of a recorded one; parts that cannot be resolved become `Unrestored`.

    Args:
        value: the recorded JSON; it is not changed and shares nothing with the result.
        types: the tags of its event.
        pointer: the value's place in the event.
        codecs: {`module.QualName` in a tag: the class to use}; the factory of a defaultdict may be any
            callable. `agent` may map to a callable from an agent's id to the object, `stand_in` to one from
            a class name to the replacement of a task of the recorded process.
        unrestored: if given, collects the pointers of parts that could not be restored.
    """
    if not types:
        return copy_tree(value)
    binding = Binding(codecs)
    if "opaque" in types.values():
        graph = Graph(value, types, pointer, binding)
        decoded = graph.made()
        if unrestored is not None:
            unrestored.extend(graph.unrestored)
        return decoded

    def restore(tag: str, node: Any, at: str) -> Any:
        restored = restore_tag(tag, node, binding)
        if type(restored) is Unrestored and unrestored is not None:
            unrestored.append(at)
        return restored

    return fold_tags(value, types, pointer, restore, unrestored)


# Recorded values with objects, rebuilt from the top: an object that occurred several times is built once.
#
# Objects may refer to each other, so each is created before its content and filled afterwards. Decoding uses
# this for values with objects; for others it applies the tags, which is faster.


class Unrestored:
    """Replaces a recorded value that could not be restored: its tag and its recorded form.

    For a container the form holds restored children; that of a `defaultdict` with an unknown factory is a
    dict.
    """

    __slots__ = ("tag", "value")

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value

    def __repr__(self) -> str:
        return f"Unrestored({self.tag!r}, {self.value!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is Unrestored and self.tag == other.tag and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Unrestored, self.tag))


def restore_tag(tag: str, node: Any, binding: Binding) -> Any:
    """Return the value for a tag and a node with restored children; `Unrestored` if that fails."""
    if type(tag) is not str:
        return Unrestored(str(type(tag)), node)
    name, _, argument = tag.partition(":")
    try:
        if name == "registered":
            # The class may be in a script that is imported here under another name.
            codec = REGISTERED_NAMES.get(argument) or REGISTERED[binding.find(argument, lambda _: True)]
            return codec.decode(node)
        if name == "agent" and "agent" in binding.codecs:
            return binding.codecs["agent"](node)
        if name == STAND_IN:
            return binding.codecs[STAND_IN](argument)
        by_function = "@" in argument and name == "defaultdict"
        builder = PART_BUILDERS.get(name) if by_function else BUILDERS.get(name) or PART_BUILDERS.get(name)
        if builder is not None:
            return builder(node, argument, binding)
    except Exception as error:  # noqa: BLE001 - recorded data, or a class that uses it, may be wrong in any way
        pass_on(error)
        return Unrestored(tag, _content(name, node))
    return Unrestored(tag, node)


def _content(name: str, node: Any) -> Any:
    """Return the content of an unrestored value in the most useful form: a defaultdict's pairs as a dict."""
    if name == "defaultdict" and type(node) is list:
        try:
            return {key: value for key, value in node}  # noqa: C416 - a pair of another shape must raise
        except (TypeError, ValueError):
            return node
    return node


_NAMES = frozenset({"__module__", "__qualname__", "__name__"})
_FILLED_LATER = frozenset({OBJECT, LOCAL, CELL, SAME, "map", "dataclass", "pydantic", "opaque"})
"""Tags of values that are created before their content, and of references."""


class Graph:
    """One recorded value that is being rebuilt.

    Args:
        value, types, start: the recorded JSON, the tags of its event, and its place there.
    """

    def __init__(self, value: Any, types: Mapping[str, str], start: str, binding: Binding) -> None:
        self._value, self._start, self._binding = value, start, binding
        below = start + "/"
        self._types = {at: tag for at, tag in types.items() if at == start or at.startswith(below)}
        self._refused: set[str] = set()
        self._made: dict[str, Any] = {}
        self._begun: set[str] = set()
        self._objects: list[tuple[str, dict[str, Any], Any]] = []
        self._shared = self._find_shared()
        self._marked = {start}
        """Pointers of tags, of referenced values, and of their parents; everything else is plain JSON."""
        referred = [start + str(self._at(at)) for at, tag in self._types.items() if tag == SAME]
        for pointer in (*self._types, *referred, *self._shared, *self._shared.values()):
            above = pointer
            while above not in self._marked and above.startswith(start):
                self._marked.add(above)
                above = above.rpartition("/")[0]
        self.unrestored: list[str] = []
        """Pointers of parts that could not be rebuilt."""

    def made(self) -> Any:
        """Return the value, with an `Unrestored` for each part that could not be rebuilt."""
        while True:
            self._made, self._begun, self._objects, self.unrestored = {}, set(), [], []
            whole = self._node(self._value, self._start)
            # The contents of objects are complete only now.
            wrong = {at for at, form, made in self._objects if not _has_content(made, form)}
            if not wrong:
                nowhere = (at for at in self._types if not leads_to(self._value, at[len(self._start) :]))
                self.unrestored.extend(nowhere)
                return whole
            self._refused |= wrong

    def _find_shared(self) -> dict[str, str]:
        """Return {pointer of a container: pointer of the same one in an object}, from the objects' forms."""
        shared_pointers: dict[str, str] = {}
        for pointer, tag in self._types.items():
            form = self._at(pointer) if tag == "opaque" else None
            shared = form.get(SHARED) if type(form) is dict else None
            if type(shared) is list:
                shared_pointers.update(
                    {f"{self._start}{at}": f"{self._start}{inside}" for at, inside in shared}
                )
        return shared_pointers

    def _at(self, pointer: str) -> Any:
        return value_at(self._value, pointer[len(self._start) :])

    def _elsewhere(self, pointer: str) -> Any:
        """Return the value at another pointer; build it if necessary."""
        if pointer in self._made:
            return self._made[pointer]
        node = self._at(pointer)
        if node is None:
            above = pointer.removesuffix(f"/{CONTENT}")
            if above != pointer and type(self._at(above)) is dict:
                return self._elsewhere(above)  # its attributes are its content and are stored only there
            raise LookupError(pointer)
        return self._node(node, pointer)

    def _node(self, node: Any, pointer: str) -> Any:
        if pointer in self._made:
            return self._made[pointer]
        if pointer in self._begun:
            raise LookupError(f"{pointer} leads to itself")
        if pointer not in self._marked:
            return copy_tree(node) if type(node) is dict or type(node) is list else node
        self._begun.add(pointer)
        built = self._shared_one(pointer)
        if built is None:
            built = self._tagged(self._types.get(pointer), node, pointer)
        self._made[pointer] = built
        return built

    def _shared_one(self, pointer: str) -> Any:
        """Return the container at a pointer that an object holds as well; None if no object does."""
        shared = self._shared.get(pointer)
        if shared is None:
            return None
        try:
            built = self._elsewhere(shared)
        except LookupError:  # it was cut or redacted: the container here is separate
            return None
        return None if type(built) is Unrestored else built

    def _tagged(self, tag: str | None, node: Any, pointer: str) -> Any:
        if tag is None:
            if type(node) is not dict and type(node) is not list:
                return node
            built: Any = [] if type(node) is list else {}
            self._made[pointer] = built
            return self._filled(built, node, pointer)
        name, _, argument = tag.partition(":")
        if name not in _FILLED_LATER:
            built = restore_tag(tag, self._children(node, pointer), self._binding)
            if type(built) is Unrestored:
                self.unrestored.append(pointer)
            return built
        try:
            return self._filled_later(name, argument, node, pointer)
        except Exception as error:  # noqa: BLE001 - recorded data, or a class that uses it, may be wrong in any way
            pass_on(error)
            self.unrestored.append(pointer)
            self._made.pop(pointer, None)
            return Unrestored(tag, copy_tree(node) if type(node) in (dict, list) else node)

    def _children(self, node: Any, pointer: str) -> Any:
        if type(node) is dict:
            return self._filled({}, node, pointer)
        return self._filled([], node, pointer) if type(node) is list else node

    def _filled(self, container: Any, node: Any, pointer: str) -> Any:
        if type(node) is dict:
            for key, child in node.items():
                container[key] = self._node(child, f"{pointer}/{escape(key)}")
        else:
            for index, child in enumerate(node):
                container.append(self._node(child, f"{pointer}/{index}"))
        return container

    def _filled_later(self, name: str, argument: str, node: Any, pointer: str) -> Any:
        if name == "opaque":
            return self._object(node, pointer)
        if name == SAME:
            return self._elsewhere(self._start + node)
        if name == LOCAL:
            return self._local(node, argument, pointer)
        if name == CELL:
            return self._fill_cell(self._made.setdefault(pointer, CellType()), node, pointer)
        if name == "map":
            mapping = self._made[pointer] = {}
            for index, (key, item) in enumerate(node):
                at = f"{pointer}/{index}"
                mapping[self._node(key, f"{at}/0")] = self._node(item, f"{at}/1")
            return mapping
        return self._instance(name, argument, node, pointer)

    def _object(self, form: dict[str, Any], pointer: str) -> Any:
        """Build an object recorded with a digest of its content; LookupError unless all of it is restored."""
        if pointer in self._refused:
            raise LookupError("another content")
        if CYCLE in form:
            return self._elsewhere(self._start + form[CYCLE])
        named = self._named(form) if NAMED in form else None
        if named is not None:
            return named
        if "same_as" in form:
            built = self._elsewhere(self._start + form["same_as"])
        elif OpaqueKind.HANDLE in form:
            return make_lock(form["class"], form[CONTENT])
        elif STAND_IN in form and STAND_IN not in self._binding.codecs:
            raise LookupError("it holds what belonged to the recorded process")
        else:
            at = f"{pointer}/{CONTENT}"
            if CONTENT in form and at in self._types:
                built = self._node(form[CONTENT], at)
            elif CONTENT in form or not is_name_of_lock(form["class"]):  # a lock's attributes are not enough
                key = CONTENT if CONTENT in form else "attributes"
                at = f"{pointer}/{key}"
                built = self._made[at] = self._instance(OBJECT, form["class"], form[key], at)
            else:
                raise LookupError("a lock that was held")
        if type(built) is Unrestored:
            raise LookupError("a part that cannot be rebuilt")
        if STAND_IN not in form:
            self._objects.append((pointer, form, built))
        return built

    def _named(self, form: dict[str, Any]) -> Any:
        """Return the object that its class's module has under a name, if its content is the recorded one."""
        named = named_object(form[NAMED], self._binding)
        fits = named is not None and class_text(type(named)) == without_script(form["class"])
        return named if fits and _has_content(named, form) else None

    def _instance(self, name: str, argument: str, node: Any, pointer: str) -> Any:
        if name == OBJECT and is_name_of_lock(argument):
            return make_lock(argument, self._children(node, pointer))
        usual: dict[str, Any] = {}
        if name == OBJECT:
            instance: Any = object.__new__(self._binding.find(argument, is_plain_class))
        else:
            instance, usual = bare_instance(name, argument, self._binding)
        self._made[pointer] = instance
        # A name that is not plain text turns an object into a list of pairs.
        restore_attributes(instance, usual | dict(pairs_of(self._children(node, pointer))))
        return instance

    def _local(self, reduced: dict[str, Any], argument: str, pointer: str) -> FunctionType:
        """Build a local function; it exists before its closure, which may contain it."""
        code, namespace = local_code(reduced, argument, self._binding)
        cells: list[CellType] = []
        own: list[tuple[CellType, Any, str]] = []
        for index, node in enumerate(reduced.get("cells", ())):
            at = f"{pointer}/cells/{index}"
            if at not in self._made and self._types.get(at) == CELL:
                own.append((CellType(), node, at))
                self._made[at] = own[-1][0]
            cells.append(self._node(node, at))
        function = FunctionType(code, namespace, code.co_name, None, tuple(cells))
        function.__qualname__, function.__module__ = code.co_qualname, namespace["__name__"]
        self._made[pointer] = function
        for cell, node, at in own:
            self._fill_cell(cell, node, at)
        for key, name in (("defaults", "__defaults__"), ("keywords", "__kwdefaults__")):
            if key in reduced:
                setattr(function, name, self._node(reduced[key], f"{pointer}/{key}"))
        for name, text in reduced.get("names", {}).items():
            setattr(function, name if name in _NAMES else "__name__", text)
        if "attributes" in reduced:
            function.__dict__.update(self._node(reduced["attributes"], f"{pointer}/attributes"))
        return function

    def _fill_cell(self, cell: CellType, node: list[Any], pointer: str) -> CellType:
        for contents in node:
            cell.cell_contents = self._node(contents, f"{pointer}/0")
        return cell


def _has_content(built: Any, form: dict[str, Any]) -> bool:
    """Whether an object's content is the recorded one, or differs from it only in code."""
    content = content_of(built)
    if content.text == form.get(content.kind):
        return True
    return content.without_code != "" and content.without_code == form.get("without_code")


# Convert any value to JSON bytes: by orjson, by the short walk, or by the full walk.
#
# This step of the hot path is between payload and line; redaction follows. It never raises: the last
# fallback is an object that says what failed.


class Dumped(tuple[bytes, "dict[str, str] | None", tuple[str, ...], "Collection[str] | None"]):
    """A value as bytes: (json, types, opaque, attributes).

    A tuple subclass, because a NamedTuple takes twice as long to build.
    """

    __slots__ = ()

    json: bytes = property(itemgetter(0), doc="One JSON value in UTF-8, no newline in it.")  # type: ignore[assignment]
    types: dict[str, str] | None = property(itemgetter(1), doc="{JSON Pointer: tag}, None for plain values.")  # type: ignore[assignment]
    opaque: tuple[str, ...] = property(itemgetter(2), doc="Pointers of what cannot be restored.")  # type: ignore[assignment]
    attributes: Collection[str] | None = property(
        itemgetter(3), doc="The names, if it contains only short scalars."
    )  # type: ignore[assignment]

    def is_large_inside(self) -> bool:
        """Whether a value without a codec in it has large content or refers to other agents."""
        data = self.json
        if b'"size_bytes":' not in data and b'"agents":' not in data and b'"environment ' not in data:
            return False
        value = read_json(data)
        for pointer in self.opaque:
            form = value_at(value, pointer)
            if type(form) is dict and (
                "size_bytes" in form
                or "agents" in form
                or str(form.get("reference")).startswith("environment ")
            ):
                return True
        return False


_dumps = orjson.dumps
_is_scalar = SCALARS.issuperset


def to_json(
    value: Any,
    pointer: str,
    limits: Limits = DEFAULT_LIMITS,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
) -> Dumped:
    """Return the value as JSON bytes with its tags; never raises.

    Args:
        value: anything; it may change afterwards.
        pointer: its place in the event, as a JSON Pointer.
        limits: the value is cut so that `len(json) <= limits.max_bytes`.
        agent_of: distinguishes agents from other objects; an agent is recorded as its id.
        reading: how the content of values without a codec is read.
    """
    try:
        kind = type(value)
        if exceeds(value, limits.max_bytes):
            return _walked(value, pointer, limits, agent_of, reading)
        if kind is dict:
            # Two checks in C: of the types of the values, and for the null that a NaN would leave.
            if _is_scalar(map(type, value.values())) and all_strings(value):
                data = write_json(value, DUMP_OPTIONS)
                if (data.find(b"null") < 0 or not any_nonfinite(value.values())) and len(
                    data
                ) <= limits.unread_bytes:
                    return Dumped((data, None, (), None))
            plain = plain_bytes(value, limits)
        elif kind is list:
            plain = plain_bytes(value, limits)
        else:
            plain = _scalar_bytes(value, limits)
            if plain is None and kind is not tuple and number_tag(kind) is None:
                dumped = _without_walk(value, pointer, limits, agent_of, reading)
                if dumped is not None:
                    return dumped
        if plain is not None:
            return Dumped((plain, None, (), None))
        common = common_bytes(value, pointer, limits, agent_of, reading, form_of_scalars)
        if common is not None:
            data, types = common
            opaque = tuple([at for at, tag in types.items() if tag == "opaque"]) if types else ()
            return Dumped((data, types or None, opaque, None))
    except Exception as error:  # noqa: BLE001 - a surrogate, a big integer, a dict changed by another thread
        pass_on(error)
        # the walk encodes the value again
    return _walked(value, pointer, limits, agent_of, reading)


def _without_walk(
    value: Any, pointer: str, limits: Limits, agent_of: AgentOf | None, reading: Reading
) -> Dumped | None:
    """Return the JSON of a reference or an object of few short scalars; None for others."""
    form = form_of_reference(value, agent_of, reading)
    if form is not None and len(data := _dumps(form)) <= MOST_OF_FORM < limits.max_bytes:
        return Dumped((data, {pointer: "opaque"}, (pointer,), None))
    form = form_of_scalars(agent_of, reading.hides, value)
    if form is None:
        return None
    # small: its JSON is what `form_of_scalars` wrote, plus its class
    return Dumped((_dumps(form), {pointer: "opaque"}, (pointer,), form["attributes"]))


def _scalar_bytes(value: Any, limits: Limits) -> bytes | None:
    if type(value) not in SCALARS:
        return None
    data = write_json(value, DUMP_OPTIONS)
    if len(data) > limits.unread_bytes or (data == b"null" and value is not None):
        return None
    return data


def _walked(value: Any, pointer: str, limits: Limits, agent_of: AgentOf | None, reading: Reading) -> Dumped:
    try:
        encoded = encode_value(value, pointer, limits, agent_of, reading)
        data = write_json(encoded.value, DUMP_OPTIONS)
        if len(data) <= limits.max_bytes:
            return Dumped((data, encoded.types or None, encoded.opaque, None))
        failure = "TooLarge"
    except Exception as error:  # noqa: BLE001 - last fallback: the line is written whatever failed
        pass_on(error)
        failure = type(error).__name__
    name = class_name(type(value))
    form = {"repr": "<not recorded>", "class": name, "failure": failure, "unseen": "it could not be read"}
    return Dumped((_dumps(form), {pointer: "opaque"}, (pointer,), None))


def form_of_scalars(agent_of: AgentOf | None, hides: Hides | None, value: object) -> dict[str, Any] | None:
    """Return `describe(value, content_of(value))` in one step for an object of few short plain scalars.

    None for every other value, for agents, and if a name is not known or a text may hold a secret. Raises
    what orjson raises for surrogates and large integers, and what a hidden `__dict__` raises.
    """
    plan = plan_of(type(value))
    if plan.form is None or (REGISTERED and registered_codec(type(value)) is not None):
        return None
    if agent_of is not None and agent_of(value) is not None:
        return None
    attributes = attributes_of(value)
    if not attributes or any_may_be_made(attributes.values()):
        return None
    known = digest_of_scalars(attributes, plan.head, hides)
    if known is None:
        return None
    form = {**plan.form, "attributes": attributes, "digest": known}
    named = name_of(value)
    if named is not None:
        form[NAMED] = named
    return form


SORTED = DUMP_OPTIONS | orjson.OPT_SORT_KEYS
MOST_OF_FORM = 16_384
"""The size up to which the form of a reference is written without a walk."""


def form_of_named(named: Named) -> dict[str, Any]:
    """Return the form of a value that is always recorded as a reference."""
    return describe(named.value, Content(OpaqueKind.REFERENCE, named.reference))


def form_of_reference(value: Any, agent_of: AgentOf | None, reading: Reading) -> dict[str, Any] | None:
    """Return the walk's form of a value that is a reference, without a walk; None if it needs one.

    Do not change it: it is returned again while the attributes of the value are unchanged.
    """
    kind = type(value)
    if kind is Named:
        return form_of_named(value)
    content = often_reference(kind)
    if content is None or registered_codec(kind) is not None:
        return None
    if agent_of is not None and agent_of(value) is not None:
        return None
    attributes = own_attributes(value)
    is_argument = reading.owner is None
    plan = plan_of(kind)
    is_kept = not directories and not (is_argument and plan.is_named)
    version = attributes_version(value, attributes) if is_kept else 0
    key = version, is_argument, reading.shows_references
    known = _forms.get(key) if version else None
    if known is not None and known.kind is kind and known.content is content and known.hides is reading.hides:
        return known.form
    form = None
    if not all_scalars(attributes.values()):
        shown = content
        if is_argument:  # an argument's form has more
            named = plan.is_named
            shown = content_of(value, agent_of, reading) if named else with_own(value, plan, content, reading)
        form = describe(value, shown, shows=reading.shows_references, attributes=attributes)
    if version:
        if len(_forms) >= _MOST_FORMS:
            _forms.clear()
        _forms[key] = _KnownForm(kind, content, reading.hides, form)
    return form


class _KnownForm(NamedTuple):
    """The form of a reference to an object, for one version of its attributes; many agents hold one world."""

    kind: type
    content: Content
    hides: Hides | None
    form: dict[str, Any] | None


_forms: dict[tuple[int, bool, bool], _KnownForm] = {}
_MOST_FORMS = 64
forgetting.append(_forms.clear)


def _no_version(_value: object, _attributes: dict[str, Any]) -> int:
    return 0


attributes_version: Callable[[object, dict[str, Any]], int] = _no_version
"""Returns a number that no other attributes have, if these are the `__dict__` of an object as it is; else 0.

`record/` replaces it by a C function.
"""


def _are_few_scalars(attributes: dict[str, Any]) -> bool:
    if not all_strings(attributes) or not _TREATED_APART.isdisjoint(attributes):
        return False
    for value in attributes.values():
        kind = type(value)
        if kind is str:
            if len(value) > TEXT_CHARS:
                return False
        elif kind is int:
            if value.bit_length() > 63:
                return False
        elif kind is float:
            if value - value != 0.0:
                return False
        elif kind is not bool and value is not None:
            return False
    return True


_TREATED_APART = frozenset({"__module__", "_name_"})
"""Attributes that `plan_attributes` changes."""
are_few_scalars: Callable[[dict[str, Any]], bool] = _are_few_scalars
"""Whether `describe` shows each of these attributes unchanged; `record/` replaces it by a C function."""


def _digest_of_scalars(attributes: dict[str, Any], head: bytes, hides: Hides | None) -> str | None:
    if len(attributes) > SHOWN_ATTRIBUTES or not are_few_scalars(attributes):
        return None
    data = orjson.dumps(attributes, None, SORTED)  # too short to lack memory
    if len(data) > TEXT_CHARS and (len(data) > LARGE_BYTES // 2 or max(map(len, attributes)) > TEXT_CHARS):
        return None
    if hides is not None and not hides.is_harmless(attributes, data):
        return None
    written = imported(data)
    return f"{ALGORITHM}:{digest_bytes(b'%sj.%d:%s' % (head, len(written), written))}"


digest_of_scalars: Callable[[dict[str, Any], bytes, Hides | None], str | None] = _digest_of_scalars
"""Returns the digest of an object from its attributes and its class's `ClassPlan.head`.

None unless they are few short scalars without secrets. `record/` replaces it by a C function.
"""
