"""`python -m Agent` is the command `agent-trace`."""

from __future__ import annotations

from Agent.cli.main import run

if __name__ == "__main__":
    run()
