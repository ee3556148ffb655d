"""The append-only log of sealed batches: what was received, what was admitted, what was logged."""
