"""Twelve simulations of crafts, services and science, each with four planted faults."""
