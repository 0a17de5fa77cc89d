"""Layers for the columns of tables: `CategoryEmbedding`, `NumericEmbedding` and `Scale`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import initializers
from ..activations import ALPHA, NAMES
from ..arguments import choice, flag, integer, number, optional_text
from ..specs import Config
from .adapting import Adapting, Data, check_columns, host_column
from .base import Array, DrawFor, Layer, TensorSpec
from .preprocessing import Codes, columns_argument

__all__ = ["CategoryEmbedding", "NumericEmbedding", "Scale"]

_DEFAULTS = {"bins": 16, "frequencies": 16, "sigma": 0.1}  # of NumericEmbedding
_OF_KIND = {"piecewise_linear": ("bins",), "periodic": ("frequencies", "sigma")}


def _chosen(layer: Layer, columns: list[int] | None, inputs: int) -> list[int]:
    """The columns that a layer encodes, of so many."""
    chosen = list(range(inputs)) if columns is None else columns
    if chosen[-1] >= inputs:
        raise ValueError(
            f"{type(layer).__name__}: columns holds {chosen[-1]}, but its input has {inputs} columns. "
            f"Give numbers from 0 to {inputs - 1}."
        )
    return chosen


class NumericEmbedding(Adapting, names=("numeric_embedding",)):
    """Turns each number into several, so that a net can treat its ranges apart (Gorishniy et al., 2022, 2203.05556).

    "piecewise_linear": the range of a column is cut at quantiles into bins, and each bin gives one output,
    ``(x - low) / (high - low)``, clipped to 0 and 1; that of the first bin is not clipped below, that of the last not
    above. The edges of the bins come from `adapt`, or else from the data of the first ``fit`` as they reach the layer,
    which may stand only behind layers that training leaves alone: preprocessing, `Normalization`, `Rescaling`, and for
    columns that it lets pass `CategoryEmbedding`. A value that so many rows share that quantiles would hit it twice is
    an edge, and the other edges are quantiles of the other rows; bins that are then left over give 0. Data of more than
    a million rows is represented by as many of them.

    "periodic": ``cos(2 pi (f x + b))`` for some frequencies f and phases b of each column, which are trained
    (Holzmüller et al., 2024, 2407.04491). The layer may stand anywhere.

    With `size`, a small dense layer of its own follows for each column. The outputs for the first of `columns` come
    first, then those for the others; what passes follows.

    Parameters
    ----------
    kind : {"piecewise_linear", "periodic"}, default "piecewise_linear"
    columns : int or sequence of int, optional
        The columns that are encoded, all by default; the others pass unchanged.
    bins : int, default 16
        Of "piecewise_linear": bins for each column.
    frequencies : int, default 16
        Of "periodic": frequencies for each column.
    sigma : float, default 0.1
        Of "periodic": standard deviation of the first frequencies, in periods per unit; phases start anywhere.
    size : int, optional
        Outputs of the dense layer of each column; None for no such layers.
    activation : str, optional
        Of these dense layers; neither softmax nor prelu.
    keep : bool, optional
        Whether the encoded columns themselves pass, too; by default with "periodic".
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or belongs to the other kind, a column is given twice, or (in a net) there is no
        such column, or the layer stands where training changes what it takes quantiles of.

    Examples
    --------
    >>> import fastdense as fd
    >>> layer = fd.NumericEmbedding(bins=2).adapt([[0.0], [1.0], [2.0], [3.0], [8.0]])
    >>> layer.edges.tolist()
    [[0.0, 2.0, 8.0]]
    >>> fd.NumericEmbedding("periodic", size=4).output_width(3)  # 4 outputs and itself for each column
    15
    >>> model = fd.Model([fd.RobustScale(), fd.NumericEmbedding(), fd.Dense(1)], inputs=3)  # 48 columns reach Dense
    """

    statistic_tensors = 1
    most_rows = 1 << 20
    operations = 8

    def __init__(
        self,
        kind: str = "piecewise_linear",
        columns: int | Sequence[int] | None = None,
        *,
        bins: int | None = None,
        frequencies: int | None = None,
        sigma: float | None = None,
        size: int | None = None,
        activation: str | None = None,
        keep: bool | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        where = "NumericEmbedding"
        self.trainable = trainable
        self.kind = choice(f"{where}: kind", kind, tuple(_OF_KIND))
        self.columns = columns_argument(f"{where}: columns", columns)
        given = {"bins": bins, "frequencies": frequencies, "sigma": sigma}
        for argument, value in given.items():
            if argument in _OF_KIND[self.kind]:
                given[argument] = _DEFAULTS[argument] if value is None else value
            elif value is not None:
                raise ValueError(f"{where}: {argument} is given, which {self.kind!r} does not have. Leave it out.")
        most = 1 << 16
        self.bins = None if given["bins"] is None else integer(f"{where}: bins", given["bins"], least=1, most=most)
        self.frequencies: int | None = None
        self.sigma: float | None = None
        if self.kind == "periodic":
            self.frequencies = integer(f"{where}: frequencies", given["frequencies"], least=1, most=most)
            self.sigma = number(f"{where}: sigma", given["sigma"], above=0)
        self.size = None if size is None else integer(f"{where}: size", size, least=1)
        self.activation: str | None = None
        if activation is not None:
            self.activation = NAMES.find(activation, f"{where}: activation")
            if size is None:
                raise ValueError(
                    f"{where}: activation is given without size, the outputs of the layers it is for. Give both."
                )
            if self.activation in ("softmax", "prelu"):
                raise ValueError(f"{where}: activation={activation!r} is not for these layers. Give another one.")
        self.keep = self.kind == "periodic" if keep is None else flag(f"{where}: keep", keep)
        self.name = optional_text(f"{where}: name", name)

    @property
    def adapts(self) -> bool:
        """Whether the layer takes numbers from data."""
        return self.kind == "piecewise_linear"

    @property
    def edges(self) -> Array | None:
        """The edges of the bins, (columns, bins + 1); bins of no width give 0."""
        return None if self.statistics is None else self.statistics[0]

    @property
    def _per_column(self) -> int:
        """Numbers that a column is encoded as."""
        return (self.bins if self.adapts else self.frequencies) or 0

    def output_width(self, inputs: int) -> int:
        count = len(_chosen(self, self.columns, inputs))
        return count * (self.size or self._per_column) + inputs - (0 if self.keep else count)

    def lower(self, inputs: int) -> list[Config]:
        columns = _chosen(self, self.columns, inputs)
        own = {"bins": self.bins} if self.adapts else {"frequencies": self.frequencies}
        ops: list[Config] = [{"kind": self.kind, "columns": columns, "keep": self.keep, **own}]
        if self.size is not None:
            shape = {"groups": len(columns), "group_inputs": self._per_column, "units": self.size}
            alpha = ALPHA.get(self.activation or "linear", 0.0)
            ops.append({"kind": "grouped_dense", **shape, "use_bias": True,
                        "activation": self.activation or "linear", "alpha": alpha})  # fmt: skip
        return ops

    def tensors(self, inputs: int) -> list[TensorSpec]:
        count = len(_chosen(self, self.columns, inputs))
        if self.edges is not None and len(self.edges) != count:
            raise ValueError(
                f"NumericEmbedding: adapted to {len(self.edges)} columns, but it encodes {count}. "
                "Call adapt with data of that width."
            )
        if self.adapts:
            specs = [TensorSpec("edges", (count, self._per_column + 1), False)]
        else:
            specs = [TensorSpec(name, (count, self._per_column), True) for name in ("frequencies", "phases")]
        if self.size is not None:
            specs.append(TensorSpec("kernel", (count, self._per_column, self.size), True))
            specs.append(TensorSpec("bias", (count, self.size), True))
        return specs

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        values: list[Array] = []
        for name, shape, _ in self.tensors(inputs):
            source = draw(shape)
            if name == "edges":
                even = np.tile(np.linspace(-1.0, 1.0, shape[1]), (shape[0], 1))
                values.append(even if self.edges is None else self.edges.copy())
            elif name == "kernel":  # made as one matrix, so that an initializer sees the inputs of a unit
                flat = self._initializer(name)((shape[1], shape[0] * shape[2]), *source)
                values.append(np.ascontiguousarray(flat.reshape(shape[1], shape[0], shape[2]).transpose(1, 0, 2)))
            else:
                values.append(self._initializer(name)(shape, *source))
        return values

    def _initializer(self, tensor: str) -> initializers.Initializer:
        if tensor == "frequencies":
            return initializers.RandomNormal(stddev=self.sigma or 0.0)
        if tensor == "phases":
            return initializers.RandomUniform(-0.5, 0.5)
        return (
            initializers.Auto().for_activation(self.activation or "linear")
            if tensor == "kernel"
            else initializers.Zeros()
        )

    def settle(self, where: str, data: Data) -> None:
        if not self.adapts:
            raise ValueError(f"{where}: {self.kind!r} takes nothing from data. Leave the call out.")
        check_columns(where, data, _chosen_of(self.columns, data))

    def last_column(self, inputs: int) -> int:
        return _chosen(self, self.columns, inputs)[-1]

    def measured(self, where: str, data: Data) -> tuple[Array, ...]:
        columns = _chosen_of(self.columns, data)
        return (np.array([bin_edges(host_column(where, data, c), self._per_column) for c in columns]),)

    def checked_statistics(self, *values: Array) -> tuple[Array, ...]:
        (edges,) = values
        if edges.ndim != 2 or edges.shape[1] != self._per_column + 1 or not np.isfinite(edges).all():
            raise ValueError(
                f"NumericEmbedding: edges of shape {edges.shape}. "
                f"Give {self._per_column + 1} finite numbers per column."
            )
        if (np.diff(edges, axis=1) < 0).any():
            raise ValueError("NumericEmbedding: the edges of a column are not in ascending order. Sort them.")
        return values


def _chosen_of(columns: list[int] | None, data: Data) -> list[int]:
    return list(range(data.shape[1])) if columns is None else columns


def bin_edges(values: Array, bins: int) -> Array:
    """Edges of the bins of a column: bins + 1 numbers in ascending order; bins that are not needed have no width.

    Parameters
    ----------
    values : float64 array of shape (rows,)
    bins : int
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > bins + 1:
        shared = counts >= len(values) / bins  # fewer than `bins` of them, unless they are all
        own, rest = distinct[shared], np.repeat(distinct[~shared], counts[~shared])
        places = np.linspace(0.0, 1.0, bins + 1 - len(own)) if bins > len(own) else np.array([0.5])
        distinct = np.unique(np.concatenate([own, np.quantile(rest, places, method="inverted_cdf")]))
    spare = bins + 1 - len(distinct)  # no bin at the ends, which are not clipped
    before = len(distinct) - 1 if len(distinct) > 2 else len(distinct)
    return np.concatenate([distinct[:before], np.repeat(distinct[before - 1], spare), distinct[before:]])


