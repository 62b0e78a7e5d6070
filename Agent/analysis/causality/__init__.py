"""What led to an event: `event_window` holds events, `event_links` reads more, `chains` walks back."""
