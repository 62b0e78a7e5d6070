"""Commands that explain and replay: the first group of the help."""
