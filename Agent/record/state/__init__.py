"""Which object is which agent, what of it is state, and what an action changed."""
