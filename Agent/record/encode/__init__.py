"""From values to redacted bytes: everything that reaches the tree is made here."""
