"""Probes: each reads one kind of thing into typed facts, and decides nothing."""
