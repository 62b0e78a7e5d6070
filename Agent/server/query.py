"""`python -m Agent.server.query`: the reading role, on port 8001."""

import sys

from Agent.server.single_role import run_role

if __name__ == "__main__":
    sys.exit(run_role("query", sys.argv[1:]))
