"""Real tables: fastdense's recipe for tables against boosted trees and other nets; see `run.py`."""
