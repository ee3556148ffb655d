"""HTTP for people and their tools: metrics, health, a small API and a status page; no secrets."""
