"""The index of one session: how its files become columns, how it is stored, and how lines are read again."""
