"""Print the newest events, and follow them with -f: the same as `agent-trace tail`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a checkout works without an installation

from Agent.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["tail", *sys.argv[1:]]))
