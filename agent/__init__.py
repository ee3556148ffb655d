"""The daemons on a host: `sense` sees and seals, `ship` carries."""

__version__ = "0.1.0"
DEFAULT_PATH = "/etc/vedette/agent.toml"
