"""What the daemons agree on: the wire, the model behind it, and the evidence that binds both."""

import certs as certs  # before gRPC: it sets the lowest TLS version
