"""Encodes values as redacted bytes; everything that is written to the tree is made here."""
