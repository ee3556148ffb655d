"""Benchmarks: each builds its own input and says what is inside its clock."""

import certs as certs  # before gRPC: it sets the lowest TLS version
