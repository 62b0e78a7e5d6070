"""Formatters, filters and handlers that the user chose, built and fed."""
