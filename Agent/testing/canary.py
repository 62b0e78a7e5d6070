"""Plant made-up secrets through every entrance and search the recorded files for them: `doctor --canary`.

Each secret is used once, so that a leak identifies its entrance; each entrance is one function that takes a
secret. They are planted by this module as a process with a temporary trace root: `python -m
Agent.testing.canary ROOT DURABILITY`, followed by further arguments, with the seed on stdin. It prints the
names of the entrances that are not installed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import io
import json
import logging
import os
import random
import secrets
import string
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from zstandard import ZstdDecompressor

from Agent import caused_by, instrument, receive, setup_logging, shutdown_logging, utils
from Agent.archive.erase.target import base64_forms
from Agent.config.process import child_environment
from Agent.errors import AgentTraceError
from Agent.event.kinds import Category
from Agent.flight import Recorder, checkpoint_store, record_tool

_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits
_HEX = "0123456789abcdef"
Make = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Plant:
    """One secret to plant.

    `value` contains it, as a text or a mapping like those of real programs. `marker` is a harmless text
    beside it that has to be found: it shows that the entrance writes to the files at all.
    """

    entrance: str
    shape: str
    secret: str
    marker: str
    value: Any

    @property
    def text(self) -> str:
        """The value as text, for a message."""
        return self.value if isinstance(self.value, str) else str(self.value)

    @property
    def fields(self) -> dict[str, Any]:
        """The value as keyword arguments or attributes."""
        return dict(self.value) if isinstance(self.value, dict) else {"note": self.value}

    def forms(self) -> Iterator[bytes]:
        """The byte strings to search for: plain, escaped, quoted, and in base64 at each offset."""
        raw = self.secret.encode()
        yield from {raw, json.dumps(self.secret)[1:-1].encode(), quote(raw, safe="").encode()}
        yield from base64_forms(raw)


def _shapes(some: Callable[[str, int], str]) -> dict[str, tuple[str, Make]]:
    """By shape: a secret, and what makes the value that holds it."""
    keys = {
        "OpenAI key": f"sk-proj-{some(_ALNUM, 40)}",
        "Anthropic key": f"sk-ant-api03-{some(_ALNUM, 40)}",
        "GitHub token": f"ghp_{some(_ALNUM, 36)}",
        "AWS key id": f"AKIA{some(_UPPER, 16)}",
        "Google key": f"AIza{some(_ALNUM, 35)}",
        "Slack token": f"xoxb-{some(string.digits, 12)}-{some(_ALNUM, 24)}",
        "Stripe key": f"sk_live_{some(_ALNUM, 24)}",
        "Hugging Face token": f"hf_{some(_ALNUM, 34)}",
        "JSON web token": f"eyJ{some(_ALNUM, 20)}.eyJ{some(_ALNUM, 30)}.{some(_ALNUM, 43)}",
    }
    return {
        **{name: (key, lambda secret: f"called with {secret} and failed") for name, key in keys.items()},
        "private key": (
            some(_ALNUM, 64),
            lambda secret: f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
        ),
        "bearer header": (some(_ALNUM, 32), lambda secret: f"Authorization: Bearer {secret}"),
        "short bearer header": (some(_ALNUM, 12) + "7a", lambda secret: f"sent Bearer {secret}"),
        "basic header": (
            base64.b64encode(f"{some(_ALNUM, 5)}:{some(_ALNUM, 6)}".encode()).decode().rstrip("="),
            lambda secret: f"sent Basic {secret}",
        ),
        "URL with credentials": (some(_ALNUM, 16), lambda secret: f"postgres://app:{secret}@db.example/prod"),
        "signed URL": (some(_ALNUM, 32), lambda secret: f"https://blob.example/a?se=1&sig={secret}"),
        "cookie": (some(_ALNUM, 24), lambda secret: f"Cookie: session={secret}"),
        "assignment": (some(_ALNUM, 12), lambda secret: f"password={secret}"),
        # With a digit: eight letters of one case look like a word to redaction.
        "short assignment": (some(_ALNUM, 7) + some(string.digits, 1), lambda secret: f"secret:{secret}"),
        "command line": (some(_ALNUM, 14), lambda secret: f"curl --api-key {secret}"),
        "JSON in a text": (some(_ALNUM, 14), lambda secret: f'{{"client_secret": "{secret}"}}'),
        "password": (some(_ALNUM, 9), lambda secret: {"password": secret}),
        "API key by name": (some(_HEX, 32), lambda secret: {"api_key": secret}),
        "nested credential": (
            some(_ALNUM, 11),
            lambda secret: {"service": {"options": [{"client_secret": secret}]}},
        ),
        "header object": (
            some(_ALNUM, 10),
            lambda secret: {"headers": [{"name": "Authorization", "value": secret}]},
        ),
        "header pair": (some(_ALNUM, 10) + "7a", lambda secret: {"headers": [("X-Api-Key", secret)]}),
        "bytes": (f"ghp_{some(_ALNUM, 36)}", lambda secret: {"body": secret.encode()}),
        "key of a mapping": (f"ghp_{some(_ALNUM, 36)}", lambda secret: {"cache": {secret: 1}}),
    }


def plants(seed: str, entrance: str) -> list[Plant]:
    """The secrets for one entrance; the same for the same seed."""
    chance = random.Random(f"{seed}/{entrance}")

    def some(alphabet: str, length: int) -> str:
        return "".join(chance.choice(alphabet) for _ in range(length))

    planted = []
    for shape, (secret, make) in _shapes(some).items():
        marker = f"canary{some(_HEX, 10)}"
        value = make(secret)
        value = f"{marker} {value}" if isinstance(value, str) else {"note": marker, **value}
        planted.append(Plant(entrance, shape, secret, marker, value))
    return planted


Enter = Callable[[Plant], object]
ENTRANCES: dict[str, Enter] = {}
ARGV = "command line"
"""Planted in the command line of the planting process."""
NEEDS = {"logging bridge": "pythonjsonlogger", "structlog bridge": "structlog"}
"""Entrances that need a library, with its module."""


def entrance(name: str) -> Callable[[Enter], Enter]:
    """Register a function as an entrance."""

    def enter(function: Enter) -> Enter:
        ENTRANCES[name] = function
        return function

    return enter


class PlantedFailure(Exception):
    """An error of the traced program, with arguments, attributes and a cause; one may end a run."""


class Agent:
    """An agent whose methods are all traced."""

    def __init__(self, agent_id: str, content: Any = None) -> None:
        self.agent_id = agent_id
        self.held = content

    @utils.trace_agent_action
    def act(self, value: Any, *, named: Any = None) -> Any:
        """Return the argument."""
        return value if named is None else None

    @utils.trace_agent_action
    def keep(self, values: list[Any]) -> None:
        """Change the state."""
        self.held = values[0].value

    @utils.trace_agent_action
    def fail(self, plant: Plant) -> None:
        """Raise in a traced call."""
        raise PlantedFailure(plant.text)

    @utils.trace_agent_action
    def produce(self, plant: Plant) -> Generator[Any, None, Any]:
        """Yield a value, and return another."""
        yield plant.value
        return plant.fields

    @utils.trace_agent_action
    async def stream(self, plant: Plant) -> AsyncIterator[Any]:
        """Yield a value asynchronously."""
        yield plant.value

    @utils.trace_learning_update(update_type="bandit")
    def learn(self, value: Any) -> Any:
        """An update."""
        return value

    @utils.trace_performance
    def measured(self, value: Any) -> Any:
        """A measured call."""
        return value

    @utils.trace_errors()
    def risk(self, plant: Plant) -> None:
        """Raise with a cause and a note."""
        error = PlantedFailure(plant.fields)
        error.context = plant.value  # type: ignore[attr-defined]
        error.add_note(plant.text)
        raise error from ValueError(plant.text)


@dataclass
class PlantedSettings:
    """A value with a field."""

    held: Any


class Opaque:
    """An object that can only be recorded by its `repr`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"<Opaque {self._text}>"


