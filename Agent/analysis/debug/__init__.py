"""From an issue in words to ranked causes: start at `debug_issue`."""
