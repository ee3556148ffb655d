"""TLS towards receivers: always verified, by name and authority; nothing turns that off."""

import ssl

from collector.forward.errors import SinkMisconfigured


def client_context(ca_file: str, cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Return what we trust and what we show; files are read now.

    Args:
        ca_file: the only authorities trusted; empty for the system's own.
        cert_file: our certificate chain, where the receiver asks for one.
        key_file: its key.

    Raises:
        SinkMisconfigured: a file cannot be read, or holds something else.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        problem = _unusable(ca_file, error)
        raise problem from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file:
        try:
            # An encrypted key must fail, not ask on a terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ValueError) as error:
            problem = _unusable(f"{cert_file} with {key_file}", error)
            raise problem from error
    return context


def _unusable(what: str, error: Exception) -> SinkMisconfigured:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SinkMisconfigured(
        f"cannot use {what}: {reason}", hint="a PEM file is needed, readable by the collector"
    )