ENTRANCES.update(
    {
        "message of a logger": lambda plant: utils.AgentLogger("writer").info(plant.text),
        "extra of a logger": lambda plant: utils.AgentLogger("writer").warning(
            "with extra", extra=plant.fields
        ),
        "log_action": lambda plant: utils.AgentLogger("actor").log_action("call", plant.value, plant.fields),
        "type of an action": lambda plant: utils.AgentLogger("actor").log_action(plant.text),
        "ids in a payload": lambda plant: utils.InteractionLogger().log_interaction(
            "like", plant.text, plant.text, plant.text
        ),
        "bound fields": lambda plant: utils.AgentLogger("binder").bind(**plant.fields).info("bound"),
        "arguments of a traced call": lambda plant: Agent("worker").act(1, named=plant.value),
        "result of a traced call": lambda plant: Agent("worker").act(plant.value),
        "objects shown by their repr": lambda plant: utils.AgentLogger("holder").log_action(
            "opaque", {"object": Opaque(plant.text)}
        ),
    }
)


@entrance("decisions and changes")
def _decision(plant: Plant) -> None:
    logger = utils.AgentLogger("decider")
    logger.log_decision("choose", plant.fields, plant.text)
    logger.log_state_change({"a": 1}, plant.fields, plant.text)
    logger.log_strategy_update("s", plant.value, plant.value, plant.text)
    logger.log_content_generation("post", "p1", plant.fields)


