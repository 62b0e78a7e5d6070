"""What led to an event: `event_links` reads events with their links, `chains` walks back."""
