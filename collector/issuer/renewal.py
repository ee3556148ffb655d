"""Which certificate may be followed by which: the rule that catches a copied key.

An agent has a *current* certificate and, from a renewal until it is first used, a *next* one. The
first use of the next makes it current and the former *superseded*. Only the holder of a stolen
copy, or a host set back to an earlier state, ever asks by a superseded certificate: then both are
locked, because nobody can tell them apart from here.

| asks by    | asks for           | answer                                    |
|------------|--------------------|-------------------------------------------|
| next       | anything           | the next becomes current, then as current |
| current    | what the next holds| the next again (the reply was lost)       |
| current    | anything else      | a new next, instead of the one there was  |
| superseded | anything           | locked                                    |
| unknown    | anything           | refused                                   |

The statement also carries the generation that the signing process last knew; it never goes back.
"""

import enum

import msgspec


class Answer(enum.Enum):
    """What to do with a renewal."""

    ISSUE = "issue"
    RESEND = "resend"
    LOCK = "lock"
    REFUSE = "refuse"


class Standing(msgspec.Struct, frozen=True):
    """How an agent stands.

    Args:
        current: serial number of the certificate in use; empty when only a recovery can help.
        next: serial number of the one that follows; empty where there is none.
        next_request: digest of the request that the next one answers; empty where there is none.
        superseded: whether the certificate asked by was once the agent's and is no more.
        generation_stated: the highest generation the agent's signing process has stated.
    """

    current: bytes
    next: bytes
    next_request: bytes
    superseded: bool
    generation_stated: int


def answer_renewal(standing: Standing, serial: bytes, request: bytes, generation: int) -> Answer:
    """Return what to do.

    Args:
        standing: from the registry.
        serial: of the certificate the agent showed.
        request: digest of the certificate request.
        generation: as stated.
    """
    if generation < standing.generation_stated:
        return Answer.LOCK
    if serial and serial == standing.next:
        return Answer.ISSUE
    if serial and serial == standing.current:
        again = bool(standing.next) and request == standing.next_request
        return Answer.RESEND if again else Answer.ISSUE
    return Answer.LOCK if standing.superseded else Answer.REFUSE
