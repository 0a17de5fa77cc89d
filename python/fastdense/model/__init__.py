"""The model: its layers, weights, training, use, and files."""
