"""The trace tree: from finished bytes to files and back to events; the only package that knows names on disk.

- `layout` makes and parses every path; `default_root` says which trace root is meant; `undisturbed` lets
signals wait.
- `files`: what one file holds: lines, claims, `session.json`, lineage, tallies.
- `write`, in the order of a line's way: `sink`, `writer`, `segment_writer` with `open_files` and `rotation`,
  `group_commit`; beside it `mirror`, `artifacts`, the `crash_board` and the `chain` of digests.
- `read`: `merge` for order, `tailing` and `loss_scan` for speed, `losses` for the account; `reader`,
`summary`
  and `follower` stand on them.
- `retention`: what is removed, by whom it is still in use, and how far those who ship it are.
"""