@entrance("other typed loggers")
def _typed(plant: Plant) -> None:
    utils.LearningLogger("bandit", "learner").log_training_step(1, plant.fields, plant.value)
    utils.InteractionLogger().log_interaction("like", "a", "b", "c", plant.value)
    utils.SystemLogger().log_config("setting", plant.value, plant.fields)
    utils.SystemLogger().log_simulation_start("run", plant.fields)


@entrance("performance metrics")
def _metrics(plant: Plant) -> None:
    utils.PerformanceLogger().log_metric("m", 1.0, data=plant.value)
    with utils.measure_performance(plant.text):
        pass


@entrance("trace_context")
def _context(plant: Plant) -> None:
    with utils.trace_context(utils.AgentLogger("surrounded"), "work", **plant.fields):
        utils.AgentLogger("surrounded").info("inside")


@entrance("caused_by")
def _causes(plant: Plant) -> None:
    # A text that is not an event id is dropped, so the marker is logged separately.
    with caused_by(plant.text):
        utils.AgentLogger("caused").info(plant.marker)


@entrance("arguments of learning and measured calls")
def _learned(plant: Plant) -> None:
    Agent("worker").learn(plant.value)
    Agent("worker").measured(plant.value)


@entrance("state of an agent")
def _state(plant: Plant) -> None:
    agent = Agent("stateful", plant.value)
    agent.act(1)
    agent.keep([_Hidden(plant.value)])


