"""Finds agents among objects, reads their state, and compares it to find what an action changed."""
