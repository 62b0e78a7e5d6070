"""From user code to events: loggers, decorators, blocks, surroundings, state, redaction, and the line."""
