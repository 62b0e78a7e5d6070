"""The renderer: reports are plain data (`blocks.py`), drawn as text (`layout.py`) or HTML (`html.py`)."""
