"""`control`: pause a running program that allows it, step it, and change fields of its agents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from Agent.cli import render
from Agent.cli.parameters import Root, command, complete_runs, misuse
from Agent.cli.render import shown
from Agent.errors import AgentNotFound, InputError, UsageError
from Agent.render.words import cell
from Agent.tree.layout import find_session, session_id_of

if TYPE_CHECKING:
    from Agent.tree.files.control import Program

_WAIT_S = 10.0
Command = Literal["status", "pause", "step", "resume", "set"]


@command()
def control(
    name: Annotated[str, "SESSION", {"shell_complete": complete_runs}],
    what: Annotated[Command, "{status|pause|step|resume|set}"],
    given: Annotated[tuple[str, ...], "[N | AGENT FIELD=VALUE]"],
    wait: Annotated[float, "--wait SECONDS", click.FloatRange(min=0)] = _WAIT_S,
    *,
    root: Root,
) -> int:
    """Pause a running program, step it, and change its agents.

    The program has to allow it, with setup_logging(control=True), and to mark its steps, with tick(n). It
    takes requests where a tick begins. pause holds it there until resume; step [N] lets one tick or N ticks
    begin and holds it again; set changes a field that the agent exposes, while the program is paused or at
    the next tick. Each of these becomes an event, and a replay repeats the changes.

    VALUE is JSON, or a text; it must have the type that the field has. SESSION is an id, a unique prefix of
    one, a path, or last. Exit code 1: the program is not in the state for that, or began no tick in time, and
    the request was withdrawn; status: it ended or was killed. 2: the agent has no such field, or cannot take
    that value. 3: no program of the session allows control, or it has no such agent.

    Args:
        wait: How long to wait for the next tick.

    Examples:
        agent-trace control last pause
        agent-trace control last step 5
        agent-trace control last set household_7 wealth=100
        agent-trace control last status
        agent-trace control last resume
    """
    path = find_session(root, name)
    if what == "status":
        _no_more(what, given)
        return _status(path)
    asked: dict[str, Any] = {"command": what, "by": _user()}
    if what == "set":
        asked |= _change(given)
    elif what == "step":
        asked["ticks"] = _ticks(given)
    else:
        _no_more(what, given)
    return _ask(path, asked, wait)


def _ask(session: Path, asked: dict[str, Any], wait_s: float) -> int:
    from Agent.tree.files.control import NoTick, request

    try:
        with shown("waiting for the program's next tick"):
            answer = request(session, asked, wait_s)
    except NoTick as late:
        return _not_done(session, str(late))
    refused = answer.get("refused")
    if refused is None:
        render.document(lambda: {"session": session_id_of(session), "done": True, **_told(answer)})
        render.emit_text(_words(asked, answer))
        return 0
    message, remedy = str(refused["message"]), refused["remedy"]
    if refused["what"] == "state":
        return _not_done(session, f"{message}; {remedy}" if remedy else message)
    error = AgentNotFound if refused["what"] == "agent" else UsageError
    raise error(message, remedy=remedy)


def _not_done(session: Path, why: str) -> int:
    render.document(lambda: {"session": session_id_of(session), "done": False, "why": why})
    render.note(render.clean(why), always=True)
    return 1


def _words(asked: dict[str, Any], answer: dict[str, Any]) -> str:
    from Agent.tree.files.control import before

    place = before(answer["tick"])
    if asked["command"] == "set":
        return (
            f"{asked['field']} of {asked['agent_id']}{place}: {cell(answer['old'])} -> "
            f"{cell(answer['new'])} (event {answer['event_id']})"
        )
    return f"running on{place}" if asked["command"] == "resume" else f"paused{place}"


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "id"}


def _change(given: tuple[str, ...]) -> dict[str, Any]:
    from Agent.tree.files.control import parsed

    if len(given) != 2 or "=" not in given[1][1:]:
        raise misuse("set takes AGENT FIELD=VALUE")
    name, _, text = given[1].partition("=")
    return {"agent_id": given[0], "field": name, "value": parsed(text), "text": text}


def _ticks(given: tuple[str, ...]) -> int:
    if len(given) > 1 or not all(each.isascii() and each.isdecimal() and int(each) for each in given):
        raise misuse("step takes the number of ticks, at least 1")
    return int(given[0]) if given else 1


def _no_more(what: str, given: tuple[str, ...]) -> None:
    if given:
        raise misuse(f"{what} takes nothing more")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"


def _status(session: Path) -> int:
    from Agent.tree.files.control import ENDED, controlled, read_program

    program = read_program(session)
    try:
        controlled(session)
    except InputError as error:
        if program is None:
            raise
        why: str | None = error.message
        state = ENDED if program.state == ENDED else "killed"
    else:
        assert program is not None  # noqa: S101 - else `controlled` raises
        why, state = None, program.state
    told = {name: getattr(program, name) for name in ("tick", "since", "pid", "has_ticked")}
    render.document(lambda: {"session": session_id_of(session), "state": state, **told})
    render.emit_text(why or _status_words(program))
    return 1 if why else 0


def _status_words(program: Program) -> str:
    from Agent.tree.files.control import PAUSED, before

    if program.state == PAUSED:
        return f"paused{before(program.tick)} since {program.since} (process {program.pid})"
    ticks = "" if program.has_ticked else "; no tick has begun yet: with tick(n) marks the steps"
    return f"running (process {program.pid}){ticks}"
