"""Calls of tools and models while they are recorded: one call, opened, answered, written."""
