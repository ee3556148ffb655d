"""The central service: verifies, stores, correlates, scores and forwards what agents seal."""

import certs as certs  # before gRPC: it sets the lowest TLS version

__version__ = "0.1.0"
