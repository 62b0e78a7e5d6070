"""The worlds, one module each. A module that defines `WORLD` is part of the set; nothing else has to be edited."""
