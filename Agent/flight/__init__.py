"""Runs: what a recorded task was made of, and the states that it went through."""
