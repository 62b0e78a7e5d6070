"""How agents were made, for a target that makes them again: recorded arguments, and what it has to add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from Agent.errors import RecordingMiss
from Agent.event.pointers import escape
from Agent.event.values.values import Unrestored
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.outcome import ReplayOutcome, SourceRead
from Agent.replay.drive.agent_stubs import ConstructorArguments, Spec
from Agent.replay.plan.values import Decoder

_INIT = "/extra/init"


def constructor_arguments(
    recorded: Mapping[str, Any], types: Mapping[str, str], decoder: Decoder
) -> ConstructorArguments:
    """What was recorded of a constructor's arguments, as Python values."""
    lacking: list[str] = []

    def restored(value: Any, place: str, name: str) -> Any:
        pointer = f"{_INIT}/{place}/{escape(name)}"
        try:
            found = decoder.restore(Recorded(value, types, pointer))
        except RecordingMiss:  # it is an agent of which the run holds nothing
            lacking.append(name)
            return Unrestored("agent", value)
        if not found.unrestored:
            return found.value
        lacking.append(name)
        return Unrestored(types.get(pointer, "opaque"), value)

    args = tuple(restored(value, "args", str(place)) for place, value in enumerate(recorded["args"]))
    kwargs = {name: restored(value, "kwargs", name) for name, value in recorded["kwargs"].items()}
    kept = {name: value for name, value in kwargs.items() if name not in lacking}
    return ConstructorArguments(args, kept, tuple(lacking))


def what_the_spec_lacks(spec: Spec) -> str:
    """What a factory that failed may have missed in its spec, and where it is; "" for nothing."""
    if spec.agent_id is None:
        named = ", ".join(spec.agent_ids[:4]) + (" and more" if len(spec.agent_ids) > 4 else "")
        return (
            f"; {len(spec.agent_ids)} agents act independently ({named}), so spec.init and spec.state are "
            "not those of any one of them: spec.of(agent_id) has each one's"
        )
    if spec.init is None:
        return (
            f"; spec.init is None: the arguments of {spec.agent_id}'s constructor are not in the recording; "
            "`instrument` its class before it is made, and they are"
        )
    if spec.init.lacking:
        return (
            f"; spec.init is of {spec.agent_id} and lacks what cannot be restored, which the factory has to "
            f"give itself: {', '.join(map(_argument, spec.init.lacking))}"
        )
    return ""


MADE_OTHERWISE = "cannot be restored, and the factory made a different one"


def doubt_what_was_built(outcome: ReplayOutcome, reads: Sequence[SourceRead]) -> None:
    """Let a difference prove nothing where chance went into what was built and is not put back."""
    if not reads:
        return
    is_other = any(MADE_OTHERWISE in reason for reason in outcome.reasons)
    is_others = outcome.divergence is not None and bool(outcome.divergence.inner_agent_id)
    is_kept = outcome.inside or outcome.unseen or outcome.references or is_others
    if not is_other and (outcome.divergence is None or not is_kept):
        return
    named = ", ".join(f"{read.source} by {read.function} ({read.file}:{read.line})" for read in reads[:3])
    text = (
        f"the target drew chance that is in no record while it built what is replayed: {named}; give it one "
        "seed in the program and in the factory, as a seed argument or by `random.seed(number)`"
        + ("; where no seed reaches it, leave out the field that keeps it" if is_other else "")
    )
    if is_other:
        outcome.reasons.insert(0, text)
    else:
        outcome.doubts.append(text)


def _argument(name: str) -> str:
    return f"argument {int(name) + 1}" if name.isdecimal() else name
