"""The umbrella command: a demonstration, and offline proof of what was sealed."""
