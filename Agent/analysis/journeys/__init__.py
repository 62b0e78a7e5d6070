"""What one agent did and was, event by event, and the timeline of the session."""
