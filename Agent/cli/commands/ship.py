"""`ship`: sessions of this machine to a service; what it does is `Agent.client`'s."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from Agent.cli import parameters, render

if TYPE_CHECKING:
    from Agent.client.destination import Destination
    from Agent.client.shipment import Shipment

_LOOK_S: Final = 0.5
_TAKE_OVER_S: Final = 120.0
"""Longer than the process goes on that sends what a program has left."""
_SHOWN_PATHS: Final = 6


@click.command(
    epilog=parameters.examples(
        "agent-trace ship --to http://localhost:8000",
        "agent-trace ship --to http://localhost:8000 --all",
        "agent-trace ship --to https://traces.example.com last --follow",
    )
)
@click.argument("session", required=False, shell_complete=parameters.complete_sessions)
@click.option("--to", "url", required=True, metavar="URL", help="URL of the ingest service.")
@click.option("--all", "every", is_flag=True, help="Every session of the trace root, oldest first.")
@click.option(
    "--api-key",
    envvar="AGENT_TRACE_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="For a service on another machine. The environment variable keeps it out of the process list.",
)
@click.option("-f", "--follow", is_flag=True, help="Continue until the session's programs have ended.")
@click.option("--again", is_flag=True, help="Send everything, even if it was sent before.")
@click.option(
    "--content", is_flag=True, help="Also send payloads and messages; the project must accept them."
)
@click.option(
    "--patience", "patience_s", default=30.0, metavar="SECONDS", help="How long to wait for an answer."
)
@parameters.common_options
def ship(
    session: str | None,
    url: str,
    every: bool,
    api_key: str | None,
    follow: bool,
    content: bool,
    again: bool,
    patience_s: float,
    as_json: bool,
    root: Path,
) -> int:
    """Send live or finished sessions to a service.

    Only names, ids, counts, times and short labels leave this machine; what was left out is listed by path.
    The command remembers what it has sent to each database, so the next call sends only new events, and
    nothing is stored twice. If another process still sends the session of a finished program, it waits.
    SESSION is an id, a unique prefix of one, a path, or last (the default).
    """
    from Agent.client.destination import Destination
    from Agent.tree.layout import find_session, list_sessions

    context = click.get_current_context()
    if every and session is not None:
        raise click.UsageError("give SESSION or --all", context)
    if every and follow:
        raise click.UsageError("--follow needs a single session", context)
    destination = Destination(url, api_key)
    if destination.shows_key:
        render.note(f"the API key goes to {destination.place} unencrypted; use https")
    paths = [ref.path for ref in list_sessions(root)] if every else [find_session(root, session or "last")]
    answers = []
    for path in paths:
        how = {"content": content, "again": again, "patience_s": patience_s}
        answer = _ship_one(path, destination, how, follow=follow, goes_on=every)
        answers.append(answer)
        if not as_json:
            _show(answer, destination.place)
    if as_json:
        render.emit_json(answers if every else answers[0])
    elif not paths:
        render.note("no session here yet")
    return 1 if any(answer["refused"] for answer in answers) else 0


def _ship_one(
    path: Path,
    destination: Destination,
    how: dict[str, Any],
    *,
    follow: bool,
    goes_on: bool,
) -> dict[str, Any]:
    from Agent.errors import SessionInUse, SessionNotFound

    told = False

    def wait(seconds: float) -> bool:
        nonlocal told
        if shipment.outcome.problem and not told:
            told = True
            longest = f"trying again for {how['patience_s']:g} seconds"
            render.note(f"{destination.place}: {shipment.outcome.problem}, {longest}")
        time.sleep(seconds)
        return False

    try:
        shipment = _taken_over(path, destination, wait, how, follow=follow)
    except (SessionInUse, SessionNotFound) as error:
        # one that is busy, or begins just now and has no name yet, keeps no other from being sent
        if not goes_on:
            raise
        return {**_answer(path, None), "skipped": error.message}
    with shipment:
        _send(shipment, follow=follow)
        return _answer(path, shipment)


def _taken_over(
    path: Path, destination: Destination, wait: Callable[[float], bool], how: dict[str, Any], *, follow: bool
) -> Shipment:
    """The shipment, as soon as no other process sends the session.

    Raises:
        SessionInUse: another one does, of a program that still runs, or for longer than it may take to end.
    """
    from Agent.client.shipment import Shipment, is_written
    from Agent.errors import SessionInUse

    ends_s = time.monotonic() + _TAKE_OVER_S
    told = False
    while True:
        try:
            return Shipment(path, destination, wait, **how)
        except SessionInUse:
            if not follow and (is_written(path) or time.monotonic() > ends_s):
                raise
        if not told:
            told = True
            render.note(f"another process is sending it to {destination.place}; waiting for it to end")
        time.sleep(_LOOK_S)


def _send(shipment: Shipment, *, follow: bool) -> None:
    from Agent.cli.progress import bar
    from Agent.client.shipment import is_written

    with bar(f"sending {shipment.session.name.removeprefix('session_')}") as show:
        shipment.ship_archive()
        while True:
            # Asked first: what was written before the last program ended is then sent below.
            may_grow = follow and is_written(shipment.session)
            while shipment.ship() or shipment.behind:
                show(shipment.share)
            if not may_grow:
                break
            time.sleep(_LOOK_S)
        show(1.0)


def _answer(path: Path, shipment: Shipment | None) -> dict[str, Any]:
    from Agent.client.shipment import is_written

    answer: dict[str, Any] = {
        "session": str(path), "sent": 0, "stored": 0, "refused": 0, "reasons": {}, "bodies": 0, "bytes": 0,
        "retries": 0, "dropped": {}, "left_out": {}, "damaged_lines": 0, "is_written": is_written(path),
    }  # fmt: skip
    if shipment is None:
        return answer
    outcome = shipment.outcome
    for name in ("sent", "stored", "refused", "bodies", "bytes", "retries"):
        answer[name] = getattr(outcome, name)
    answer["reasons"] = dict(outcome.reasons)
    answer["dropped"] = dict(shipment.dropped.most_common())
    answer["left_out"] = dict(outcome.dropped.most_common())
    answer["damaged_lines"] = shipment.damaged_lines
    answer["cursor_problem"] = shipment.cursor_problem
    answer["is_other_database"] = outcome.is_other_database
    return answer


def _show(answer: dict[str, Any], place: str) -> None:
    name = Path(answer["session"]).name.removeprefix("session_")
    if "skipped" in answer:
        render.note(f"{name}: {answer['skipped']}")
        return
    if answer["sent"]:
        known = answer["sent"] - answer["stored"]
        aside = f", {render.count(known)} of them already there" if known else ""
        amount = f"{render.size(answer['bytes'])} in {render.plural(answer['bodies'], 'request')}"
        render.emit(f"{name}: {render.plural(answer['sent'], 'event')} sent to {place}{aside}, {amount}")
    elif not answer["refused"]:
        render.emit(f"{name}: everything is already at {place}")
    if answer.get("is_other_database"):
        render.note("  a different database answered than before, so everything was sent")
    _show_paths("not sent", answer["dropped"])
    _show_paths("left out by the service", answer["left_out"])
    if "/state" in answer["left_out"] or "/message" in answer["left_out"]:
        render.note(
            "  its project takes no content: agent-trace keys content PROJECT --on there, then ship again"
        )
    for reason, times in list(answer["reasons"].items())[:_SHOWN_PATHS]:
        render.note(f"  {render.plural(times, 'event')} refused: {render.clean(reason)}")
    render.note_damage(answer["damaged_lines"])
    if answer.get("cursor_problem"):
        render.note(
            f"  progress cannot be saved ({answer['cursor_problem']}), so everything is sent again next time"
        )
    if answer["is_written"]:
        render.note("  a program is still writing to it: --follow continues until it has ended")


def _show_paths(what: str, paths: dict[str, int]) -> None:
    if not paths:
        return
    shown = [f"{path} {render.count(times)}" for path, times in list(paths.items())[:_SHOWN_PATHS]]
    more = len(paths) - len(shown)
    aside = f", and {render.plural(more, 'more path')}" if more > 0 else ""
    render.note(f"  {what}: {', '.join(shown)}{aside}")
