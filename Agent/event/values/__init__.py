"""Encode any Python value as plain JSON with tags, decode it again, and compute its digest."""