class _Hidden:
    """Hides a value from the capture of arguments."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<hidden>"


@entrance("constructor arguments")
def _constructed(plant: Plant) -> None:
    class Made:
        def __init__(self, content: Any) -> None:
            self.agent_id = "made"
            del content

        def act(self) -> None:
            """Do something."""

    instrument(Made, methods=["__init__", "act"])
    Made(plant.value).act()


@entrance("generators")
def _generated(plant: Plant) -> None:
    list(Agent("generator").produce(plant))

    async def drain() -> None:
        async for _ in Agent("generator").stream(plant):
            pass

    asyncio.run(drain())


@entrance("error of a traced call")
def _escaping(plant: Plant) -> None:
    with contextlib.suppress(PlantedFailure):
        Agent("failing").fail(plant)


@entrance("error with cause and note")
def _chained(plant: Plant) -> None:
    with contextlib.suppress(PlantedFailure):
        Agent("failing").risk(plant)


@entrance("logger.exception")
def _exception(plant: Plant) -> None:
    try:
        raise PlantedFailure(plant.text, plant.fields)  # noqa: TRY301 - what is raised here is the point
    except PlantedFailure:
        utils.AgentLogger("catcher").exception(plant.text, extra=plant.fields)


def _module(source: str, plant: Plant) -> Any:
    """Import a new module with the secret in its source; its file is beside the trace root."""
    name = f"planted_{plant.marker}"
    Path(sys.path[0], f"{name}.py").write_text(source, encoding="utf-8")
    importlib.invalidate_caches()
    return importlib.import_module(name)


@entrance("source in a traceback")
def _traceback(plant: Plant) -> None:
    module = _module(f"def broken():\n    raise LookupError({plant.text!r})\n", plant)
    try:
        module.broken()
    except LookupError:
        utils.AgentLogger("catcher").exception("broken")


@entrance("source of a traced function")
def _source(plant: Plant) -> None:
    module = _module(f"def act(self):\n    used = {plant.value!r}\n    return len(used)\n", plant)
    coded = type("Coded", (), {"agent_id": "coded", "act": utils.trace_agent_action(module.act)})
    coded().act()


@entrance("messages between agents")
def _messages(plant: Plant) -> None:
    message = utils.AgentLogger("sender").send("receiver", plant.value)
    utils.AgentLogger("receiver").receive(message)

    class Speaker(Agent):
        @utils.trace_agent_action
        def listen(self) -> None:
            receive(message)

    Speaker("speaker").listen()


@entrance("values with types")
def _values(plant: Plant) -> None:
    logger = utils.AgentLogger("holder")
    logger.log_action("dataclass", {"settings": PlantedSettings(plant.value), "tuple": (plant.value, 1)})
    logger.log_action("pairs", {"table": {(1, 2): plant.value}, "set": {plant.text}})


@entrance("awaited calls")
def _awaited(plant: Plant) -> None:
    async def log() -> None:
        await utils.AgentLogger("awaiting").alog_action("call", plant.value)
        await utils.AgentLogger("awaiting").aerror(plant.text)

    asyncio.run(log())


@entrance("logging bridge")
def _logging(plant: Plant) -> None:
    from Agent.bridges import TraceHandler

    foreign = logging.getLogger("canary")
    foreign.propagate = False
    foreign.handlers = foreign.handlers or [TraceHandler()]
    foreign.warning("called with %s", plant.text, extra=plant.fields)
    try:
        raise PlantedFailure(plant.text)  # noqa: TRY301 - as above
    except PlantedFailure:
        foreign.exception(plant.text)


@entrance("structlog bridge")
def _structlog(plant: Plant) -> None:
    import structlog

    from Agent.bridges import structlog_renderer

    log = structlog.wrap_logger(None, processors=[structlog_renderer])
    with structlog.contextvars.bound_contextvars(**plant.fields):
        log.info(plant.text, **{f"own_{key}": value for key, value in plant.fields.items()})


def secret_arguments(seed: str) -> list[str]:
    """A command line with secrets: `--password X`, `--api-key=X`, and whole texts."""
    arguments: list[str] = []
    for plant in plants(seed, ARGV):
        if isinstance(plant.value, str):
            arguments.append(plant.text)
        elif plant.shape == "password":
            arguments += ["--note", plant.marker, "--password", plant.secret]
        elif plant.shape == "API key by name":
            arguments += [f"--note={plant.marker}", f"--api-key={plant.secret}"]
        else:
            arguments.append(f"--options={plant.text}")
    return arguments


def run(root: str, durability: str, seed: str) -> list[str]:
    """Plant every secret in a new session; return the names of the entrances that are not installed."""
    from importlib.util import find_spec

    # The directory where `_module` writes files; it is temporary.
    sys.path.insert(0, str(Path(root).absolute().parent))
    # All levels, since an unrecorded event proves nothing; small segments, so that files also roll.
    setup_logging(
        trace_root=root,
        durability=durability,
        level="DEBUG",
        levels={category.value: "DEBUG" for category in Category},
        segment_size_bytes=64 * 1024,
    )
    missing = [name for name, module in NEEDS.items() if find_spec(module) is None]
    for name, enter in ENTRANCES.items():
        if name not in missing:
            for plant in plants(seed, name):
                enter(plant)
    shutdown_logging()
    return missing


_recorder = Recorder(agent="runner")


@record_tool
def give_back(value: Any) -> Any:
    """A tool."""
    return value


@record_tool(kind="write")
def refuse(plant: Plant) -> None:
    """A tool that fails."""
    raise PlantedFailure(plant.text)


@record_tool
def give_each(values: list[Any]) -> Any:
    """A tool that yields its response piece by piece."""
    yield from values


@entrance("labels of a run")
def _labels(plant: Plant) -> None:
    with Recorder(labels=plant.fields).run(None, {"label": plant.value}):
        pass


@entrance("end of a run")
def _end(plant: Plant) -> None:
    _recorder.start_run()
    _recorder.finish_run(ok=False, error=plant.text)
    with contextlib.suppress(PlantedFailure), _recorder.run():
        raise PlantedFailure(plant.text)


@entrance("names of steps")
def _steps(plant: Plant) -> None:
    # A step's file is named by a hash of its id, so the marker is the step's name.
    with _recorder.run(), _recorder.step(plant.text, plant.text):
        pass


@entrance("outputs of steps")
def _outputs(plant: Plant) -> None:
    with _recorder.run(), _recorder.step("one") as step:
        step.output = {"held": plant.value, "more": [plant.text]}


@entrance("model calls")
def _models(plant: Plant) -> None:
    with _recorder.run():
        _recorder.record_model_call(
            "one",
            model_name=f"model {plant.text}",
            params=plant.fields,
            prompt=plant.text,
            output=[{"role": "user", "content": plant.text}],
            **{f"own_{key}": value for key, value in plant.fields.items()},
        )
        _recorder.record_model_call(prompt={"held": plant.value}, output=plant.text)


@entrance("tools")
def _tools(plant: Plant) -> None:
    with _recorder.run():
        give_back(plant.value)
        give_back(value=[plant.text] * 400)
        list(give_each([plant.value, plant.text]))
        with contextlib.suppress(PlantedFailure):
            refuse(plant)


@entrance("text artifacts")
def _texts(plant: Plant) -> None:
    with _recorder.run():
        _recorder.save_artifact("notes.txt", plant.text)
        _recorder.save_artifact("bytes.txt", plant.text.encode())
        _recorder.save_artifact("open.txt", io.StringIO(plant.text))


@entrance("artifacts of values")
def _run_values(plant: Plant) -> None:
    with _recorder.run():
        _recorder.save_artifact("value.json", {"held": plant.value, "set": {plant.text}})


@entrance("artifacts of files")
def _files(plant: Plant) -> None:
    path = Path(sys.path[0], f"planted_{plant.marker}.txt")
    path.write_text(plant.text, encoding="utf-8")
    with _recorder.run():
        _recorder.save_artifact("file.txt", path)


@entrance("names of artifacts")
def _names(plant: Plant) -> None:
    with _recorder.run():
        _recorder.save_artifact(f"reports/{plant.text}.txt", f"about {plant.marker}")


@entrance("checkpoints")
def _checkpoints(plant: Plant) -> None:
    # Small and large: a large value is stored in separate chunks.
    padding = [{"n": n, "word": "filler"} for n in range(600)]
    for step_id, more in (("small", None), ("large", padding)):
        checkpoint_store.save_checkpoint(
            "checkpointed",
            f"{step_id} {plant.text}",
            {"held": plant.value, "tuple": (plant.text, 1), "more": more},
            messages=[{"role": "user", "content": plant.text}],
            tool_calls=[{"name": "t", "args": plant.fields}],
        )


@entrance("environment")
def _environment(plant: Plant) -> None:
    # The environment is not recorded; the marker is logged separately.
    os.environ[f"PLANTED_{plant.marker}".upper()] = plant.text
    utils.AgentLogger("surrounded").info(plant.marker)


DURABILITIES = ("kernel", "queued")
CLEAN, LEAKED, UNRECORDED, ABSENT = "not found", "FOUND", "NOT RECORDED", "not installed"
_TIMEOUT_S: Final = 300
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ENDING_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that was found: its shape, and the file under the trace root that contains it."""

    shape: str
    file: str


