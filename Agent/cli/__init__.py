"""The command line: `main.py` starts and ends it, `groups.py` knows which command stands in which module."""
