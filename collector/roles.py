"""The collector's processes, by name; each is one function that runs until a signal."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from collector.settings import CollectorSettings
from runtime.clock import Clock
from runtime.supervise import Notifier, cause

Run = Callable[[CollectorSettings, Clock, asyncio.Event, Callable[[], None]], Awaitable[None]]


def issuer(
    settings: CollectorSettings, clock: Clock, notifier: Notifier, _path: Path | None = None
) -> int:
    """Hold the tenants' authorities and the token table."""
    # A process imports only its own rooms.
    from collector.issuer.server import serve  # noqa: PLC0415

    return _until_signal(
        lambda s, c, stop, ready: serve(s.issuer, c, stop, ready), settings, clock, notifier
    )


def gate(
    settings: CollectorSettings, clock: Clock, notifier: Notifier, _path: Path | None = None
) -> int:
    """Listen to agents and write the ledger."""
    from collector.gate import run  # noqa: PLC0415  (as above)

    return _until_signal(run, settings, clock, notifier)


def work(
    settings: CollectorSettings, clock: Clock, notifier: Notifier, path: Path | None = None
) -> int:
    """Admit, project, correlate, score, forward and read feeds."""
    from collector.work import run  # noqa: PLC0415  (as above)

    return _until_signal(
        lambda s, c, stop, ready: run(s, c, stop, ready, path), settings, clock, notifier
    )


def web(
    settings: CollectorSettings, clock: Clock, notifier: Notifier, _path: Path | None = None
) -> int:
    """Serve metrics, health and the API."""
    from collector.web import run  # noqa: PLC0415  (as above)

    return _until_signal(run, settings, clock, notifier)


Role = Callable[[CollectorSettings, Clock, Notifier, Path | None], int]

ROLES: Mapping[str, Role] = {
    "issuer": issuer,
    "gate": gate,
    "work": work,
    "web": web,
}


def _until_signal(run: Run, settings: CollectorSettings, clock: Clock, notifier: Notifier) -> int:
    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, clock, stop, notifier.ready)

    try:
        asyncio.run(main())
    except BaseExceptionGroup as errors:
        # What a task raised decides the exit code and the words, not that it ran in a group.
        raise cause(errors) from errors
    notifier.stopping()
    return 0
