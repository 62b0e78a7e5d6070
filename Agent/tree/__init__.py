"""The trace tree: from finished bytes to files and back to events; the only package that knows names on disk.

Everybody meets in `layout`.

- Writing, in the order of a line's way: `sink` (what the package above speaks to), `writer` (the fast path),
  `own_file` (the slow one) with `segment`, `open_files`, `rotation`, `commit`, `counts`; beside it `mirror`,
  and `chain`, the digests over `hash_tree`; `undisturbed` lets signals wait.
- What must be known after a crash: `claim` (who writes), `board` (what was under way), `recovered` (what was
  found out afterwards); `session` is the rest.
- What goes: `retention` by `retired`, which says it first, `in_use`, `cursors`, `kept`, `flocks`; sessions by
  `removal`.
- Reading: `lines` and `seqset`; `merge` for order, `tailing` and `scan` for speed; `losses` for the account;
  on them stand `reader`, `summary`, and `follower` with `notices`.
"""
