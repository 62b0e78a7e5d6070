"""Record events of the program: loggers, decorators, blocks, state, redaction.

Also records the sources of randomness and time.

Users call `loggers` and `tracing`; these pass events to the pipeline in `emit`. Only `encode` converts values
to redacted bytes. `sources` records clocks, random draws and the environment.
"""
