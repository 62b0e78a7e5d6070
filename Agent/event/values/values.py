"""Any Python value in, plain JSON and sparse tags out; and back, exactly, where that is possible.

`encode_value` starts the walk of `walk.py`; `decode_value` folds the tags back by the table in
`codecs.py`, or makes a graph of objects again. `serialise.py` comes next: it turns the outcome
into bytes, by a shorter way if it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import CellType, FunctionType
from typing import Any, NamedTuple

from Agent.event.classes import class_name, restore_attributes
from Agent.event.pointers import copy_tree, escape, fold_tags, leads_to, value_at
from Agent.event.script_names import class_text, without_script
from Agent.event.values.class_codecs import Binding, bare_instance
from Agent.event.values.codecs import (
    BUILDERS,
    REGISTERED,
    REGISTERED_NAMES,
    RegisteredCodec,
    is_plain_class,
    register_codec,
)
from Agent.event.values.content_digest import content_of
from Agent.event.values.opaque import (
    CONTENT,
    CYCLE,
    NAMED,
    OBJECT,
    SAME,
    SHARED,
    STAND_IN,
    OpaqueKind,
    is_name_of_lock,
    make_lock,
    shorten,
)
from Agent.event.values.parts import CELL, LOCAL, PART_BUILDERS, local_code, named_object
from Agent.event.values.reading import DEFAULT_LIMITS, USUAL, AgentOf, Limits, Reading
from Agent.event.values.walk import BudgetSpent, RepeatsSpent, Walk

__all__ = [
    "AgentOf",
    "decode_value",
    "DEFAULT_LIMITS",
    "encode_value",
    "Encoded",
    "Limits",
    "register_codec",
    "Unrestored",
]


class Encoded(NamedTuple):
    """A value as it is recorded."""

    value: Any
    """Plain JSON that shares nothing with the original."""
    types: dict[str, str]
    """{JSON Pointer: tag}, empty for plain values."""
    opaque: tuple[str, ...]
    """Pointers of what cannot be restored."""


def encode_value(
    value: object,
    pointer: str = "",
    limits: Limits = DEFAULT_LIMITS,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
) -> Encoded:
    """The value as plain JSON with tags; never raises, whatever the value does.

    Args:
        value: anything.
        pointer: where it will stand in its event, as a JSON Pointer; the pointers in the outcome begin so.
        limits: what lies beyond is cut.
        agent_of: tells agents from other objects; an agent is recorded as its id.
        reading: how the content of values without a codec is read.
    """
    try:
        walk = Walk(limits, agent_of, cutting=False, reading=reading, start=pointer)
        return Encoded(walk.whole(value, pointer), walk.types, tuple(walk.opaque))
    except RepeatsSpent:
        limits = limits.usual()
    except BudgetSpent:
        pass  # too large as a whole: below it is walked once more, and cut
    except Exception as error:  # noqa: BLE001 - recording may not raise into the program that it records
        return _given_up(value, pointer, error)
    try:
        # Within a budget that leaves room for what cuts add.
        walk = Walk(limits, agent_of, cutting=True, reading=reading, start=pointer)
        return Encoded(walk.whole(value, pointer), walk.types, tuple(walk.opaque))
    except Exception as error:  # noqa: BLE001
        return _given_up(value, pointer, error)


def _given_up(value: object, pointer: str, error: BaseException) -> Encoded:
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
    """The recorded value as the Python value that it was; what cannot be bound is an `Unrestored`.

    Args:
        value: the recorded JSON; it is not changed and shares nothing with the outcome.
        types: the tags of its event.
        pointer: where the value stands in its event.
        codecs: {`module.QualName` in a tag: the class that it means here}; a factory of a defaultdict may be
            any callable, and under `agent` may stand a callable from an agent's id to the object, under
            `stand_in` one from the name of a class to what stands for a task of the recorded process.
        unrestored: collects the pointers of what could not be restored, where given.
    """
    if not types:
        return fold_tags(value, {}, pointer, _never)
    binding = Binding(codecs)
    if "opaque" in types.values():
        graph = Graph(value, types, pointer, binding)
        made = graph.made()
        if unrestored is not None:
            unrestored.extend(graph.unrestored)
        return made

    def restore(tag: str, node: Any, at: str) -> Any:
        restored = restore_tag(tag, node, binding)
        if type(restored) is Unrestored and unrestored is not None:
            unrestored.append(at)
        return restored

    return fold_tags(value, types, pointer, restore, unrestored)


def _never(tag: str, node: Any, at: str) -> Any:
    raise AssertionError(f"a tag {tag} at {at} on {node} where there are none")


# Recorded values that hold objects, made again from the top: what occurred once is made once.
#
# Objects may hold each other, so each is made before what it holds, and filled in afterwards. Decoding takes
# this way where there is an object in a value; for others it folds the tags, which is shorter.


class Unrestored:
    """Stands where a recorded value could not be brought back: its tag, and what was recorded.

    For a container the recorded form holds restored children; that of a `defaultdict` whose factory is not
    known is the dict.
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
    """The value that a tag and a node say, whose tagged children are values already; else `Unrestored`."""
    if type(tag) is not str:
        return Unrestored(str(type(tag)), node)
    name, _, argument = tag.partition(":")
    try:
        if name == "registered":
            return _codec_of(argument, binding).decode(node)
        if name == "agent" and "agent" in binding.codecs:
            return binding.codecs["agent"](node)
        if name == STAND_IN:
            return binding.codecs[STAND_IN](argument)
        by_function = "@" in argument and name == "defaultdict"
        builder = PART_BUILDERS.get(name) if by_function else BUILDERS.get(name) or PART_BUILDERS.get(name)
        if builder is not None:
            return builder(node, argument, binding)
    except Exception:  # noqa: BLE001 - whatever stands on disk, and whatever a class does with it
        return Unrestored(tag, _content(name, node))
    return Unrestored(tag, node)


