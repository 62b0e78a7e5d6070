"""Commands for one aspect of a session, for runs, forks and golden traces."""
