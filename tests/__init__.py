"""Tests, in the shape of the source they cover."""
