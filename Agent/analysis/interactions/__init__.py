"""What happens between agents: interactions, cascades, messages, and the graph of all of it."""
