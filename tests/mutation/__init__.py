"""Mutations: single wrong lines in a copy of the package, of which the tests must notice nearly all."""
