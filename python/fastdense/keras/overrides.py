"""Methods of subclasses that nothing here would call: an error, never the parent's formula in silence."""

from __future__ import annotations

from typing import Any

_ROOT = f"{str(__package__).rpartition('.')[0]}."

LAYER = ("compute_output_spec", "add_weight", "__call__")
OF_CALL = ("build", "compute_output_shape")  # of a layer with a call() of its own
MODEL = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "make_train_function",
         "make_test_function", "make_predict_function", "build", "__call__")  # fmt: skip
OPTIMIZER = ("update_step", "apply_gradients", "apply", "build", "get_updates", "minimize")
CALL = ("call",)


def overridden(obj: Any, names: tuple[str, ...]) -> list[str]:
    """Which of these names a class of the user's own, or one between it and ours, defines."""
    own = []
    for cls in type(obj).__mro__:
        if cls.__module__.startswith(_ROOT):
            break
        own += [name for name in names if name in vars(cls)]
    return own


def check_overrides(obj: Any, names: tuple[str, ...], remedy: str) -> None:
    """Raise if a subclass defines one of these names, which would not be called."""
    found = overridden(obj, names)
    if found:
        raise TypeError(
            f"{type(obj).__name__}: its {' and '.join(f'{name}()' for name in found)} would never be called. {remedy}"
        )
