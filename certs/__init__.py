"""Who we are and whom we trust: the only room that touches keys, certificates and TLS."""

from certs import tls_floor as tls_floor
