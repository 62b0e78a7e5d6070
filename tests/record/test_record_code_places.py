"""The file and line of a traced function, which its `code` event names once."""

import asyncio
import functools
import inspect
import json
import os
import zipfile
from pathlib import Path

from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action, trace_learning_update


class Baker:
    def __init__(self):
        self.agent_id = "baker"

    @trace_agent_action
    def bake(self):
        return 1


def of_source(text, path):
    """Run a source as if it were that of a file."""
    space = {"trace_agent_action": trace_agent_action, "__name__": "shop"}
    exec(compile(text, str(path), "exec"), space)
    return space


SOURCE = "@trace_agent_action\ndef act():\n    return 1\n"


def test_a_code_event_names_the_file_and_the_first_line_of_its_function(recorded):
    for _ in range(3):
        Baker().bake()
    line = inspect.getsourcelines(inspect.unwrap(Baker.bake))[1]
    told = {(each["extra"]["file"], each["extra"]["line"]) for each in recorded.of("code")}
    assert told == {(str(Path(__file__).absolute()), line)}
    assert all("file" not in event["extra"] for event in recorded.of("agent_action"))


def test_the_line_is_no_part_of_the_digest(recorded, tmp_path):
    digests, lines = set(), []
    for number, above in enumerate(("", "# above\n" * 7)):
        file = tmp_path / str(number) / "shop.py"
        file.parent.mkdir()
        file.write_text(above + SOURCE)
        of_source(file.read_text(), file)["act"]()
        code = recorded.of("code")[-1]["extra"]
        digests.add(code["digest"])
        lines.append((code["file"], code["line"]))
    assert len(digests) == 1
    assert lines == [(str(tmp_path / "0" / "shop.py"), 1), (str(tmp_path / "1" / "shop.py"), 8)]


def test_code_that_has_no_file_names_none(recorded, tmp_path):
    archive = tmp_path / "shop.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("shop.py", SOURCE)
    for place in ("<stdin>", "/tmp/ipykernel_1/2.py", archive / "shop.py", tmp_path, "a" * 5000):
        of_source(SOURCE, place)["act"]()
    assert len(recorded.of("agent_action")) == 5
    assert all(not {"file", "line"} & event["extra"].keys() for event in recorded.of("code"))


def test_a_decorated_function_is_where_the_function_inside_is(recorded, tmp_path):
    file = tmp_path / "shop.py"
    file.write_text("\n\ndef act():\n    return 1\n")
    inner = of_source(file.read_text(), file)["act"]

    @functools.wraps(inner)
    def around():
        return inner()

    trace_agent_action("act")(around)()
    (code,) = {(each["extra"]["file"], each["extra"]["line"]) for each in recorded.of("code")}
    assert code == (str(file), 3)


def test_level_metadata_keeps_no_path(trace_root):
    setup_logging(trace_root=trace_root, capture="metadata", mirrors=False)
    Baker().bake()
    shutdown_logging()
    (session,) = trace_root.glob("session_*")
    lines = [json.loads(line) for line in (session / "system.log").read_bytes().splitlines()]
    (code,) = [line["extra"] for line in lines if line["extra"]["event_type"] == "code"][:1]
    assert os.sep not in str(code["file"]) and str(code["file"]).startswith("[str ")


class Cook:
    def __init__(self):
        self.agent_id = "cook"

    @trace_agent_action
    def cook(self):
        self.chop()
        self.taste()
        list(self.stir())
        return asyncio.run(self.serve())

    @trace_agent_action
    def chop(self):
        return 1

    @trace_learning_update("taste")
    def taste(self):
        return 2

    @trace_agent_action
    def stir(self):
        yield 3

    @trace_agent_action
    async def serve(self):
        return 4


def test_a_function_that_is_only_called_within_an_action_of_its_agent_has_a_place_and_it_is_named_once(
    recorded,
):
    for _ in range(3):
        Cook().cook()
    told = [each["extra"] for each in recorded.of("code")]
    lines = {each["digest"]: each["line"] for each in told}
    methods = (Cook.chop, Cook.taste, Cook.stir, Cook.serve, Cook.cook)
    assert sorted(lines.values()) == sorted(
        inspect.getsourcelines(inspect.unwrap(each))[1] for each in methods
    )
    # Over 500 modules, which all tests together are, are told with the first function in several events.
    assert len([each for each in told if "modules" not in each]) <= len(lines)
    coded = [each["extra"]["action_type"] for each in recorded.of("agent_action") if "code" in each]
    assert coded == ["cook"] * 3, "only an entry is compared by its code"


def test_a_journey_and_the_spans_name_the_places_of_nested_functions(trace_root):
    from Agent import LogAnalyzer
    from Agent.analysis.questions.journeys import journey_overview
    from Agent.client.otlp import spans_of
    from Agent.export.allow_list import AllowList
    from Agent.tree.files.session import open_session

    setup_logging(trace_root=trace_root)
    Cook().cook()
    shutdown_logging()
    reader = LogAnalyzer(root=trace_root).reader
    lines = {name: place["line"] for name, place in journey_overview(reader, "cook")["code"].items()}
    methods = {"cook": Cook.cook, "chop": Cook.chop, "stir": Cook.stir, "serve": Cook.serve}
    assert lines == {name: inspect.getsourcelines(inspect.unwrap(each))[1] for name, each in methods.items()}
    spans = spans_of(reader.session, open_session(reader.session), AllowList())
    placed = {
        span.attributes.get("code.line.number")
        for span in spans
        if span.name.startswith("invoke_agent cook ")
    }
    assert placed == set(lines.values())
