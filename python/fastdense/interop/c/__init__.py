"""C: `Model.to_c` writes a net as one header in C99.

`functions` has the C code of each operation, `write` puts a net together of it, `quantize` rounds weights to int8.
"""
