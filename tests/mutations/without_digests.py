"""Imported by a program, this takes the digests of values away: each is the same constant from then on.

A harness that finds nothing wrong then finds nothing at all.
"""

from Agent.event.values.content_digest import short_digest
from Agent.event.values.digest import digest_bytes

# Its code, not its name: other modules have imported the function itself.
short_digest.__code__ = (lambda data: b"\0" * 8).__code__
digest_bytes.__code__ = (lambda data: "0" * 16).__code__
