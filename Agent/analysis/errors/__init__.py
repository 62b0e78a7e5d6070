"""Every error once, grouped by fingerprint, with what came before and after."""
