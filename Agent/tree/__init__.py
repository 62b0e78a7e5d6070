"""The trace tree: from finished bytes to files and back to events; the only room that knows names on disk.

Writing: `sink` (what the room above speaks to), `writer`, `open_files`, `segment`, `rotation`, `mirror`, with
`claim` and `board` for what must be known after a crash. Reading: `session`, `lines`, `reader`, `losses`,
`follower`, `summary`. Everybody meets in `layout`.
"""
