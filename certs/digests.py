"""SHA-256 of much data, as fast as the machine can, by the library that signs.

Python's own `hashlib` brings OpenSSL along for that: 3.4 MiB of a daemon that has the same code
in the library it signs with. Without it, Python's plain SHA-256 does for what is small.
"""

from cryptography.hazmat.primitives import hashes


class Sha256:
    """A SHA-256 that is told of its data piece by piece."""

    def __init__(self) -> None:
        self._hash = hashes.Hash(hashes.SHA256())

    def update(self, data: bytes | memoryview) -> None:
        """Take more data in."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the 32 bytes for all that was taken in so far."""
        return self._hash.copy().finalize()
