"""Readiness: what the evidence of hosts says for a framework, and how much of it nobody saw."""
