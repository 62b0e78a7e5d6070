"""Simulations in many styles with planted faults, each as its author would write it for a field of their own."""
