"""What a replay hands to user code: agents, recorded results, states, arguments."""
