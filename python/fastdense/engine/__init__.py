"""Engines: the only package that imports the compiled modules `_core` and `_cuda`."""
