"""Finished segments as Parquet, and a reader of both log files and Parquet."""
