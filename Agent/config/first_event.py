"""Start recording at the first event, if the program did not call `setup_logging`.

Loggers and decorators load only this module; the first event loads the rest, first `logging_config.py`.
"""

from __future__ import annotations

# Imported early: after a fork in another thread, the child's first event would find it half imported.
import logging  # noqa: F401
import sys

from Agent.config import process
from Agent.config.process import has_ended, unrecorded, wiring_lock
from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVEL_OFF
from Agent.event.limits_of_time import pass_on, undisturbed
from Agent.event.system_clock import SystemClock
from Agent.record.emit import installed
from Agent.record.emit.installed import LIMITS, NotRecording, active_pipeline
from Agent.record.health import say
from Agent.tree.default_root import default_root


def begin_by_default() -> None:
    """Start recording with the configured options; called by the first event.

    If that fails, for example because the root is not writable or the stack is nearly full, this is reported
    once on stderr and retried later; calls in the meantime are counted. An invalid setting, or an event after
    the end of recording, is reported once and nothing is recorded.

    Raises:
        NotRecording: nothing can be recorded now.
    """
    if unrecorded.waits():
        unrecorded.calls += 1
        raise NotRecording
    if has_ended():
        say("events after the end of recording, during interpreter shutdown, are not recorded")
    else:
        refused = _begin()
        if refused is None:
            return
        if _may_pass(refused):
            unrecorded.calls += 1
            raise NotRecording from None
    for limit in LIMITS.values():
        limit.value = LEVEL_OFF


def _begin() -> Exception | None:
    """Begin to record; return the error that prevents it, after reporting it."""
    # Also held during imports: a child forked meanwhile would keep half-imported modules.
    with wiring_lock(), undisturbed():
        try:
            unrecorded.require_descriptors()
            from Agent.config.logging_config import restart_recording

            restart_recording()
        except Exception as error:  # noqa: BLE001 - a program that cannot be recorded must not fail
            pass_on(error)
            prefix = "" if isinstance(error, ConfigurationError) else f"{type(error).__name__}: "
            if unrecorded.obstacle is None:
                say(f"nothing is recorded: {prefix}{error}")
            unrecorded.obstacle = f"{prefix}{error}"
            if _may_pass(error):
                unrecorded.try_again_ns = SystemClock.monotonic_ns() + unrecorded.RETRY_NS
            return error
    return None


def _may_pass(refused: Exception) -> bool:
    """Whether something other than a setting is the cause, such as files, memory or a deep stack."""
    return not isinstance(refused, ConfigurationError) or isinstance(refused.__cause__, OSError)


def _begin_late() -> None:
    """Try once more at the end of the program, so that a recording has the number of lost calls."""
    if active_pipeline() is None and not has_ended():
        _begin()


def _end_program() -> None:
    """End a session shared by several processes; imports its code only if there may be such a session."""
    try:
        from Agent.tree.layout import programs_dir

        if "Agent.config.session_join" in sys.modules or programs_dir(default_root()).is_dir():
            from Agent.config.session_join import end_program

            end_program()
    except Exception as error:  # noqa: BLE001 - an error while recording ends must not reach the program
        say(f"the session of this program's processes was not ended: {type(error).__name__}: {error}")


process.begin_late = _begin_late
process.end_program = _end_program
installed.bootstrap = begin_by_default
