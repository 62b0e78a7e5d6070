"""A small entry: blames the last three errors or warnings before the words of the complaint last appear.

python last_errors.py CASES ANSWERS
"""

import json
import re
import sys
from pathlib import Path

cases, answers = map(Path, sys.argv[1:])


def blamed(complaint, events):
    """Return the ids of the last three errors before the last event that shares a rare word with the complaint."""
    words = {word for word in re.findall(r"\w+", complaint.lower()) if len(word) > 3}
    texts = [json.dumps(event).lower() for event in events]
    telling = {word for word in words if 0 < sum(word in text for text in texts) < len(texts) / 10}
    spoken_of = [number for number, text in enumerate(texts) if any(word in text for word in telling)]
    end = spoken_of[-1] if spoken_of else len(events)
    errors = [event["id"] for event in events[:end] if event["level"] in {"WARNING", "ERROR", "CRITICAL"}]
    return errors[:-4:-1]


with answers.open("w") as written:
    for line in (cases / "cases.jsonl").read_text().splitlines():
        case = json.loads(line)
        events = [json.loads(each) for each in (cases / case["case"] / "events.jsonl").open()]
        causes = [{"event_ids": [name], "confidence": 0.3} for name in blamed(case["complaint"], events)]
        written.write(json.dumps({"case": case["case"], "causes": causes}) + "\n")
