"""Puts `ship` together from its settings and its own files."""

from collections.abc import Callable
from pathlib import Path

from agent.identity import load_identity
from agent.settings import SharedSettings
from agent.ship.app import Parts, Ship
from agent.ship.credentials import load_trust
from runtime.clock import Clock


def build(settings: SharedSettings, clock: Clock, random: Callable[[], float]) -> Ship:
    """Return `ship`, ready to run.

    Args:
        settings: the shared sections.
        clock: the source of time.
        random: floats in [0, 1), for jitter.

    Raises:
        NotEnrolled: there is no identity, trust or certificate yet.
    """
    directory = Path(settings.paths.ship)
    return Ship(
        Parts(
            identity=load_identity(directory),
            trust=load_trust(directory),
            paths=settings.paths,
            uplink=settings.uplink,
            metrics=settings.metrics,
            clock=clock,
            random=random,
        )
    )
