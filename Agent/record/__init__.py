"""From user code to events: loggers, decorators and blocks, what surrounds a call, state, redaction, and the line."""
