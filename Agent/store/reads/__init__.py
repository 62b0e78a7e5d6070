"""Queries: lists, counts, groups of errors, journeys."""
