"""Which session is asked about, and whether its record is whole."""
