"""Local readers: one file a kind of thing; `agent.sense.wiring` names them all."""
