"""The networked half: no privileges; holds the TLS key."""
