"""Recorded as `__main__`, replayed as a module; and exceptions that come back with all that they held."""

import os
import subprocess
import sys
from functools import reduce

import pytest
from support.processes import child_environment

from Agent.flight.artifact_saving import Tagged
from Agent.record.tracing.failures import LACKING, Unanswerable, remake_error, value_in
from Agent.replay import compare_runs, replay_run
from Agent.tree.layout import list_sessions

SCRIPT = """
import collections, dataclasses, enum, logging
from Agent import setup_logging, shutdown_logging
from Agent.flight import record_tool
from Agent.flight import recorder
from Agent.utils import AgentLogger, trace_agent_action

class Colour(enum.Enum):
    RED = 1
    BLUE = 2
class Flags(enum.Flag):
    A = 1
    B = 2
@dataclasses.dataclass(frozen=True)
class Data:
    held: object
Pair = collections.namedtuple("Pair", "x y")
class Name(str): pass
class Rows(list): pass
class Box:
    def __init__(self, held): self.held = held
class Outer:
    class Inner(enum.Enum):
        ONE = 1
class Refused(Exception):
    def __init__(self, user, code=0):
        super().__init__(f"{user} is refused")
        self.user, self.code = user, code

VALUES = [
    Colour.RED, Flags.A | Flags.B, Data((1, Colour.RED)), Pair(1, Colour.BLUE), Name("n"), Rows([1]),
    Outer.Inner.ONE, {Colour.RED: 1, Data(2): Colour.BLUE}, {Colour.RED, Colour.BLUE}, {Data(1), Data(2)},
    collections.defaultdict(Rows, {"a": Rows([1])}), {"q": [Data({"p": (Colour.RED, Pair(1, Data(2)))})]},
]
LOOKED_AT = [Box(3), Box(4), Box(5)]

@record_tool
def echo(value): return value
@record_tool
def look(value): return 1
@record_tool
def refuse(value): raise Refused(value, code=4)

class Peer:
    agent_id, agent_role = "peer", "p"
    @trace_agent_action
    def give(self, value): return value
    @trace_agent_action
    def refuse(self, value): raise Refused("you", code=value)
    @trace_agent_action
    def open(self): open("/nowhere/at/all")
    @trace_agent_action
    def wrap(self):
        try:
            raise Refused("me", code=2)
        except Refused as error:
            outer = LookupError("outer", Colour.BLUE)
            outer.add_note("a note")
            raise outer from error

class Asker:
    agent_id, agent_role = "a", "asker"
    def __init__(self, peer):
        self.peer, self.seen, self.logger = peer, [], AgentLogger("a", "asker")
    @trace_agent_action
    def ask(self, number, given):
        value = VALUES[number]
        assert value == echo(value) == self.peer.give(value)
        look(LOOKED_AT[number % 3])
        recorder.save_artifact("box.json", {"box": Box(number), "large": [Data(1), Rows(range(60_000))]})
        recorder.save_artifact("box.txt", f"{number}: {Box!r}")
        recorder.save_artifact("names.json", ["__main__", {"in": Box("__main__")}])
        self.logger.log_decision("pick", {"value": value})
        logging.getLogger(__name__).warning("asked %s", number)
        self.seen.append(value)
        for refused in (lambda: refuse(value), lambda: self.peer.refuse(Colour.BLUE)):
            try:
                refused()
            except Refused as error:
                self.seen.append([error.user, error.code, str(error), repr(type(error))])
        try:
            self.peer.open()
        except OSError as error:
            self.seen.append([error.filename, error.errno, str(error)])
        try:
            self.peer.wrap()
        except LookupError as error:
            self.seen.append([error.args, error.__notes__, error.__cause__.code, str(error.__cause__)])
        if number == 3:
            raise Refused("end")
        return [__name__, type(value).__module__, value]

def build(spec): return Asker(spec.peer("peer"))

if __name__ == "__main__":
    setup_logging()
    asker = Asker(Peer())
    for number, value in enumerate(VALUES):
        try:
            asker.ask(number, value)
        except Refused:
            pass
    shutdown_logging()
"""


@pytest.fixture
def script(toy):
    """The program, run as a script; gives the path of it."""
    path = toy.directory / "the_script.py"
    path.write_text(SCRIPT)
    (toy.directory / "factories.py").write_text(
        "import the_script\ndef build(spec): return the_script.build(spec)\n"
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_TRACE")}
    env |= {"AGENT_TRACE_ROOT": str(toy.root), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, str(path)], cwd=toy.directory, env=env, check=True, timeout=60)
    return path


