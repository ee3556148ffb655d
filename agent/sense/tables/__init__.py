"""Tables of what is on a host now: one file a noun, each read only when it is asked for."""
