"""Posture: probes read typed facts, checks judge them, and what was not seen is never a pass."""
