"""Any Python value to plain JSON with tags, back again, and its digest."""
