"""Where options come from: defaults, files, environment, `LOGGING_CONFIG`."""
