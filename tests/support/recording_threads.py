"""The threads of recording in this process, which `threading.enumerate()` does not have."""

from __future__ import annotations

from Agent.event import background_threads


def recording_threads(name: str) -> list[background_threads.BackgroundThread]:
    """The running threads of that name."""
    return [thread for thread in list(background_threads._running.values()) if thread.name == name]
