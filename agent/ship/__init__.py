"""The networked half: no privileges; holds the TLS key."""

import certs as certs  # before gRPC: it sets the lowest TLS version
