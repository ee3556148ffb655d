"""Local readers: one file a kind of thing; the table in `table` names them all."""
