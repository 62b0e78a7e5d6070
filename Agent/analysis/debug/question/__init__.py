"""What a sentence about an issue names: agents, things, events and messages."""
