"""In and out: nets as files and objects of other tools.

`chain` says what a model is as a chain of named operations with their numbers, and `build` makes a model of such a
chain. Each format is a table of what these operations are in it; nothing here is imported before it is used.
"""