@pytest.mark.integration
def test_classes_of_the_script_are_the_same_ones_when_it_is_imported(toy, script):
    for target in ("the_script:build", "factories:build"):
        report = replay_run("last/a", target=target, root=toy.root)
        assert report.verdict == "IDENTICAL", str(report)
    source = script.read_text()
    changes = {
        "echo(value) == self": "echo(Colour.BLUE) == self",
        "look(LOOKED_AT[number % 3])": "look(LOOKED_AT[(number + 1) % 3])",
        "[error.args, error.__notes__": "[error.args[1:], error.__notes__",
        '{"box": Box(number)': '{"box": Box(number + 1)',
        "range(60_000)": "range(60_001)",
        "{number}: {Box!r}": "{number}: {Data!r}",
        "[__name__, type": '["elsewhere", type',
    }
    for old, new in changes.items():
        assert source.count(old) == 1
        script.write_text(source.replace(old, new))
        report = replay_run("last/a", target="the_script:build", root=toy.root)
        assert report.verdict == "DIVERGED", (old, str(report))


RAISES_FROM = """
class Inner(Exception):
    def __init__(self, code):
        super().__init__("inner")
        self.where = [code]
class Shop:
    agent_id, agent_role = "a", "shop"
    def __init__(self): self.sold = 0
    @trace_agent_action
    def sell(self):
        self.sold += 1
        error = Inner(7)
        error.__cause__ = OSError(2, "gone", "shelf")
        raise ValueError("no such thing") from error
def build(spec): return Shop()
def main():
    try:
        Shop().sell()
    except ValueError:
        pass
"""


@pytest.mark.further
def test_what_an_exception_was_raised_from_is_compared_as_deep_as_it_goes(toy):
    toy.record(RAISES_FROM)
    assert toy.replay().verdict == "IDENTICAL"
    for old, new, path in (
        (" from error", "", "error_cause"),
        ("Inner(7)", "Inner(7.0)", "error_cause['error_attributes']['where'][0]"),
        ('"shelf"', '"shelves"', "error_cause['error_cause']['error_members']['filename']"),
    ):
        report = toy.change(old, new).replay()
        assert (report.verdict, path in str(report)) == ("DIVERGED", True), str(report)
        toy.write(RAISES_FROM)


RAISES_A_CHAIN = """
class Shop:
    agent_id, agent_role = "a", "shop"
    def __init__(self): self.sold = 0
    def layer(self, number):
        try:
            if number == 0:
                raise TimeoutError("disk 1")
            self.layer(number - 1)
        except Exception as error:
            raise LookupError(number) from error
    @trace_agent_action
    def sell(self, depth):
        self.sold += 1
        self.layer(depth)
def build(spec): return Shop()
def main():
    shop = Shop()
    for depth in (6, 30):
        try:
            shop.sell(depth)
        except LookupError:
            pass
"""


@pytest.mark.further
def test_causes_are_compared_however_many_there_are(toy):
    toy.record(RAISES_A_CHAIN)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change("disk 1", "disk 2").replay()
    assert report.verdict == "DIVERGED" and "recorded: 'disk 1'" in str(report), str(report)
    toy.write(RAISES_A_CHAIN.replace("(6, 30)", "(30,)"))
    toy.record(toy.source)
    report = toy.change("disk 1", "disk 2").replay()
    assert report.verdict == "DIVERGED" and "['error_cause']" in str(report), str(report)


RAISES_FROM_NONE = """
class Gate:
    agent_id, agent_role = "a", "gate"
    def __init__(self): self.asked = 0
    @trace_agent_action
    def parse(self, text):
        self.asked += 1
        try:
            return int(text)
        except ValueError:
            raise KeyError(text) from None
def build(spec): return Gate()
def main():
    try:
        Gate().parse("x")
    except KeyError:
        pass
"""


@pytest.mark.further
def test_an_exception_raised_from_none_is_another_one_than_with_its_context(toy):
    toy.record(RAISES_FROM_NONE)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change(" from None", "").replay()
    assert (report.verdict, "error_suppressed" in str(report)) == ("DIVERGED", True), str(report)


def test_a_value_is_the_same_one_in_whichever_module_the_script_is():
    recorded = Tagged(
        {"v": ["RED", {"a": 1}]}, {"/v/0": "enum:__main__.Colour", "/v/1": "dataclass:__main__.D"}
    )
    here = Tagged(recorded.value, {"/v/0": "enum:pkg.game.Colour", "/v/1": "dataclass:pkg.game.D"})
    assert here.with_script(["game", "pkg.game"]) == recorded
    assert here.with_script(["game"]).digest != recorded.digest
    elsewhere = Tagged(recorded.value, {"/v/0": "enum:other.pkg.game.Colour", "/v/1": "dataclass:pkg.game.D"})
    assert elsewhere.with_script(["pkg.game"]).digest != recorded.digest


