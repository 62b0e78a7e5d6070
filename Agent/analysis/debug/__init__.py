"""Explain an issue described in words by ranked causes; start at `debug_issue`."""
