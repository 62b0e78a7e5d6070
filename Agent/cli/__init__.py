"""The command line: `main.py` parses arguments, runs one command and returns the exit code."""
