"""The contents of a session's files: lines, segments, claims, sequence numbers, `session.json`, lineage."""
