"""Chance and time: what recorded code draws and reads, kept so that a replay can give it again."""