def test_objects_without_a_codec_are_told_apart_by_their_content():
    def given(**told):
        return Tagged({"v": {"class": "game.Plan", "repr": "<game.Plan object>", **told}}, {"/v": "opaque"})

    assert given(digest="c1:01").digest == given(digest="c1:01").digest
    assert given(digest="c1:01").digest != given(digest="c1:02").digest
    assert given(reference="class a.B").digest != given(reference="class a.C").digest
    assert given(unseen="a generator").digest == ""
    assert given(attributes={"a": 1}).digest != given(attributes={"a": 2}).digest


class Coded(Exception):
    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


class Slotted(Exception):
    __slots__ = ("code",)


class Counted(Exception):
    made = 0

    def __init__(self, *parts, **named):
        type(self).made += 1
        super().__init__(*parts)
        vars(self).update(named)


def told_of(error):
    from Agent.record.tracing.failures import _payload_of

    return _payload_of(error, str(error), lambda text: text, {})


def remade(told, *, without=()):
    def part(path):
        return LACKING if path in without else value_in(told, path)

    classes = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in (Coded, Slotted, Counted)}
    from Agent.event.classes import find_class

    return remake_error(
        told, "w-1", "s", part=part, find_class=lambda name: classes.get(name) or find_class(name)
    )


def _from(error, cause):
    error.__cause__ = cause
    return error


def _slotted():
    error = Slotted("slot")
    error.code = 7
    return error


def test_an_exception_comes_back_with_everything_that_it_held():
    made = [
        ValueError(), ValueError("a", 1, None), KeyError("k"), OSError(2, "No such file", "f.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ImportError("no", name="mod", path="p"),
        StopIteration(5), SyntaxError("bad", ("f.py", 1, 2, "text")), NameError("n", name="x"), Coded("t", 5),
        _slotted(), Counted("a", key=1), _from(ValueError("outer"), Coded("inner", 3)),
        _from(Coded("outer", 1), _from(KeyError("k"), OSError(13, "denied", "x"))),
        _from(ValueError("of none"), None), _from(ValueError("outer"), _from(KeyError("of none"), None)),
        reduce(lambda cause, number: _from(ValueError(number), cause), range(30), KeyError("first")),
    ]  # fmt: skip
    for error in made:
        error.add_note("a note")
        again, lack = remade(told_of(error))
        assert lack is None, (error, lack)
        while error is not None:
            assert type(again) is type(error)
            assert (again.args, str(again)) == (error.args, str(error))
            held = {name: value for name, value in vars(again).items() if name != "__agent_trace_error__"}
            assert held == vars(error)
            for name in ("filename", "errno", "name", "path", "code", "value", "lineno", "object"):
                assert getattr(again, name, None) == getattr(error, name, None), name
            assert again.__suppress_context__ == error.__suppress_context__
            error, again = error.__cause__, again.__cause__
        assert again is None


def test_remaking_an_exception_runs_no_constructor_of_the_program():
    told = told_of(Counted("a", key=1))
    before = Counted.made
    assert remade(told).error.key == 1
    assert Counted.made == before


def test_a_group_of_which_exceptions_were_left_out_says_so():
    group = ExceptionGroup("g", [ValueError(number) for number in range(120)])
    told = told_of(group)
    assert "20 exceptions of its ExceptionGroup" in remade(told).lack
    outer, lack = remade(told_of(_from(ValueError("outer"), group)))
    assert "20 exceptions of its ExceptionGroup" in lack
    assert len(outer.__cause__.exceptions) == 100


def test_what_an_exception_lacks_is_named():
    told = told_of(_from(Coded("t", 5), ValueError("inner")))
    assert "code" in str(remade(told, without={("error_attributes", "code")}).lack)
    assert "arguments" in str(remade(told, without={("error_args",)}).lack)
    told["error_cause"]["error_module"] = "nowhere"
    assert "raised from" in str(remade(told).lack)
    told["error_module"] = "nowhere"
    with pytest.raises(Unanswerable, match="not loaded"):
        remade(told)


TWO_SCRIPTS = """
from Agent import trace_agent_action


class Note:
    def __init__(self, text):
        self.text = text


class Account:
    def __init__(self):
        self.agent_id, self.note = "account", None

    @trace_agent_action
    def pay(self, amount):
        self.note = Note("a long note " * 500)
        return amount


Account().pay(1)
"""


@pytest.mark.integration
def test_a_difference_that_the_names_of_two_scripts_may_cause_is_said_to_be_one(tmp_path):
    for name in ("one.py", "one.py", "two.py"):
        (tmp_path / name).write_text(TWO_SCRIPTS)
        subprocess.run([sys.executable, name], check=True, env=child_environment(), cwd=tmp_path)
    first, second, other = sorted(each.session_id for each in list_sessions(tmp_path / "trace"))
    assert not compare_runs(first, second, root=tmp_path / "trace")
    found = compare_runs(second, other, root=tmp_path / "trace")
    assert found.divergence.field == "state.note"
    assert any("contain its name, here one.py and two.py" in note for note in found.notes)
