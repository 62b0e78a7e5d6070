"""Where the behaviour of an agent changes against its own past and its peers."""
