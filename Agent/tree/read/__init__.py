"""From files back to events: order across writers, losses, and following a live session."""
