"""Runs what reads in steps to its end."""

from collections.abc import Generator

from agent.sense.sensors.listings import Listed


def finished(steps: Generator[None, None, Listed]) -> Listed:
    """Return what a listing read."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            listed: Listed = end.value
            return listed
