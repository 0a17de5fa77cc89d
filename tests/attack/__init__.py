"""An attack on the package: damaged files, kills, interrupts, refused memory and threads, odd arguments, long runs.

``python -m tests.attack`` runs the short form; docs/reliability.md says what it counts.
"""
