"""The gRPC edge: who may call what, and the road of a sealed batch into the ledger."""
