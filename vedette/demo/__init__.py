"""The demo: a collector and an agent as real processes, and real things happening on this host."""
