"""Checkpoints: policies, the stored form, the store, and the fold of an agent's state."""
