"""The command line: `main.py` starts and ends it, and knows which module holds which command."""
