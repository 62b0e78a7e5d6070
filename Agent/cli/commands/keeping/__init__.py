"""Commands that look after what is recorded: seal, recover, verify, prune, erase."""
