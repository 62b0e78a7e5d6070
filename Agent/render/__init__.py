"""The one renderer: reports are plain data (`blocks.py`), drawn as lines (`text.py`) or HTML (`html.py`)."""
