"""Populations: many nets of one shape, trained at once, and their results."""
