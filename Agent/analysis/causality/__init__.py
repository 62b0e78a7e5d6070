"""What led to an event: `event_links` reads linked events, `chains` follows links, `graph` shows them."""
