"""Chance, clock, environment and files during a replay: answered from the recording, and watched."""
