"""Who gets a certificate: a process of its own, with the tenants' authorities and join tokens."""
