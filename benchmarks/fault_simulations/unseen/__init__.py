"""Simulations by one author."""
