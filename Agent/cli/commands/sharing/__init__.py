"""Commands of the service: serve, keys, ship."""
