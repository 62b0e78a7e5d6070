"""The questions about agents and sessions, one module each; a new one is a module here."""
