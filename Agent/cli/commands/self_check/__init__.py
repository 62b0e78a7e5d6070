"""Commands about this installation: doctor, config, version."""
