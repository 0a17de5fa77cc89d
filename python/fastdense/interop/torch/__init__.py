"""PyTorch: `Model.to_torch` and `fastdense.from_torch`.

`table` says what each operation is in PyTorch, `modules` has what PyTorch has no module for.
"""
