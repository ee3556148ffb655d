"""Tests, in the shape of the source they cover."""

import certs as certs  # before gRPC: it sets the lowest TLS version
