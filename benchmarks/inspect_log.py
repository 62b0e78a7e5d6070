"""A log of Inspect for `viewers.py`; run by the interpreter that has inspect_ai, whose models give its shape.

`python inspect_log.py FILE.json SAMPLES TURNS` writes an evaluation of so many samples, all at the same time, each of
so many turns of 5 events: a span with a call of a model and of a tool, and a note. Texts are of random words, 14 KB a
turn. `inspect log convert` makes the form of it that `inspect view` opens sample by sample.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspect_ai.event import InfoEvent, ModelEvent, SpanBeginEvent, SpanEndEvent, ToolEvent
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec
from inspect_ai.model import ChatMessageUser, GenerateConfig, ModelOutput

BEGAN = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def plain(model) -> dict:
    return json.loads(model.model_dump_json(exclude_none=True))


def main(target: str, samples: str, turns: str) -> None:
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=2 + n % 9)) for n in range(4_000)]

    def text(size: int) -> str:
        return " ".join(chance.choices(words, k=size // 7))

    model = plain(
        ModelEvent(
            model="mock/model", input=[ChatMessageUser(content="@")], tools=[], tool_choice="auto",
            config=GenerateConfig(), output=ModelOutput.from_content("mock/model", "@"),
        )
    )  # fmt: skip
    tool = plain(ToolEvent(id="@", function="search", arguments={"query": "@"}, result="@"))
    info, begin = plain(InfoEvent(source="notes", data="@")), plain(SpanBeginEvent(id="@", name="turn"))
    end, sample = plain(SpanEndEvent(id="@")), plain(EvalSample(id="@", epoch=1, input="@", target="@"))
    spec = EvalSpec(
        created=BEGAN.isoformat(),
        task="writing",
        dataset=EvalDataset(),
        model="mock/model",
        config=EvalConfig(),
    )
    log = plain(EvalLog(status="success", eval=spec))
    log.pop("samples", None)

    def events(name: str):
        now = BEGAN + timedelta(milliseconds=chance.randrange(1_000))
        for turn in range(int(turns)):
            span = f"{name}-{turn}"
            stamps = []
            for _ in range(5):
                now += timedelta(microseconds=chance.randrange(1_000, 400_000))
                stamps.append(now.isoformat())
            of = {"span_id": span}
            message = model["input"][0] | {"content": text(5_000)}
            choice = model["output"]["choices"][0]
            said = choice | {"message": choice["message"] | {"content": text(3_000)}}
            output = model["output"] | {"choices": [said]}
            failed = {"error": {"type": "timeout", "message": "no answer"}} if chance.random() < 0.002 else {}
            listed = (
                begin | {"id": span, "timestamp": stamps[0]},
                model
                | of
                | {"timestamp": stamps[0], "completed": stamps[1], "input": [message], "output": output},
                tool
                | of
                | failed
                | {"id": span, "timestamp": stamps[1], "completed": stamps[2], "result": text(4_000)},
                info | of | {"timestamp": stamps[3], "data": text(1_500)},
                end | {"id": span, "timestamp": stamps[4]},
            )
            for number, each in enumerate(listed):
                yield each | {"uuid": f"{span}-{number}"}

    with Path(target).open("w", encoding="utf-8") as file:
        file.write(json.dumps(log)[:-1] + ', "samples": [')
        for number in range(int(samples)):
            name = f"sample-{number:03}"
            whole = sample | {"id": name, "input": text(200), "uuid": name, "events": list(events(name))}
            file.write((", " if number else "") + json.dumps(whole))
        file.write("]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
