"""Threat intel in, signed content out: feeds are compiled to an index and published by TUF."""
