"""The entrances of runs: steps, models, tools, artifacts and their names, checkpoints; and the environment.

`entry_points.py` plants through them, in the same session as through its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from Agent import AgentLogger
from Agent.flight import Recorder, checkpoint_store, record_tool
from Agent.testing.canary.secrets import Plant, entrance

_recorder = Recorder(agent="runner")


class PlantedRunFailure(Exception):
    """What ends a run."""


@record_tool
def give_back(given: Any) -> Any:
    """A tool."""
    return given


@record_tool(kind="write")
def refuse(plant: Plant) -> None:
    """A tool that fails."""
    raise PlantedRunFailure(plant.text)


@record_tool
def give_each(given: list[Any]) -> Any:
    """A tool that answers piece by piece."""
    yield from given


@entrance("labels of a run")
def _labels(plant: Plant) -> None:
    with Recorder(labels=plant.fields).run(None, {"label": plant.value}):
        pass


@entrance("end of a run")
def _end(plant: Plant) -> None:
    _recorder.start_run()
    _recorder.finish_run(ok=False, error=plant.text)
    with contextlib.suppress(PlantedRunFailure), _recorder.run():
        raise PlantedRunFailure(plant.text)


@entrance("names of steps")
def _steps(plant: Plant) -> None:
    # The file of a step is named by a hash of its id, so the marker comes in by its name.
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
        give_back(given=[plant.text] * 400)
        list(give_each([plant.value, plant.text]))
        with contextlib.suppress(PlantedRunFailure):
            refuse(plant)


@entrance("text artifacts")
def _texts(plant: Plant) -> None:
    with _recorder.run():
        _recorder.save_artifact("notes.txt", plant.text)
        _recorder.save_artifact("bytes.txt", plant.text.encode())
        _recorder.save_artifact("open.txt", io.StringIO(plant.text))


@entrance("artifacts of values")
def _values(plant: Plant) -> None:
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
    # Small and large: what is large lies in chunks of its own.
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
    # Nothing of it is recorded; the marker comes in beside it.
    os.environ[f"PLANTED_{plant.marker}".upper()] = plant.text
    AgentLogger("surrounded").info(plant.marker)
