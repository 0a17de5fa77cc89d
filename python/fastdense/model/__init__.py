"""The model: layers and weights, training, evaluation, prediction, and files."""
