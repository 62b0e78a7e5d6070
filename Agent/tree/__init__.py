"""The trace tree: from finished bytes to files and back to events; the only package that knows names on disk.

- `layout` makes and parses every path; `default_root` is the trace root in use.
- `undisturbed` lets signals wait.
- `files`: what one file holds: lines, segments, claims, `session.json`.
- `write`, in the order of a line's way: `sink`, `writer`, `segment_writer`; beside it `mirror`, `artifacts`,
  the `crash_board` and the `chain` of digests.
- `read`: `reader` merges files into one order, `follower` reads on, `losses` has the account.
- `retention`: what is removed, and what still needs it.
"""
