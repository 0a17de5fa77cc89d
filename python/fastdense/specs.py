"""What a user writes down: small objects that know their arguments and turn into plain data.

`Spec` is the base of every layer, loss, optimizer, initializer, regularizer, metric and schedule. A subclass writes a
plain, typed ``__init__`` that checks each argument and stores it under its own name; configuration, equality, repr and
the message for a misspelt keyword follow from that signature. `resolve` turns whatever a user may give for a family
(name, object, class, config dict) into an object of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

from .arguments import check_keywords, quoted, shorten, spelling_key, suggestion

Config = dict[str, Any]
_PACKAGE = f"{__package__}."
# Methods by which other libraries' classes compute. Engines have formulas of their own and would never call them, so a
# subclass of a user's own may define one only where its base does, which then calls it.
NEVER_CALLED = (
    "call", "__call__", "forward", "backward", "build", "value", "derivative", "gradient", "compute_output_shape",
    "compute_loss", "update_state", "reset_state", "update_step", "apply_gradients", "get_updates", "step",
)  # fmt: skip
S = TypeVar("S", bound="Spec")


class Names:
    """Names of one kind of thing: every accepted spelling, and the one shown in messages.

    Parameters
    ----------
    noun : str
        What the names stand for, as in "loss"; used in messages.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self.shown: list[str] = []
        self._canonical: dict[str, str] = {}
        self._spellings: list[str] = []

    def add(self, canonical: str, *aliases: str, listed: bool = True) -> None:
        """Add a name and other spellings of it; a spelling that means something else already is an error."""
        if listed:
            self.shown.append(canonical)
        for spelling in (canonical, *aliases):
            if self._canonical.setdefault(spelling_key(spelling), canonical) != canonical:
                raise RuntimeError(f"the {self.noun} name {spelling!r} is taken")
            self._spellings.append(spelling)

    def has(self, name: str) -> bool:
        """Whether this is a spelling of a name."""
        return spelling_key(name) in self._canonical

    def find(self, name: str, where: str) -> str:
        """Return the canonical name of any spelling; ValueError with the nearest name if unknown, TypeError if none."""
        if not isinstance(name, str):
            raise TypeError(
                f"{where}={shorten(name)} is of type {type(name).__name__}. Give a name: one of {quoted(self.shown)}."
            )
        canonical = self._canonical.get(spelling_key(name))
        if canonical is None:
            near = suggestion(name, self._spellings)
            raise ValueError(
                f"{where}={shorten(name)} is not a known {self.noun}.{near} Use one of {quoted(self.shown)}."
            )
        return canonical


class _OwnSignature:
    """The signature of a class's ``__init__``, read when it is first asked for: most classes are never used."""

    def __get__(self, _: object, cls: type[Spec]) -> inspect.Signature:
        cls.__signature__ = inspect.Signature(list(inspect.signature(cls.__init__).parameters.values())[1:])
        return cls.__signature__


