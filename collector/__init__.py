"""The central service: verifies, stores, correlates, scores and forwards what agents seal."""
