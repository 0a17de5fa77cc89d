"""Data-dependent initial values."""
