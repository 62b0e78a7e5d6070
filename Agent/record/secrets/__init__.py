"""Recognises secrets by their name, by their issuer's prefix, and by their form."""
