"""The daemons on a host: `sense` sees and seals, `ship` carries."""

import certs as certs  # before gRPC: it sets the lowest TLS version
