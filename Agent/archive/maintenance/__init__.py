"""Recover, verify and prune sessions; rebuild mirrors; compare lines with their chains."""
