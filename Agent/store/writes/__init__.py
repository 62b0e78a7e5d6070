"""Batches of events and runs into the database, and its partitions."""
