"""The tests; pytest finds them, and they import their helpers from here."""
