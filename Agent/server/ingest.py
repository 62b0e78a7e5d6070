"""`python -m Agent.server.ingest`: the writing role, on port 8000."""

import sys

from Agent.server.single_role import run_role

if __name__ == "__main__":
    sys.exit(run_role("ingest", sys.argv[1:]))
