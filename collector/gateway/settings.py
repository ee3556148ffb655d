"""What the gateway allows: every limit by name, its unit last."""

from typing import Annotated

from msgspec import Meta, Struct

_Count = Annotated[int, Meta(ge=1)]


class StreamSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What one agent may ask of the collector."""

    # An agent needs one stream; when another one comes, the oldest is taken for dead.
    streams_per_agent_max: _Count = 2
    calls_per_agent_max: _Count = 16
    calls_per_tenant_max: _Count = 20_000
    # Batches read and not yet answered; twice what an agent sends ahead.
    window_batches_max: _Count = 64
    # A backlog of 512 MiB drains in about a minute, and no agent crowds out the others.
    agent_bytes_per_s_max: _Count = 8 * 1024 * 1024
    agent_bytes_burst_max: _Count = 64 * 1024 * 1024
    agent_batches_per_s_max: _Count = 100
    agent_batches_burst_max: _Count = 2_000
    # Whoever sends this many batches in a row that cannot be kept is cut off.
    refusals_per_stream_max: _Count = 64
    # How long a stream waits for the ledger before its sender is told to come back.
    room_wait_s_max: Annotated[float, Meta(gt=0)] = 30.0
    # How soon a refused batch may come again, where it may.
    retry_wait_s: Annotated[float, Meta(gt=0)] = 5.0
    # How long what has been read may take to be answered when a stream ends.
    drain_wait_s_max: Annotated[float, Meta(gt=0)] = 10.0


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What one connection may ask of the process."""

    # 1 MiB of records, their header and the framing fit many times; nothing larger is read.
    message_bytes_max: _Count = 4 * 1024 * 1024
    # Of each stream, in memory before anyone has looked at it, besides one message; a stream over a
    # line of 100 ms carries ten times this a second.
    unread_bytes_max: _Count = 1024 * 1024
    # Without a limit one connection may open any number of streams.
    connection_streams_max: _Count = 32
    metadata_bytes_max: _Count = 8 * 1024
    # Certificates are checked on every message; this bounds everything else a connection keeps.
    connection_age_s_max: _Count = 3600
    connection_grace_s_max: _Count = 30
    connection_idle_s_max: _Count = 900
    # An agent pings every 60 s; a peer that pings more often than this is cut off.
    ping_wait_s_min: _Count = 30
    ping_strikes_max: _Count = 2
    # A dead peer is noticed within these two.
    keepalive_s: _Count = 120
    keepalive_wait_s_max: _Count = 20
    # Calls in progress in the whole process; more are turned away.
    calls_max: _Count = 20_000
    stop_wait_s_max: _Count = 10


class TrustFeedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How fresh the gateway's copy of the registry must be."""

    # The issuer answers as soon as something changes, and at least this often.
    watch_wait_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    # Who cannot learn of a revocation lets nobody in.
    stale_s_max: Annotated[float, Meta(gt=0)] = 60.0


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole gateway."""

    stream: StreamSettings = StreamSettings()
    server: ServerSettings = ServerSettings()
    trust: TrustFeedSettings = TrustFeedSettings()
