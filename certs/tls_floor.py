"""TLS 1.3 as the lowest version that gRPC speaks in this process, set before gRPC is loaded.

gRPC's Python API has no minimum version. Its C core offers, below 1.3, the suites named by one
environment variable; naming only suites for RSA keys, of which we have none, leaves a peer that
speaks 1.2 without a suite. The core reads its variables once, *when the module is imported*, so
whoever loads it first must have set this: every package of ours imports ``certs`` for it, and
credentials are refused where that came too late.
"""

import os
import sys

from certs.errors import TlsUnusable

_SETTING = "GRPC_SSL_CIPHER_SUITES"
_NO_SUITE_OF_OURS = "ECDHE-RSA-AES256-GCM-SHA384"
_VERBOSITY = "GRPC_VERBOSITY"


def _set() -> bool:
    in_time = "grpc" not in sys.modules or os.environ.get(_SETTING) == _NO_SUITE_OF_OURS
    os.environ[_SETTING] = _NO_SUITE_OF_OURS
    # Read at the same moment. Strangers who fail a handshake could fill our logs with lines that
    # are not even in our format; an operator who wants to see them says so.
    os.environ.setdefault(_VERBOSITY, "ERROR")
    return in_time


IN_TIME = _set()


def require_tls_13() -> None:
    """Return if gRPC in this process refuses TLS 1.2.

    Raises:
        TlsUnusable: gRPC was loaded first, so it would not.
    """
    if not IN_TIME:
        raise TlsUnusable(
            "gRPC was loaded before TLS 1.2 could be refused", hint="import certs before grpc"
        )
