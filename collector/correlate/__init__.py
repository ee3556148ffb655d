"""Incidents from findings that belong together: a pure core under a projection."""