def _codec_of(name: str, binding: Binding) -> RegisteredCodec:
    """The codec registered for the class of a name, which may be that of a script that is imported here."""
    return REGISTERED_NAMES.get(name) or REGISTERED[binding.find(name, lambda _: True)]


def _content(name: str, node: Any) -> Any:
    """What an unbound value holds, in the form that helps most: pairs of a defaultdict as a dict."""
    if name == "defaultdict" and type(node) is list:
        try:
            return {key: value for key, value in node}  # noqa: C416 - a pair of another shape must raise
        except (TypeError, ValueError):
            return node
    return node


_NAMES = frozenset({"__module__", "__qualname__", "__name__"})
_FILLED_LATER = frozenset({OBJECT, LOCAL, CELL, SAME, "map", "dataclass", "pydantic", "opaque"})
"""Tags of values that are made before what they hold, and of those that stand for others."""


class Graph:
    """One recorded value that is made again.

    Args:
        value, types, start: the recorded JSON, the tags of its event, and where it stands there.
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
        """Where tags stand, what others refer to, and what leads there; all else is plain JSON."""
        referred = [start + str(self._at(at)) for at, tag in self._types.items() if tag == SAME]
        for pointer in (*self._types, *referred, *self._shared, *self._shared.values()):
            above = pointer
            while above not in self._marked and above.startswith(start):
                self._marked.add(above)
                above = above.rpartition("/")[0]
        self.unrestored: list[str] = []
        """Pointers of what could not be made."""

    def made(self) -> Any:
        """The value, with an `Unrestored` for each part that could not be made."""
        while True:
            self._made, self._begun, self._objects, self.unrestored = {}, set(), [], []
            whole = self._node(self._value, self._start)
            # What an object holds is complete only now.
            wrong = {at for at, form, made in self._objects if not _has_content(made, form)}
            if not wrong:
                nowhere = (at for at in self._types if not leads_to(self._value, at[len(self._start) :]))
                self.unrestored.extend(nowhere)
                return whole
            self._refused |= wrong

    def _find_shared(self) -> dict[str, str]:
        """{where a container stands: where an object holds the same one}, as the forms of objects tell."""
        found: dict[str, str] = {}
        for pointer, tag in self._types.items():
            form = self._at(pointer) if tag == "opaque" else None
            shared = form.get(SHARED) if type(form) is dict else None
            if type(shared) is list:
                found.update({f"{self._start}{at}": f"{self._start}{held}" for at, held in shared})
        return found

    def _at(self, pointer: str) -> Any:
        return value_at(self._value, pointer[len(self._start) :])

    def _elsewhere(self, pointer: str) -> Any:
        """What stands at another place of the value, made now unless it was."""
        if pointer in self._made:
            return self._made[pointer]
        node = self._at(pointer)
        if node is None:
            above = pointer.removesuffix(f"/{CONTENT}")
            if above != pointer and type(self._at(above)) is dict:
                return self._elsewhere(above)  # its attributes are its content, and stand there only once
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
        made = self._shared_one(pointer)
        if made is None:
            made = self._tagged(self._types.get(pointer), node, pointer)
        self._made[pointer] = made
        return made

    def _shared_one(self, pointer: str) -> Any:
        """The container that an object holds and that stands here as well; None where none is."""
        held = self._shared.get(pointer)
        if held is None:
            return None
        try:
            made = self._elsewhere(held)
        except LookupError:  # it was cut, or hidden: what stands here is a value of its own then
            return None
        return None if type(made) is Unrestored else made

    def _tagged(self, tag: str | None, node: Any, pointer: str) -> Any:
        if tag is None:
            if type(node) is not dict and type(node) is not list:
                return node
            made: Any = [] if type(node) is list else {}
            self._made[pointer] = made
            return self._filled(made, node, pointer)
        name, _, argument = tag.partition(":")
        if name not in _FILLED_LATER:
            made = restore_tag(tag, self._children(node, pointer), self._binding)
            if type(made) is Unrestored:
                self.unrestored.append(pointer)
            return made
        try:
            return self._filled_later(name, argument, node, pointer)
        except Exception:  # noqa: BLE001 - whatever stands on disk, and whatever a class does with it
            self.unrestored.append(pointer)
            self._made.pop(pointer, None)
            return Unrestored(tag, copy_tree(node) if type(node) in (dict, list) else node)

    def _children(self, node: Any, pointer: str) -> Any:
        if type(node) is dict:
            return self._filled({}, node, pointer)
        return self._filled([], node, pointer) if type(node) is list else node

    def _filled(self, made: Any, node: Any, pointer: str) -> Any:
        if type(node) is dict:
            for key, child in node.items():
                made[key] = self._node(child, f"{pointer}/{escape(key)}")
        else:
            for index, child in enumerate(node):
                made.append(self._node(child, f"{pointer}/{index}"))
        return made

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
            made = self._made[pointer] = {}
            for index, (key, item) in enumerate(node):
                at = f"{pointer}/{index}"
                made[self._node(key, f"{at}/0")] = self._node(item, f"{at}/1")
            return made
        return self._instance(name, argument, node, pointer)

    def _object(self, form: dict[str, Any], pointer: str) -> Any:
        """What was recorded with the digest of its content; LookupError unless all of it is made again."""
        if pointer in self._refused:
            raise LookupError("another content")
        if CYCLE in form:
            return self._elsewhere(self._start + form[CYCLE])
        named = self._named(form) if NAMED in form else None
        if named is not None:
            return named
        if "same_as" in form:
            made = self._elsewhere(self._start + form["same_as"])
        elif OpaqueKind.HANDLE in form:
            return make_lock(form["class"], form[CONTENT])
        elif STAND_IN in form and STAND_IN not in self._binding.codecs:
            raise LookupError("it holds what belonged to the recorded process")
        else:
            at = f"{pointer}/{CONTENT}"
            if CONTENT in form and at in self._types:
                made = self._node(form[CONTENT], at)
            elif CONTENT in form or not is_name_of_lock(form["class"]):  # a lock's attributes say too little
                key = CONTENT if CONTENT in form else "attributes"
                at = f"{pointer}/{key}"
                made = self._made[at] = self._instance(OBJECT, form["class"], form[key], at)
            else:
                raise LookupError("a lock that somebody held")
        if type(made) is Unrestored:
            raise LookupError("a part that cannot be made again")
        if STAND_IN not in form:
            self._objects.append((pointer, form, made))
        return made

    def _named(self, form: dict[str, Any]) -> Any:
        """The object that the module of its class has under a name, if its content is the recorded one."""
        found = named_object(form[NAMED], self._binding)
        fits = found is not None and class_text(type(found)) == without_script(form["class"])
        return found if fits and _has_content(found, form) else None

    def _instance(self, name: str, argument: str, node: Any, pointer: str) -> Any:
        if name == OBJECT and is_name_of_lock(argument):
            return make_lock(argument, self._children(node, pointer))
        usual: dict[str, Any] = {}
        if name == OBJECT:
            made: Any = object.__new__(self._binding.find(argument, is_plain_class))
        else:
            made, usual = bare_instance(name, argument, self._binding)
        self._made[pointer] = made
        found = self._children(node, pointer)
        # A name that is no plain text turns an object into a list of pairs.
        attributes = found if type(found) is dict else {key: held for key, held in found}  # noqa: C416
        restore_attributes(made, usual | attributes)
        return made

    def _local(self, held: dict[str, Any], argument: str, pointer: str) -> FunctionType:
        """A local function; it exists before what it closes over, which may be itself."""
        code, namespace = local_code(held, argument, self._binding)
        cells: list[CellType] = []
        own: list[tuple[CellType, Any, str]] = []
        for index, node in enumerate(held.get("cells", ())):
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
            if key in held:
                setattr(function, name, self._node(held[key], f"{pointer}/{key}"))
        for name, told in held.get("names", {}).items():
            setattr(function, name if name in _NAMES else "__name__", told)
        if "attributes" in held:
            function.__dict__.update(self._node(held["attributes"], f"{pointer}/attributes"))
        return function

    def _fill_cell(self, cell: CellType, node: list[Any], pointer: str) -> CellType:
        for contents in node:
            cell.cell_contents = self._node(contents, f"{pointer}/0")
        return cell


def _has_content(made: Any, form: dict[str, Any]) -> bool:
    """Whether the content of an object is the recorded one, or differs from it in code alone."""
    content = content_of(made)
    if content.text == form.get(content.kind):
        return True
    return content.without_code != "" and content.without_code == form.get("without_code")
