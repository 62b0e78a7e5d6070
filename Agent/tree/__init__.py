"""The trace tree: writes encoded lines to files and reads events back; file names are defined only here.

- `layout` makes and parses every path; `default_root` is the trace root in use.
- `undisturbed` defers the signals of timers.
- `files`: the contents of one file: lines, segments, claims, `session.json`.
- `write`: a line passes through `sink`, `writer` and `segment_writer`; also `mirror`, `artifacts`,
  `crash_board` and the `chain` of digests.
- `read`: `reader` merges files into one order, `follower` reads new lines, `losses` counts lost events.
- `retention` decides which segments and sessions to remove.
"""
