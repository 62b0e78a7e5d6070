"""The inputs of a replay: the run, its recording, the ordered actions, and the target."""
