"""The event and its formats. This package holds values only: it uses no file, clock or global."""
