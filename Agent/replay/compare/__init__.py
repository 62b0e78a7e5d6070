"""The one comparison of recorded and replayed values, events and outcomes."""
