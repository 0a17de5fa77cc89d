"""The command line: `fastdense demo`, `bench`, `info`, `diagnose`."""