class Spec:
    """Base of everything a user writes down to describe a model and its training.

    A subclass states its family once (``class Loss(Spec, family="loss")``), and a member of a family its names
    (``class MeanSquaredError(Loss, names=("mse", "mean_squared_error"))``; the class name is a name too). A class
    without ``names``, such as one of a user's own, works as an object but cannot be looked up or loaded from a file.
    One with a method of `NEVER_CALLED` that nothing would call cannot be made. A class with ``listed=False`` is known
    to files, but is none of those that messages list.

    Every parameter of ``__init__`` is kept as an attribute of the same name, and accepts what `get_config` makes of it.
    """

    family: ClassVar[Names]
    _members: ClassVar[dict[str, type[Spec]]]
    _base: ClassVar[type[Spec]]
    _own: ClassVar[str] = "There is no way to give formulas of your own here."  # the way out, of a family
    _for_arrays: ClassVar[tuple[str, ...]] = ()  # methods for users' arrays, which engines do not call either
    _unheard: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[inspect.Signature] = inspect.Signature()

    def __init_subclass__(
        cls, *, family: str = "", names: tuple[str, ...] = (), listed: bool = True, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if family:
            cls.family, cls._members, cls._base = Names(family), {}, cls
        if names:
            cls.family.add(names[0], *names[1:], cls.__name__, listed=listed)
            cls._members[names[0]] = cls
        if not cls.__module__.startswith(_PACKAGE):
            ours: type[Spec] = next(
                base for base in cls.__mro__ if issubclass(base, Spec) and base.__module__.startswith(_PACKAGE)
            )
            defined = [name for name in NEVER_CALLED if _has(cls, name)]
            known = [name for name in defined if _has(ours, name) and name not in ours._for_arrays]
            same = [name for name in ours._for_arrays if getattr(cls, name) is getattr(ours, name)]
            cls._unheard = tuple(name for name in defined if name not in (*known, *same))
        cls.__signature__ = _OwnSignature()  # type: ignore[assignment]

    def __new__(cls: type[S], *args: Any, **kwargs: Any) -> S:
        if cls._unheard:
            raise TypeError(
                f"{cls.__name__}: its {' and '.join(f'{name}()' for name in cls._unheard)} would never be called, "
                f"since engines compute each {cls.family.noun} themselves. {cls._own}"
            )
        check_keywords(cls.__name__, kwargs, cls.__signature__)
        return super().__new__(cls)

    def __init__(self) -> None:
        pass

    def _params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__signature__.parameters}

    def _is_default(self, name: str, value: Any) -> bool:
        default = self.__signature__.parameters[name].default
        if isinstance(value, Spec) and isinstance(default, str):
            default = resolve(value._base, default, name)
        return bool(type(value) is type(default) and value == default)

    def get_config(self) -> Config:
        """Return the arguments that make an equal object, as JSON types; inner objects as `to_dict` gives them."""
        return {name: _plain(value) for name, value in self._params().items()}

    @classmethod
    def from_config(cls: type[S], config: Mapping[str, Any]) -> S:
        """Return the object that `get_config` described.

        Raises
        ------
        TypeError
            If the config holds an argument that this class does not take.
        """
        return cls(**config)

    def to_dict(self) -> Config:
        """Return ``{"class_name": ..., "config": ...}``, from which `resolve` makes an equal object."""
        return {"class_name": type(self).__name__, "config": self.get_config()}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return isinstance(other, Spec) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = []
        for name, value in self._params().items():
            parameter = self.__signature__.parameters[name]
            if parameter.default is parameter.empty:
                parts.append(repr(value))
            elif not self._is_default(name, value):
                parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _has(cls: type, name: str) -> bool:
    """Whether instances have a method; every class itself can be called."""
    return any(name in vars(base) for base in cls.__mro__)


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _make(member: type[S], where: str) -> S:
    """Make a member that was given by name or as a class, hence without arguments."""
    parameters = member.__signature__.parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if needed:
        call = f"{member.__name__}({', '.join(f'{name}=...' for name in needed)})"
        raise ValueError(f"{where}: {member.__name__} needs arguments ({', '.join(needed)}). Write {call}.")
    return member()


def members(base: type[S]) -> list[type[S]]:
    """Return the listed members of a family, in the order of their definition."""
    return [cast("type[S]", member) for name, member in base._members.items() if name in base.family.shown]


def find_class(base: type[S], name: str, where: str) -> type[S]:
    """Return the member of a family with this name, in any spelling."""
    return cast("type[S]", base._members[base.family.find(name, where)])


def resolve(base: type[S], value: object, where: str) -> S:
    """Turn what a user gave for one family into an object of it.

    Parameters
    ----------
    base : type
        Base class of the family, such as ``Loss``.
    value : str, object, class or dict
        A name in any spelling, an object (returned as it is), a class (called without arguments) or the dict of
        `Spec.to_dict`.
    where : str
        The argument that is being read, for messages.

    Raises
    ------
    ValueError
        If the name is unknown, or needs arguments.
    TypeError
        If the value is none of the four.
    """
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        return _make(find_class(base, value, where), where)
    if isinstance(value, type) and issubclass(value, base):
        return _make(value, where)
    if isinstance(value, Mapping):
        class_name, config = value.get("class_name"), value.get("config")
        if isinstance(class_name, str) and isinstance(config, Mapping) and len(value) == 2:
            return find_class(base, class_name, where).from_config(config)
    noun, example = base.family.noun, quoted(base.family.shown[:3])
    raise TypeError(
        f"{where}={shorten(value)} is of type {type(value).__name__}. "
        f"Give the {noun} as a name such as {example}, as an object, or as the dict of its to_dict()."
    )
