"""Benchmarks: each builds its own input and says what is inside its clock."""
