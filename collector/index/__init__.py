"""Queryable findings, hosts, incidents and inventory: a view of the ledger that can be rebuilt."""
