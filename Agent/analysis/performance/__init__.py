"""Where the time goes: operations, slow spans, throughput and resources over time."""
