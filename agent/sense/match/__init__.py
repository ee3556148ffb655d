"""Matching: observations in, findings out; pure."""
