"""The renderer: reports are plain data (`blocks.py`), drawn as text (`text.py`) or HTML (`html.py`)."""
