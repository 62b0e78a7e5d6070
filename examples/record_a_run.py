"""Record one task as a run: steps, a model call, an artifact; then read it back as plain files.

Run it from any directory: `python examples/record_a_run.py`.
"""

import json

from Agent import health, shutdown_logging
from Agent.flight import find_run, read_run, recorder


def model(prompt: str) -> str:
    """A stand-in for a model, so that the example needs no account."""
    return prompt.upper()


with recorder.run("summariser", {"environment": "example", "version": "1.0"}) as run:
    with recorder.step("fetch", "Fetch the text", step_type="retrieve") as fetch:
        text = "agents forget, traces do not"
        fetch.output = {"text": text, "words": len(text.split())}
    with recorder.step("summarise", "Ask the model", step_type="respond") as summarise:
        answer = model(text)
        recorder.record_model_call(
            step_id="summarise",
            call_id="call_1",
            model_name="shouting-1",
            model_provider="example",
            params={"temperature": 0.0},
            prompt=text,
            output=answer,
            prompt_tokens=5,
            completion_tokens=5,
            latency_ms=0.1,
        )
        summarise.output = {"answer": answer}
    recorder.save_artifact("results/answer.md", f"# Answer\n\n{answer}\n")

directory = health()["path"] + f"/runs/{run.run_id}"
shutdown_logging()

# What was recorded are plain files: any program can read them.
with open(f"{directory}/events.jsonl", encoding="utf-8") as file:
    events = [json.loads(line) for line in file]
for event in events[:4]:
    print(event["timestamp"], event["type"], event.get("step_id", ""))
print(f"... {len(events)} events in {directory}/events.jsonl")

# The same with what the package knows of runs; each artifact is checked against its digest.
record = read_run(find_run(run.run_id))
for step in record.steps:
    output = json.loads(b"".join(record.read(step.output_ref)))
    print(f"step {step.step_id}: {step.state}, {output}")
print(f"more: agent-trace runs {run.run_id}")
