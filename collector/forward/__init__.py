"""Forwarding to SIEMs: one loop, one durable cursor for each tenant and destination."""
