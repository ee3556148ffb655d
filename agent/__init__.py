"""The daemons on a host: `sense` sees and seals, `ship` carries."""
