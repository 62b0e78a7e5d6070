"""What single files of a session hold: lines, claims, `session.json`, lineage, tallies."""
