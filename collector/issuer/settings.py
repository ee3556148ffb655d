"""The issuer's settings."""

from pathlib import Path
from typing import Annotated

import msgspec

DEFAULT_TOKEN_LIFE_S = 600
TOKEN_LIFE_S_MAX = 86_400

_Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=3600)]


class IssuerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the issuer is told.

    Args:
        home: its directory: keys, certificates and ``issuer.db``; nobody else may read it.
        socket: the Unix socket it listens on.
        domain: the trust domain.
        server_names: DNS names and addresses in the collector's server certificates.
        gateway_uids: users that may ask for what agents need; our own and root always may.
        admin_uids: users that may also mint, revoke and install; our own and root always may.
        nonce_life_s: how long an agent has to answer with its signed statement.
        nonces_used_max: used nonces remembered at once; more are refused until some expire.
        recoveries_max: how often an agent may come back by its signing key alone, in a row.
        tokens_open_max: join tokens of a tenant that wait to be used.
        requests_per_s_max: requests that need no certificate (begin, enroll, reattest), together.
        connections_max: connections at once.
        pending_max: requests waiting for the database.
        operation_s_max: how long one request may take.
        watch_s_max: how long a watcher of changes may be kept waiting.
        audit_refused_max: refusals kept in the audit; the oldest go first.
        audit_granted_max: grants and administrators' acts kept in the audit.
    """

    home: Path
    socket: Path
    domain: str
    server_names: tuple[str, ...]
    gateway_uids: tuple[int, ...] = ()
    admin_uids: tuple[int, ...] = ()
    nonce_life_s: _Seconds = 60
    nonces_used_max: _Count = 65_536
    recoveries_max: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 3
    tokens_open_max: _Count = 10_000
    requests_per_s_max: _Count = 500
    connections_max: _Count = 64
    pending_max: _Count = 256
    operation_s_max: _Seconds = 10
    watch_s_max: _Seconds = 30
    audit_refused_max: _Count = 10_000
    audit_granted_max: Annotated[int, msgspec.Meta(ge=1000, le=100_000_000)] = 1_000_000
