"""From user code to events: loggers, decorators, blocks, state, redaction.

And the sources of chance and time.

`loggers` and `tracing` are the doors; `emit` is the pipeline behind them, `encode` makes bytes of values and
is the only maker of redacted bytes, `sources` records clock, chance and environment.
"""
