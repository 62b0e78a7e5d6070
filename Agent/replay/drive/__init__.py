"""What a replay passes to user code: agents, recorded results, states and arguments."""
