"""Rewards, exploration and updates: sums, curves, and which experience led to which update."""
