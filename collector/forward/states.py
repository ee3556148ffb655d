r"""How far an event has come.

    queued -> sent -> accepted -> confirmed
                 \-> unconfirmable
    queued -> dead                        (refused alone, and set aside)

An event moves up only on the receiver's own word or, where a protocol has none, on what is seen of
the connection. An error never moves it up: a payload whose fate is unknown is queued again and
sent with the same event ids. ``parked`` is no state of an event but a phase of its destination:
everything behind it stays queued.
"""

import enum


class State(enum.Enum):
    """Where an event stands; the values are stable names, used as labels."""

    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    UNCONFIRMABLE = "unconfirmable"
    DEAD = "dead"


# Nothing more will be known or done about an event in one of these.
SETTLED = (State.ACCEPTED, State.CONFIRMED, State.UNCONFIRMABLE, State.DEAD)


class Phase(enum.Enum):
    """How a destination is; the values are stable names, used as labels.

    ``waiting``: the receiver cannot take anything now. ``parked``: it refuses us as we are set up.
    ``stalled``: our own disk or ledger does not answer.
    """

    RUNNING = "running"
    WAITING = "waiting"
    PARKED = "parked"
    STALLED = "stalled"
