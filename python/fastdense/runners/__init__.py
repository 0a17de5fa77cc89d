"""Runners: a net, or a population of nets, on an engine, with locks, dtypes and the state of training."""
