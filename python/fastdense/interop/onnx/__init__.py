"""ONNX: `Model.to_onnx` and `fastdense.from_onnx`, with the package onnx-ir.

`table` says what each operation is in ONNX, as patterns: `write` makes nodes of them, `read` finds them in a graph.
"""
