"""Objects as plain dicts and back, in Keras's format; classes and functions that a script registers."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..arguments import shorten
from ..specs import Spec
from .activations import Function

T = TypeVar("T")
_FAMILIES = ("layers", "initializers", "regularizers", "constraints", "optimizers", "optimizers.schedules", "losses",
             "metrics", "operations")  # fmt: skip
_ROOT = str(__package__).rpartition(".")[0]
_TOP = {
    "models": "keras",
    "layer": "keras.layers",
    "lambdas": "keras.layers",
    "schedules": "keras.optimizers.schedules",
}
_registered: dict[str, Any] = {}
_scope: dict[str, Any] = {}


# ---- registered names ------------------------------------------------------------------------------------------------


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Decorator that remembers a class or a function under the name ``package>name``."""

    def register(given: T) -> T:
        _registered[f"{package}>{name or given.__name__}"] = given  # type: ignore[attr-defined]
        return given

    return register


def get_registered_name(obj: Any) -> str:
    """The name under which it was registered, else its own."""
    return next((name for name, one in _registered.items() if one is obj), str(obj.__name__))


def get_registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What was registered under this name, or is in `custom_objects`; None if there is none."""
    for known in (custom_objects or {}, _scope, _registered):
        if name in known:
            return known[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """The dict of objects that are looked up by name, to be changed in place."""
    return _scope


@contextlib.contextmanager
def custom_object_scope(*custom_objects: Mapping[str, Any]) -> Iterator[None]:
    """Within it, names stand for the objects of these dicts."""
    before = dict(_scope)
    for one in custom_objects:
        _scope.update(one)
    try:
        yield
    finally:
        _scope.clear()
        _scope.update(before)


# ---- objects to dicts ------------------------------------------------------------------------------------------------


def serialize_keras_object(obj: Any) -> Any:
    """The object as JSON types, from which `deserialize_keras_object` makes an equal one."""
    if obj is None or isinstance(obj, (str, bool, int)):
        return obj
    if isinstance(obj, float):
        return float(obj)
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": obj.dtype.name}}
    if isinstance(obj, (list, tuple)):
        return [serialize_keras_object(one) for one in obj]
    if isinstance(obj, Mapping):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, Function):
        return obj.__name__
    if hasattr(obj, "get_config"):
        kind = type(obj)
        described = kind
        if hasattr(kind, "keras_name"):  # a subclass of a model without a get_config() of its own is its parent
            described = next(one for one in kind.__mro__ if "get_config" in vars(one) or _is_ours(one))
        ours = _is_ours(described)
        made = {
            "module": getattr(kind, "keras_module", _module(described)) if ours else kind.__module__,
            "class_name": getattr(kind, "keras_name", kind.__name__),
            "config": serialize_keras_object(obj.get_config()),
            "registered_name": None if ours else get_registered_name(kind),
        }
        return {**made, **getattr(obj, "further_config", dict)()}
    if callable(obj) and hasattr(obj, "__name__"):
        module = getattr(obj, "__module__", None)
        if str(module).startswith((f"{__package__}.losses", f"{__package__}.metrics")):  # as Keras writes its own
            return {"module": "builtins", "class_name": "function", "config": obj.__name__,
                    "registered_name": "function"}  # fmt: skip
        return {"module": module, "class_name": "function", "config": obj.__name__,
                "registered_name": get_registered_name(obj)}  # fmt: skip
    raise TypeError(f"serialize_keras_object: {shorten(obj)} has no get_config() and is no function.")


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith(f"{_ROOT}.")


def _module(kind: type) -> str:
    """The public module of Keras that has one of our classes."""
    part = kind.__module__.removeprefix(f"{_ROOT}.").removeprefix("keras.").partition(".")[0]
    return _TOP.get(part, f"keras.{part}")


# ---- dicts to objects ------------------------------------------------------------------------------------------------


def is_serialized(value: Any) -> bool:
    """Whether it is a dict that stands for an object."""
    return isinstance(value, Mapping) and isinstance(value.get("class_name"), str) and "config" in value


def deserialize_keras_object(config: Any, custom_objects: Mapping[str, Any] | None = None, **ignored: Any) -> Any:
    """The object that `serialize_keras_object` described."""
    if isinstance(config, list):
        return [deserialize_keras_object(one, custom_objects) for one in config]
    if not is_serialized(config):
        if isinstance(config, Mapping):
            return {key: deserialize_keras_object(value, custom_objects) for key, value in config.items()}
        found = get_registered_object(config, custom_objects) if isinstance(config, str) else None
        return config if found is None else found
    name, inner = config["class_name"], config["config"]
    if name == "__numpy__":
        return np.array(inner["value"], dtype=inner["dtype"])
    if name == "__tuple__":
        return tuple(deserialize_keras_object(inner["value"], custom_objects))
    if name == "DTypePolicy":
        return inner["name"]
    if name == "function":
        name, inner = inner, None
        if str(config.get("module")).startswith(f"{__package__}.ops"):
            return getattr(importlib.import_module(f"{__package__}.ops"), name)
    cls = get_registered_object(config.get("registered_name") or name, custom_objects)
    cls = get_registered_object(name, custom_objects) if cls is None else cls
    cls = library_class(str(config.get("module") or ""), name) if cls is None else cls
    if inner is None:
        return cls
    if isinstance(cls, type) and issubclass(cls, Spec):
        inner = known_arguments(inner, cls.__signature__.parameters)
    if "custom_objects" in getattr(cls.from_config, "__code__", _nothing.__code__).co_varnames:
        return cls.from_config(inner, custom_objects=custom_objects)
    with custom_object_scope(custom_objects or {}):
        return cls.from_config(inner)


def _nothing() -> None: ...


def library_class(module: str, name: str) -> Any:
    """A class of this library by the name of its module in Keras; without one, all modules are looked through."""
    searched: tuple[str, ...]
    if module in ("", "keras") or module.startswith("keras.src.models."):
        name, searched = {"Functional": "Model"}.get(name, name), ("models", *_FAMILIES)
    else:
        searched = tuple(family for family in _FAMILIES if module.removeprefix("keras.").startswith(family))
    for family in searched:
        with contextlib.suppress(ImportError):
            found = importlib.import_module(f"{__package__}.{family}")
            cls = getattr(found, name) if name in found.__all__ else None
            if isinstance(cls, type):
                return cls
    raise ValueError(
        f"deserialize_keras_object: there is no {module + '.' if module else ''}{name}. If it is a class or function "
        f"of your own, pass custom_objects={{{name!r}: ...}} or register it with "
        "keras.saving.register_keras_serializable()."
    )


_DEFAULTS = {"beta_initializer": "Zeros", "gamma_initializer": "Ones", "moving_mean_initializer": "Zeros",
             "moving_variance_initializer": "Ones", "renorm_momentum": 0.99}  # fmt: skip


def known_arguments(config: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """A config of Keras without what is not offered here and has the value that switches it off."""

    def is_off(name: str, value: Any) -> bool:
        plain = value["class_name"] if is_serialized(value) else value
        return plain in (None, False) or (name in _DEFAULTS and plain == _DEFAULTS[name])

    return {name: value for name, value in config.items() if name in known or not is_off(name, value)}


def argument(value: Any) -> Any:
    """An argument of a config for a constructor: objects for dicts that stand for one, inside of lists, too."""
    if isinstance(value, (list, tuple)):
        return type(value)(argument(one) for one in value)
    return deserialize_keras_object(value) if is_serialized(value) else value