@dataclass(slots=True)
class Entrance:
    """The result for the secrets that were planted through one entrance."""

    name: str
    durability: str
    planted: int
    state: str = CLEAN
    leaks: list[Leak] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    """Shapes whose harmless marker is in no file: nothing was recorded, so redaction was not tested."""

    @property
    def is_wrong(self) -> bool:
        """Whether a secret was found, or the entrance recorded nothing."""
        return self.state in {LEAKED, UNRECORDED}


@dataclass(slots=True)
class Searched:
    """The results for all entrances, and how much was searched."""

    entrances: list[Entrance] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0

    @property
    def wrong(self) -> list[Entrance]:
        """The entrances through which a secret leaked, or that could not be checked."""
        return [entrance for entrance in self.entrances if entrance.is_wrong]


def plant_and_search(before: Callable[[str], object] = lambda _durability: None) -> Searched:
    """Plant secrets through every entrance under each durability, and search the files for them.

    Args:
        before: called with each durability before it is tested.
    """
    searched = Searched()
    for durability in DURABILITIES:
        before(durability)
        with tempfile.TemporaryDirectory(prefix="agent-trace-canary-") as directory:
            seed = secrets.token_hex(16)
            root = Path(directory, "trace")
            missing = plant_all(root, durability, seed)
            contents = contents_of(root)
            searched.entrances += search(contents, durability, seed, missing)
            searched.files += len(contents)
            searched.size_bytes += sum(map(len, contents.values()))
    return searched


