"""Parse an issue text: the agents, things, events and messages that it names."""
