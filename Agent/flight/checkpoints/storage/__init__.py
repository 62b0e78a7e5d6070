"""Checkpoints of one run on disk: packs, chunks, the index, and deltas between states."""
