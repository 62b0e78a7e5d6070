"""The behaviour of two sessions or two groups of agents in numbers, side by side."""