class CategoryEmbedding(Codes, Layer, names=("category_embedding",)):
    """Several trained numbers for each code of a column: for ids and categories of more than a few codes.

    The codes must be known when a model is made, since they decide the size of its tensors: give them, or call `adapt`
    first. All numbers that are not among them share one row of the table. The columns that pass come first, then the
    numbers for each of `columns`; so where codes come last in a table, other columns keep their numbers. Codes are
    compared in the model's dtype. Do not scale them before, as `Normalization` does with all columns.

    Parameters
    ----------
    columns : int or sequence of int, optional
        The columns that are replaced, all by default; the others pass unchanged.
    size : int, default 8
        Numbers for each code.
    codes : sequence of float, or sequence of these, optional
        The codes of the columns: the same for all columns, or a sequence for each. Part of the config.
    initializer : str or Initializer, optional
        First values of the table, (codes + 1 of each column, size); None: uniform within 1 / sqrt(size).
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Raises
    ------
    ValueError, TypeError
        If a code or a column is given twice, or (in a net) the codes are not known, there is no such column, or two
        codes are the same number in the model's dtype.

    Examples
    --------
    >>> import fastdense as fd
    >>> layer = fd.CategoryEmbedding(columns=1, size=2).adapt([[0.5, 7], [0.1, 2], [0.3, 7]])
    >>> layer.codes
    [[2.0, 7.0]]
    >>> model = fd.Model([layer, fd.Dense(1)], inputs=2)  # 3 columns reach the Dense layer
    """

    def __init__(
        self,
        columns: int | Sequence[int] | None = None,
        size: int = 8,
        codes: Any = None,
        initializer: str | initializers.Initializer | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        self._set_codes(columns, codes)
        self.trainable = trainable
        self.size = integer("CategoryEmbedding: size", size, least=1)
        where = "CategoryEmbedding: initializer"
        self.initializer = None if initializer is None else initializers.get(initializer, where)
        if isinstance(self.initializer, initializers.Data):
            raise ValueError(f"{where}='data' is for the kernel of a Dense layer. Give another one.")
        self.name = optional_text("CategoryEmbedding: name", name)

    def _sorted_codes(self, inputs: int) -> list[list[float]]:
        """The codes of each column that is replaced, of so many inputs."""
        count = len(_chosen(self, self.columns, inputs))
        self._check_codes(count)
        return [sorted(self._codes_of(i)) for i in range(count)]

    def output_width(self, inputs: int) -> int:
        return inputs + len(_chosen(self, self.columns, inputs)) * (self.size - 1)

    def fixed_width(self, inputs: int) -> int:
        return inputs - (inputs if self.columns is None else sum(column < inputs for column in self.columns))

    def fixed_outputs(self, x: Array, tensors: Sequence[Array]) -> Array:
        rest = [] if self.columns is None else np.setdiff1d(np.arange(x.shape[1]), self.columns).tolist()
        return x[:, rest]

    def lower(self, inputs: int) -> list[Config]:
        codes = [len(one) for one in self._sorted_codes(inputs)]
        columns = _chosen(self, self.columns, inputs)
        return [{"kind": "embedding", "columns": columns, "keep": False, "codes": codes, "units": self.size}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        codes = self._sorted_codes(inputs)
        total = sum(map(len, codes))
        return [
            TensorSpec("table", (total + len(codes), self.size), True),
            TensorSpec("codes", (total,), False),
        ]

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        (_, shape, _), (_, length, _) = self.tensors(inputs)
        bound = 1 / np.sqrt(self.size)
        initializer = self.initializer or initializers.RandomUniform(-bound, bound)
        table = initializer(shape, *draw(shape))
        draw(length)
        return [table, np.concatenate(self._sorted_codes(inputs))]

    def check_dtype(self, dtype: str) -> None:
        if dtype == "float64":
            return
        for codes in self.codes or []:
            rounded = np.sort(np.array(codes, dtype=np.float32))
            same = rounded[1:][rounded[1:] == rounded[:-1]]
            if len(same):
                raise ValueError(
                    f"CategoryEmbedding: two codes are {same[0]:.9g} in {dtype}. "
                    "Number the codes anew, or make the Model with dtype='float64'."
                )


class Scale(Layer, names=("scale",)):
    """``x * scale`` with one trained factor for each column.

    In front of a net that learns how much each column matters faster than a Dense layer does, at a learning rate of its
    own: ``fd.Adam(learning_rate_multipliers={"scale/*": 6.0})`` (Holzmüller et al., 2024, 2407.04491).

    Parameters
    ----------
    initializer : str or Initializer, default "ones"
        First values of the factors.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        Whether training changes the layer's tensors; see `Layer`.

    Examples
    --------
    >>> from fastdense.layers import Scale
    >>> Scale()
    Scale()
    """

    def __init__(
        self,
        initializer: str | initializers.Initializer = "ones",
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        self.trainable = trainable
        self.initializer = initializers.get(initializer, "Scale: initializer")
        if isinstance(self.initializer, initializers.Data):
            raise ValueError("Scale: initializer='data' is for the kernel of a Dense layer. Give another one.")
        self.name = optional_text("Scale: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "scale"}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [TensorSpec("scale", (inputs,), True)]

    def _initializer(self, tensor: str) -> initializers.Initializer:
        return self.initializer