def plant_all(root: Path, durability: str, seed: str) -> list[str]:
    """Plant secrets in a separate process; return the names of the entrances that are not installed."""
    command = [sys.executable, "-m", "Agent.testing.canary", str(root), durability]
    done = subprocess.run(  # noqa: S603 - our own module
        [*command, *secret_arguments(seed)],
        input=seed,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AgentTraceError(f"the program that plants the secrets failed: {last[0]}")
    return done.stdout.split("\n")[:-1]


def contents_of(root: Path) -> dict[str, bytes]:
    """Every file under the root by relative path, also decompressed where needed, and all file names."""
    contents = {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }
    for name, data in list(contents.items()):
        if data.startswith(_ZSTD):
            reader = ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
            contents[f"{name}, decompressed"] = reader.read()
    contents["file names"] = "\n".join(str(path.relative_to(root)) for path in root.rglob("*")).encode()
    return contents


def search(
    contents: Mapping[str, bytes], durability: str, seed: str, missing: Iterable[str] = ()
) -> list[Entrance]:
    """Search files for the secrets of every entrance: plain, escaped, quoted and in base64."""
    absent = set(missing)
    everything = b"\n".join(contents.values())
    endings = {everything[at : at + _ENDING_BYTES] for at in range(len(everything) - _ENDING_BYTES + 1)}
    entrances = []
    for name in (*ENTRANCES, ARGV):
        planted = plants(seed, name)
        entrance = Entrance(name, durability, len(planted))
        entrances.append(entrance)
        if name in absent:
            entrance.state = ABSENT
            continue
        for plant in planted:
            _judge(entrance, plant, contents, everything, endings)
        if entrance.leaks:
            entrance.state = LEAKED
        elif entrance.unrecorded:
            entrance.state = UNRECORDED
    return entrances


def _judge(
    entrance: Entrance,
    plant: Plant,
    contents: Mapping[str, bytes],
    everything: bytes,
    endings: Collection[bytes],
) -> None:
    # a fast filter: if the last bytes of a form occur nowhere, the form itself need not be searched for
    forms = [form for form in plant.forms() if form[-_ENDING_BYTES:] in endings and form in everything]
    entrance.leaks += [
        Leak(plant.shape, file)
        for file, data in (contents.items() if forms else ())
        if any(form in data for form in forms)
    ]
    if plant.marker.encode() not in everything:
        entrance.unrecorded.append(plant.shape)


if __name__ == "__main__":
    for absent in run(sys.argv[1], sys.argv[2], sys.stdin.readline().strip()):
        sys.stdout.write(f"{absent}\n")
