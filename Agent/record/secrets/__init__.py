"""What a secret looks like: by name, by the mark of its issuer, by its form."""
