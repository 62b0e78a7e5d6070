"""Options: their definition, their sources, and how they set up the parts of recording."""
