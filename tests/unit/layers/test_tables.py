"""NumericEmbedding, CategoryEmbedding and Scale: values, edges of bins, places, files, populations, messages."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.layers.tables import bin_edges

Array = Any


def model(*layers: Any, inputs: int = 3, device: str = "reference", **options: Any) -> fd.Model:
    made = fd.Model([*layers, fd.Dense(3, "tanh"), fd.Dense(1)], inputs=inputs, device=device, **options)
    made.compile("adam", "mse")
    return made


def table(rows: int = 60) -> tuple[Array, Array]:
    """Two columns of numbers, one of the codes 3, 5 and 8, and targets."""
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.normal(size=rows), rng.exponential(size=rows), rng.choice([3.0, 5.0, 8.0], rows)])
    return x, np.sin(2 * x[:, :1]) + (x[:, 2:] == 5)


# ---- edges of bins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bins", "edges"),
    [
        ([3.0, 3.0], 3, [3, 3, 3, 3]),  # no bin has a width
        ([0.0, 1.0, 1.0], 3, [0, 1, 1, 1]),
        ([0.0, 1.0, 4.0], 4, [0, 1, 1, 1, 4]),  # those at the ends have one, if two have
        ([1.0, 2.0, 3.0, 4.0, 5.0], 4, [1, 2, 3, 4, 5]),
        (list(range(9)), 4, [0, 2, 4, 6, 8]),
        ([0.0] * 90 + list(range(1, 11)), 4, [0, 1, 4, 7, 10]),  # zeros count once, the rest is cut evenly
        (list(range(9)), 1, [0, 8]),
    ],
)
def test_bin_edges(values: list[float], bins: int, edges: list[float]) -> None:
    np.testing.assert_array_equal(bin_edges(np.array(values), bins), edges)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9)), min_size=1, max_size=60), st.integers(1, 9)
)
def test_edges_are_values_in_order(values: list[float], bins: int) -> None:
    edges = bin_edges(np.array(values), bins)
    assert edges.shape == (bins + 1,) and (np.diff(edges) >= 0).all() and np.isin(edges, values).all()
    assert edges[0] == min(values) and edges[-1] == max(values)
    if len(set(values)) > 2:
        assert edges[0] < edges[1] and edges[-2] < edges[-1] or bins == 1


# ---- values ----------------------------------------------------------------------------------------------------------


def outputs(layer: Any, x: Array, **options: Any) -> Array:
    """What a layer in front of a net makes of rows."""
    return model(layer, inputs=x.shape[1], **options).activations(x)[0]


def test_piecewise_linear() -> None:
    layer = fd.NumericEmbedding(columns=1, bins=3)
    layer.set_statistics([[0.0, 1.0, 1.0, 5.0]])
    x = np.array([[7.0, -2.0], [8.0, 0.25], [9.0, 1.0], [6.0, 3.0], [5.0, 9.0]])
    wanted = [[-2, 0, 0, 7], [0.25, 0, 0, 8], [1, 0, 0, 9], [1, 0, 0.5, 6], [1, 0, 2, 5]]
    np.testing.assert_allclose(outputs(layer, x), wanted, atol=1e-15)
    kept = copy.deepcopy(layer)
    kept.keep = True
    np.testing.assert_allclose(outputs(kept, x), np.column_stack([np.array(wanted)[:, :3], x]), atol=1e-15)


def test_periodic() -> None:
    x = table()[0]
    made = model(fd.NumericEmbedding("periodic", columns=[0, 1], frequencies=4, sigma=0.5))
    frequencies, phases = made.get_weights()[:2]
    assert frequencies.shape == phases.shape == (2, 4) and (np.abs(phases) <= 0.5).all()
    angles = 2 * np.pi * (x[:, :2, None] * frequencies + phases)
    np.testing.assert_allclose(
        made.activations(x)[0], np.column_stack([np.cos(angles).reshape(len(x), 8), x]), atol=1e-12
    )


def test_a_dense_layer_for_each_column() -> None:
    x = table()[0]
    layer = fd.NumericEmbedding("periodic", columns=[0, 2], frequencies=4, size=2, activation="relu", keep=False)
    made = model(layer)
    names = [tensor.name for tensor in made.net.tensors[:4]]
    assert names == [f"numeric_embedding/{name}" for name in ("frequencies", "phases", "kernel", "bias")]
    frequencies, phases, kernel, bias = made.get_weights()[:4]
    assert kernel.shape == (2, 4, 2) and bias.shape == (2, 2) and not bias.any()
    waves = np.cos(2 * np.pi * (x[:, [0, 2], None] * frequencies + phases))
    wanted = np.maximum(np.einsum("rci,ciu->rcu", waves, kernel), 0).reshape(len(x), 4)
    np.testing.assert_allclose(made.activations(x)[0], np.column_stack([wanted, x[:, 1]]), atol=1e-12)


def test_frequencies_and_kernels_start_as_they_should() -> None:
    made = fd.NumericEmbedding("periodic", frequencies=400, sigma=3.0, size=100, activation="relu")
    net = fd.Model([made, fd.Dense(1)], inputs=2, device="reference")
    frequencies, phases, kernel, _ = net.get_weights()[:4]
    assert abs(frequencies.std() / 3.0 - 1) < 4 / np.sqrt(2 * 800)  # four standard errors
    assert abs(phases.mean()) < 4 * np.sqrt(1 / 12 / 800)
    assert abs(kernel.std() / np.sqrt(2 / 400) - 1) < 0.02  # that of relu's initializer for 400 inputs


def test_category_embedding() -> None:
    x = table()[0]
    layer = fd.CategoryEmbedding(columns=[1, 2], size=2, codes=[[1.0], [8.0, 3.0, 5.0]])
    made = model(layer)
    embeddings, codes = made.get_weights()[:2]
    assert embeddings.shape == (2 + 4, 2) and codes.tolist() == [1, 3, 5, 8]
    assert (np.abs(embeddings) <= 1 / np.sqrt(2)).all() and not made.net.tensors[1].trainable
    x[0], x[1] = (0.5, 1.0, 3.5), (0.25, np.nextafter(1.0, 2.0), 8.0)
    found = made.activations(x)[0]
    np.testing.assert_array_equal(found[:, 0], x[:, 0])
    np.testing.assert_array_equal(found[0, 1:], np.concatenate([embeddings[0], embeddings[5]]))  # 3.5 is not known
    np.testing.assert_array_equal(found[1, 1:], np.concatenate([embeddings[1], embeddings[4]]))
    place = np.searchsorted([3, 5, 8], x[2:, 2])
    np.testing.assert_array_equal(found[2:, 3:], embeddings[2 + place])


def test_scale() -> None:
    x = table()[0]
    made = model(fd.Scale())
    np.testing.assert_array_equal(made.activations(x)[0], x)
    made.set_weights([np.array([2.0, 0.5, -1.0]), *made.get_weights()[1:]])
    np.testing.assert_array_equal(made.activations(x)[0], x * [2.0, 0.5, -1.0])
    assert model(fd.Scale("random_normal")).get_weights()[0].std() > 0


# ---- where the edges come from ---------------------------------------------------------------------------------------


def test_edges_come_from_the_data_as_they_reach_the_layer() -> None:
    x, y = table()
    category = fd.CategoryEmbedding(columns=2, size=3).adapt(x)
    made = model(fd.RobustScale(columns=[0, 1]), fd.Rescaling(2.0, 1.0), category, fd.NumericEmbedding(columns=[0, 1]))
    assert made.net.statistics[1].layer.statistics is None
    made.fit(x, y, verbose=0)
    layer = made.layers[3]
    assert isinstance(layer, fd.NumericEmbedding) and layer.edges is not None
    reached = np.asarray(made.activations(x)[2][:, :2], dtype=np.float64)
    np.testing.assert_allclose(layer.edges, [bin_edges(column, 16) for column in reached.T], rtol=1e-12)
    np.testing.assert_array_equal(made.get_weights()[4], layer.edges)


def test_data_of_many_rows_are_represented_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fd.NumericEmbedding, "most_rows", 100)
    x = np.random.default_rng(0).uniform(size=(5000, 1))
    layer = fd.NumericEmbedding(bins=4).adapt(x)
    assert layer.edges is not None
    np.testing.assert_allclose(layer.edges, [[0, 0.25, 0.5, 0.75, 1]], atol=0.2)  # four standard errors of a quantile
    np.testing.assert_array_equal(layer.edges, fd.NumericEmbedding(bins=4).adapt(x).edges)


def test_members_of_a_population_share_edges_and_codes() -> None:
    x, y = table()
    made = model(
        fd.CategoryEmbedding(columns=2, size=2).adapt(x), fd.NumericEmbedding(columns=[0, 1], size=3), device="cpu"
    )
    population = fd.fit_many(made, x, y, starts=3, epochs=2, verbose=0)
    assert "has a layer of kind embedding" in population.why_one_by_one
    tensors = [population[i].get_weights() for i in range(3)]
    for other in tensors[1:]:
        np.testing.assert_array_equal(tensors[0][1], other[1])
        np.testing.assert_array_equal(tensors[0][2], other[2])
        assert (tensors[0][0] != other[0]).all() and (tensors[0][3] != other[3]).all()
    assert tensors[0][2].std() > 0.1


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_files_keep_everything(tmp_path: Path, device: str) -> None:
    x, y = table()
    layers = (
        fd.CategoryEmbedding(columns=2, size=2).adapt(x),
        fd.NumericEmbedding(columns=[0, 1], size=3, activation="gelu"),
        fd.NumericEmbedding("periodic", columns=[0], frequencies=3),
        fd.Scale(),
    )
    made = model(*layers, device=device)
    made.fit(x, y, epochs=2, verbose=0)
    made.save(tmp_path / "net")
    loaded = fd.load(tmp_path / "net")
    np.testing.assert_array_equal(loaded.predict(x), made.predict(x))
    assert [layer.to_dict() for layer in loaded.layers] == [layer.to_dict() for layer in made.layers]
    made.fit(x, y, verbose=0), loaded.fit(x, y, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x), made.predict(x))
    assert not made.clone().net.statistics[0].layer.adapted
    for layer in made.layers:
        assert fd.layers.get(layer.to_dict()) == layer


def test_places_in_a_net() -> None:
    x, y = table()
    inside = fd.Residual([fd.NumericEmbedding("periodic", size=2, keep=False), fd.Scale(), fd.Dense(3)])
    made = model(fd.Dense(3, "tanh"), inside, fd.NumericEmbedding("periodic"), fd.CategoryEmbedding(0, 2, [0.0]))
    made.fit(x, y, epochs=2, verbose=0)
    assert made.net.widths[:4] == [3, 3, 3 * 16 + 3, 3 * 16 + 4]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: model(fd.Dense(3), fd.NumericEmbedding()),
            "Model: layers[1] is a NumericEmbedding for column 2, which training changes; it takes numbers from the "
            "data of the first fit, so it must stand before the layers that are trained",
        ),
        (
            lambda: model(fd.CategoryEmbedding(1, 2, [1.0]), fd.NumericEmbedding()),
            "Model: layers[1] is a NumericEmbedding for column 3, which training changes; it takes numbers from the "
            "data of the first fit, so it must stand before the layers that are trained",
        ),
        (
            lambda: model(fd.Residual([fd.NumericEmbedding(), fd.Dense(3)])),
            "Model: layers[0].layers[0] is a NumericEmbedding; it takes numbers from the data, so it cannot stand "
            "inside of another layer",
        ),
        (
            lambda: fd.NumericEmbedding("periodic", bins=3),
            "NumericEmbedding: bins is given, which 'periodic' does not have. Leave it out.",
        ),
        (
            lambda: fd.NumericEmbedding(sigma=0.1),
            "NumericEmbedding: sigma is given, which 'piecewise_linear' does not have. Leave it out.",
        ),
        (
            lambda: fd.NumericEmbedding(activation="relu"),
            "NumericEmbedding: activation is given without size, the outputs of the layers it is for. Give both.",
        ),
        (
            lambda: fd.NumericEmbedding(size=2, activation="prelu"),
            "NumericEmbedding: activation='prelu' is not for these layers. Give another one.",
        ),
        (
            lambda: fd.NumericEmbedding("periodic").adapt([[1.0]]),
            "NumericEmbedding.adapt: 'periodic' takes nothing from data. Leave the call out.",
        ),
        (
            lambda: fd.NumericEmbedding("linear"),
            "NumericEmbedding: kind='linear' is not known. Use 'piecewise_linear' or 'periodic'.",
        ),
        (
            lambda: model(fd.NumericEmbedding(columns=3)),
            "NumericEmbedding: columns holds 3, but its input has 3 columns. Give numbers from 0 to 2.",
        ),
        (
            lambda: model(fd.NumericEmbedding().adapt(np.eye(2))),
            "NumericEmbedding: adapted to 2 columns, but it encodes 3. Call adapt with data of that width.",
        ),
        (
            lambda: fd.NumericEmbedding(bins=1).set_statistics([[2.0, 1.0]]),
            "NumericEmbedding: the edges of a column are not in ascending order. Sort them.",
        ),
        (
            lambda: fd.NumericEmbedding(bins=2).set_statistics([[2.0, 1.0]]),
            "NumericEmbedding: edges of shape (1, 2). Give 3 finite numbers per column.",
        ),
        (
            lambda: model(fd.CategoryEmbedding()),
            "CategoryEmbedding: its codes are not known. Call adapt(x) before the model is made, or give codes=.",
        ),
        (
            lambda: model(fd.CategoryEmbedding(codes=[[1], [2]])),
            "CategoryEmbedding: codes is given for 2 columns, but the layer encodes 3. "
            "Give it for each of them, or once for all.",
        ),
        (
            lambda: fd.CategoryEmbedding(codes=[1, 1.0]),
            "CategoryEmbedding: codes holds a code twice. Give each once.",
        ),
        (
            lambda: model(fd.CategoryEmbedding(codes=[2**24, 2**24 + 1])),
            "CategoryEmbedding: two codes are 16777216 in float32. "
            "Number the codes anew, or make the Model with dtype='float64'.",
        ),
    ],
)
def test_messages(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()


def test_codes_that_float64_tells_apart() -> None:
    assert model(fd.CategoryEmbedding(codes=[2**24, 2**24 + 1]), dtype="float64").count_params() > 0


def test_same_bits_at_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(1500, 6)), rng.integers(0, 40, (1500, 3))]).astype(np.float32)
    y, weights = x[:, :1] ** 2 + (x[:, 6:7] == 7), []
    for threads in (1, 2):
        layers = (
            fd.CategoryEmbedding(columns=[6, 7, 8], size=5).adapt(x),
            fd.NumericEmbedding(columns=range(6), size=7, keep=True),
            fd.NumericEmbedding("periodic", columns=[3, 40], frequencies=19),
            fd.Scale(),
        )
        made = fd.Model([*layers, fd.Dense(300, "relu"), fd.Dense(1)], inputs=9)
        made.compile("adam", "mse")
        made.fit(x, y, batch_size=700, epochs=2, verbose=0, n_threads=threads)  # the last batch of 100 rows
        weights.append(made.get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("solver", ["lbfgs", "newton_cg", "levenberg_marquardt"])
def test_full_batch_optimizers_know_fixed_bins(solver: str) -> None:
    x, y = table()
    losses = []
    for device in ("cpu", "reference"):
        made = model(fd.Normalization(), fd.NumericEmbedding(bins=5), device=device, dtype="float64")
        made.compile(solver, "mse")
        losses.append(made.fit(x, y, epochs=5, verbose=0).history["loss"][-1])
    assert abs(losses[0] - losses[1]) < 1e-6 * losses[1]  # rounding, over five steps
    trained = fd.NumericEmbedding(bins=5, size=2)
    if solver != "lbfgs":
        with pytest.raises(
            ValueError, match=r"a net with the dense layers of a NumericEmbedding with size; it knows no"
        ):
            model(trained).compile(solver, "mse")
