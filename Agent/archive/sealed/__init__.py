"""Finished segments as Parquet, and a reader over both forms."""
