"""Record random draws and reads of clocks, environment and entropy, so that a replay can return the same."""
