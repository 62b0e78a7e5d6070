"""Checkpoints: when one is due, what it holds, the store, and the fold of an agent's state."""
