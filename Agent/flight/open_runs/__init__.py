"""Runs while they are recorded: context, flat lines, artifacts; and the fold that reads them back."""
