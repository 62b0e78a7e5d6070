"""A whole session as one answer: plain values, text, and one HTML file."""
