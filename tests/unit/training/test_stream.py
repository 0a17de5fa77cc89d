"""Training on iterables of batches: the same bits as on arrays in that order, errors that name the item, hooks."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.arrays import Array
from fastdense.data import stream

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(230, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
W = RANDOM.uniform(0, 2, 230)


def model(device: str = "cpu", *, optimizer: Any = "adam") -> fd.Model:
    made = fd.Model([fd.Dense(6, "tanh"), fd.Dropout(0.2), fd.Dense(2, "softmax")], inputs=4, seed=1, device=device)
    made.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def batches(size: int = 32, passes: int = 1, x: Array = X, y: Array = Y, w: Array | None = None) -> Iterator[Any]:
    for _ in range(passes):
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            yield (x[part], y[part]) if w is None else (x[part], y[part], w[part])


class Again:
    """Can be iterated again and again."""

    def __init__(self, make: Callable[[], Iterator[Any]] = batches) -> None:
        self.make, self.passes = make, 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return self.make()


def equal(a: fd.Model, b: fd.Model) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a.get_weights(), b.get_weights(), strict=True))


def close(a: fd.History, b: fd.History) -> None:
    assert a.history.keys() == b.history.keys()
    for key, values in a.history.items():
        np.testing.assert_allclose(b.history[key], values, rtol=1e-12)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_same_bits_as_arrays(device: str) -> None:
    one, other, third = model(device), model(device), model(device)
    first = one.fit(X, Y, epochs=3, sample_weight=W, shuffle=False, verbose=0, validation_data=(X, Y))
    close(first, other.fit(batches(passes=3, w=W), steps_per_epoch=8, epochs=3, verbose=0,
                           validation_data=Again(lambda: batches(17))))  # fmt: skip
    close(first, third.fit(Again(lambda: batches(w=W)), epochs=3, verbose=0, validation_data=(X, Y)))
    assert equal(one, other)
    assert equal(one, third)


@pytest.mark.parametrize("rows", [1, 40, 64, 100, 1000])
def test_same_bits_however_large_blocks_are(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    one, other = model(), model()
    first = one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    monkeypatch.setattr(stream, "BLOCK_ROWS", rows)
    close(first, other.fit(Again(), epochs=2, verbose=0))
    assert equal(one, other)


def test_same_bits_with_one_array_that_is_filled_again_and_again() -> None:
    def refilled() -> Iterator[Any]:
        x, y = np.empty((32, 4), np.float32), np.empty(32, np.int64)
        for start in range(0, 224, 32):
            x[:], y[:] = X[start : start + 32], Y[start : start + 32]
            yield x, y

    one, other = model(), model()
    one.fit(X[:224], Y[:224], epochs=2, shuffle=False, verbose=0)
    other.fit(Again(refilled), epochs=2, verbose=0)
    assert equal(one, other)


def test_same_bits_with_a_batch_hook() -> None:
    seen: list[tuple[int, float]] = []
    hook = fd.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])))
    one, other = model(), model()
    history = one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    close(history, other.fit(Again(), epochs=2, verbose=0, callbacks=[hook]))
    assert equal(one, other)
    assert [batch for batch, _ in seen] == [*range(8), *range(8)]
    assert seen[-1][1] == pytest.approx(history.history["loss"][-1], rel=1e-12)


def test_training_goes_on_after_an_iterable_as_after_arrays() -> None:
    one, other = model(), model()
    one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    other.fit(batches(passes=2), epochs=2, steps_per_epoch=8, verbose=0)
    one.fit(X, Y, epochs=1, verbose=0)  # shuffled by the age of the net
    other.fit(X, Y, epochs=1, verbose=0)
    assert equal(one, other)


def test_batches_of_several_sizes_are_steps() -> None:
    sizes = [10, 10, 4, 10, 30, 30, 1, 135]
    ends = np.cumsum(sizes)
    one, other = model(), model()
    logs = []
    for end, size in zip(ends, sizes, strict=True):
        logs.append(one.train_on_batch(X[end - size : end], Y[end - size : end]))
    history = other.fit(
        ((X[e - s : e], Y[e - s : e]) for e, s in zip(ends, sizes, strict=True)), epochs=1, verbose=0
    ).history
    assert equal(one, other)
    assert history["loss"][0] == pytest.approx(np.average([log[0] for log in logs], weights=sizes), rel=1e-12)
    assert history["accuracy"][0] == pytest.approx(np.average([log[1] for log in logs], weights=sizes), rel=1e-12)


def test_class_weight() -> None:
    one, other = model(), model()
    close(one.fit(X, Y, class_weight={1: 3.0}, sample_weight=W, shuffle=False, verbose=0),
          other.fit(batches(w=W), class_weight={1: 3.0}, verbose=0))  # fmt: skip
    assert equal(one, other)


def test_a_weight_of_none_is_none() -> None:
    one, other = model(), model()
    one.fit(batches(), verbose=0)
    other.fit(((x, y, None) for x, y in batches()), verbose=0)
    assert equal(one, other)


@pytest.mark.parametrize("rows", [64, 128])
def test_items_may_change_their_type(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Blocks of two batches or of four: no batch is rounded to the type of those before it."""
    monkeypatch.setattr(stream, "BLOCK_ROWS", rows)
    x = np.random.default_rng(1).normal(size=X.shape)
    nets = [fd.Model([fd.Dense(6, "tanh"), fd.Dense(2, "softmax")], inputs=4, seed=1, dtype="float64") for _ in "ab"]
    for net, types in zip(nets, (["f4", "f8"], ["f8"]), strict=True):
        net.compile("adam", "sparse_categorical_crossentropy")
        given = (part for i in range(4) for part in batches(x=x[:128].astype("f4") if i % 2 == 0 else x[:128]))
        net.fit(((part.astype(types[i // 4 % len(types)]), y) for i, (part, y) in enumerate(given)), verbose=0)
    assert equal(*nets)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK_ROWS", 64)
    alive: list[weakref.ref[Any]] = []
    most = 0

    class Mine(np.ndarray):  # an array that can be counted
        pass

    def counted() -> Iterator[Any]:
        nonlocal most
        for x, y in batches(16, 3):
            own = x.copy().view(Mine)
            alive.append(weakref.ref(own))
            yield own, y
            most = max(most, sum(one() is not None for one in alive))

    made = model()
    made.fit(counted(), verbose=0)
    assert len(alive) == 3 * 15
    assert most <= 2  # copied into the block when the next one is drawn


def test_no_more_items_are_drawn_than_the_epochs_need() -> None:
    drawn = 0

    def endless() -> Iterator[Any]:
        nonlocal drawn
        while True:
            for item in batches():
                drawn += 1
                yield item

    items, made = endless(), model()
    made.fit(items, steps_per_epoch=5, epochs=3, verbose=0)
    assert drawn == 15
    made.evaluate(items, steps=3)
    made.predict(items, steps=2)
    assert drawn == 20
    stop = fd.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(made, "stop_training", batch == 1)
    )
    made.fit(items, steps_per_epoch=5, verbose=0,
             callbacks=[stop])  # fmt: skip
    assert drawn == 22


def test_an_epoch_goes_on_where_the_last_one_has_ended() -> None:
    one, other = model(), model()
    one.fit(batches(passes=3), steps_per_epoch=6, epochs=4, verbose=0)
    other.fit(batches(passes=3), steps_per_epoch=3, epochs=8, verbose=0)
    assert equal(one, other)


def test_an_iterable_is_used_up() -> None:
    made = model()
    with pytest.warns(UserWarning, match="^fit: your input ran out of data after 8 batches of an epoch; as many as"):
        history = made.fit(batches(), epochs=3, verbose=0)
    assert len(history.history["loss"]) == 1
    assert made.runner.epochs_trained == 1
    with pytest.warns(UserWarning, match="ran out of data after 3 of 5 batches"):
        history = made.fit(batches(), steps_per_epoch=5, epochs=4, verbose=0)
    assert len(history.history["loss"]) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.fit(batches(), verbose=0)
        made.fit(batches(passes=2), steps_per_epoch=8, epochs=2, verbose=0)


def test_the_exception_of_an_iterable_comes_out() -> None:
    def broken() -> Iterator[Any]:
        yield from batches(passes=2)
        yield from batches(x=X[:64], y=Y[:64])
        raise OSError("the disk is gone")

    made, known = model(), model()
    with pytest.raises(OSError, match="the disk is gone"):
        made.fit(broken(), steps_per_epoch=8, epochs=3, verbose=0)
    assert made.history is not None
    assert len(made.history.history["loss"]) == 2
    assert made.runner.epochs_trained == 2
    known.fit(Again(), epochs=2, verbose=0)
    assert equal(made, known)  # the block of the third epoch was not complete
    made.fit(X, Y, verbose=0)


def test_ctrl_c_keeps_finished_epochs() -> None:
    def interrupted() -> Iterator[Any]:
        yield from batches(passes=2)
        raise KeyboardInterrupt

    made = model()
    with pytest.raises(KeyboardInterrupt):
        made.fit(interrupted(), steps_per_epoch=8, epochs=3, verbose=0, validation_data=Again())
    assert made.history is not None
    assert {len(values) for values in made.history.history.values()} == {2}
    made.fit(X, Y, verbose=0)


def spoilt(array: Array, place: Any, value: Any) -> Array:
    made = array.copy()
    made[place] = value
    return made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: batches(x=spoilt(X, (70, 2), np.nan)), "^fit: item 2: x[6, 2] is nan; finite numbers are needed"),
        (lambda: batches(y=spoilt(Y, 40, 7)), "^fit: item 1: y[8] is 7, labels run from"),
        (lambda: batches(w=spoilt(W, 3, -1)), "^fit: item 0: sample_weight[3] is -1"),
        (lambda: iter([X]), "^fit: item 0: it is an array of shape (230, 4); (x, y) or (x, y, sample_weight) is"),
        (lambda: iter([(X, Y), (X,)]), "^fit: item 1: it has 1 parts; (x, y) or (x, y, sample_weight) is needed"),
        (lambda: iter([3]), "^fit: item 0: it is 3, of type int; (x, y) or (x, y, sample_weight) is needed"),
        (lambda: iter([(X, Y[:7])]), "^fit: item 0: x has 230 rows and y has 7 rows"),
        (lambda: iter([(X, Y, W[:7])]), "^fit: item 0: sample_weight has shape (7,)"),
        (lambda: iter([(X[:, :3], Y)]), "^fit: item 0: x has 3 columns, shape (230, 3); a dense net needs"),
        (lambda: iter([(X[0], Y)]), "^fit: item 0: x has 1 dimension, shape (4,)"),
        (lambda: iter([(X[:0], Y[:0])]), "^fit: item 0: x is empty, shape (0, 4)"),
        (lambda: iter([(X, None)]), "^fit: item 0: y is None"),
        (lambda: iter([("text", Y)]), "^fit: item 0: x has dtype"),
        (lambda: iter([]), "^fit: x is a list_iterator that gave no item; at least one batch is needed"),
    ],
)  # fmt: skip
def test_errors_name_the_item(make: Callable[[], Iterator[Any]], message: str) -> None:
    made = model()
    before = made.get_weights()
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")):
        made.fit(make(), verbose=0)
    assert all(map(np.array_equal, before, made.get_weights()))
    assert made.history is None


@pytest.mark.parametrize(
    ("optimizer", "given", "message"),
    [
        ("adam", {"y": Y}, "y was given and x is a generator of batches; its items hold the targets: let it give"),
        ("adam", {"sample_weight": W}, "sample_weight was given and x is a generator of batches; its items hold the"),
        ("adam", {"batch_size": 32}, "batch_size=32 was given and x is a generator of batches; its items are the"),
        ("adam", {"validation_split": 0.1}, "validation_split=0.1 was given and x is a generator of batches; the last"),
        (
            "adam",
            {"class_weight": "balanced"},
            "class_weight is 'balanced' and x is a generator of batches; the number",
        ),
        ("adam", {"starts": 4}, "x is a generator of batches; starts=4 tries many nets on the same rows: pass arrays"),
        ("adam", {"probes": True}, "x is a generator of batches; probes=True takes the same rows again and again"),
        ("lbfgs", {}, "x is a generator of batches; LBFGS is a full-batch optimizer: each step takes all rows"),
        ("adam", {"steps_per_epoch": 0}, "fit: steps_per_epoch=0 is out of range. Give a whole number, at least 1"),
        ("adam", {"validation_freq": 0}, "fit: validation_freq=0 is out of range. Give a whole number, at least 1"),
        ("adam", {"validation_data": iter([(X, Y)]), "validation_batch_size": 3}, "validation_batch_size=3 was given"),
        ("adam", {"validation_data": iter([(X, Y[:5])])}, "fit: validation_data: item 0: x has 230 rows and y has 5"),
    ],
)
def test_refused(optimizer: str, given: dict[str, Any], message: str) -> None:
    made = fd.Model([fd.Dense(2, "softmax")], inputs=4)
    made.compile(optimizer, "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("[", r"\[")):
        made.fit(batches(), verbose=0, **given)


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_evaluate_and_predict_refuse_a_batch_size(method: str) -> None:
    with pytest.raises(ValueError, match=f"^{method}: batch_size=3 was given and x is a generator of batches"):
        getattr(model(), method)(batches(), batch_size=3)


def test_evaluate() -> None:
    made = model()
    np.testing.assert_allclose(made.evaluate(batches(17, w=W)), made.evaluate(X, Y, sample_weight=W), rtol=1e-12)
    np.testing.assert_allclose(made.evaluate(batches(17), steps=3), made.evaluate(X[:51], Y[:51]), rtol=1e-12)
    np.testing.assert_allclose(made.evaluate(X, Y, steps=3, batch_size=17), made.evaluate(X[:51], Y[:51]), rtol=1e-12)
    assert made.evaluate(X, Y, steps=3) == made.evaluate(X, Y)
    with pytest.warns(UserWarning, match="ran out of data after 14 batches of 17 rows"):
        made.evaluate(X, Y, steps=100, batch_size=17)
    seen: list[int] = []
    hook = fd.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
    np.testing.assert_allclose(made.evaluate(batches(), callbacks=[hook]), made.evaluate(X, Y), rtol=1e-12)
    assert seen == list(range(8))


def test_predict() -> None:
    made = model()
    expected = made.predict(X)
    for items in (batches(17), batches(17, w=W), (X[i : i + 17] for i in range(0, 230, 17)),
                  ((X[i : i + 17],) for i in range(0, 230, 17))):  # fmt: skip
        assert np.array_equal(made.predict(items), expected)
    assert np.array_equal(made.predict(batches(17), steps=2), expected[:34])
    assert np.array_equal(made.predict(X, steps=2, batch_size=17), expected[:34])
    assert np.array_equal(made.predict(X, steps=2), expected)
    with pytest.raises(ValueError, match="^predict: x is a generator that gave no item"):
        made.predict(batches(x=X[:0]))
    with pytest.raises(ValueError, match=r"^predict: item 0: x has 1 dimension, shape \(4,\)"):
        made.predict(row for row in X)


def test_normalization_adapts_in_a_pass_before() -> None:
    def normalized() -> fd.Model:
        made = fd.Model([fd.Normalization(), fd.Dense(2, "softmax")], inputs=4, seed=1)
        made.compile("sgd", "sparse_categorical_crossentropy")
        return made

    one, other, items = normalized(), normalized(), Again()
    one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    other.fit(items, epochs=2, verbose=0)
    assert items.passes == 3
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)  # sums in another order
    with pytest.raises(ValueError, match="^fit: Normalization must still adapt to data, and x can be iterated only on"):
        normalized().fit(batches(), verbose=0)
    robust = fd.Model([fd.RobustScale(), fd.Dense(1)], inputs=4)
    robust.compile("sgd", "mse")
    with pytest.raises(ValueError, match="^fit: RobustScale must still adapt to data, and x is a Again of batches"):
        robust.fit(Again(), verbose=0)


def test_validation_frequency_and_steps() -> None:
    one, other = model(), model()
    every = one.fit(X, Y, epochs=5, shuffle=False, verbose=0, validation_data=(X[:64], Y[:64])).history
    history = other.fit(X, Y, batch_size=32, epochs=5, shuffle=False, verbose=0, validation_data=(X, Y),
                        validation_freq=2, validation_steps=2)  # fmt: skip
    assert history.history["val_loss"] == every["val_loss"][1::2]
    assert history.history["loss"] == every["loss"]
    assert equal(one, other)
    third = model().fit(Again(), epochs=5, verbose=0, validation_data=batches(passes=9), validation_freq=[1, 4],
                        validation_steps=8).history  # fmt: skip
    whole = model().fit(X, Y, epochs=5, shuffle=False, verbose=0, validation_data=(X, Y)).history
    np.testing.assert_allclose(third["val_loss"], [whole["val_loss"][i] for i in (0, 3)], rtol=1e-12)


def test_steps_per_epoch_of_arrays() -> None:
    one, other = model(), model()
    history = one.fit(batches(passes=2), steps_per_epoch=3, epochs=3, verbose=0)
    with pytest.warns(UserWarning, match="ran out of data after 2 of 3 batches"):
        same = other.fit(X, Y, steps_per_epoch=3, batch_size=32, epochs=3, shuffle=False, verbose=0)
    assert len(same.history["loss"]) == 3
    np.testing.assert_allclose(same.history["loss"][:2], history.history["loss"][:2], rtol=1e-12)
    divided, known = model(), model()
    close(
        divided.fit(X, Y, steps_per_epoch=5, epochs=2, verbose=0), known.fit(X, Y, batch_size=46, epochs=2, verbose=0)
    )
    with pytest.warns(UserWarning, match="steps_per_epoch=9 was given, and your input ran out of data after 8 batches"):
        model().fit(X, Y, batch_size=32, steps_per_epoch=9, verbose=0)


def test_shuffled_arrays_in_short_epochs_have_every_row_once_in_a_pass() -> None:
    seen: list[Any] = []
    rows = stream.Rows(X, Y, None)
    source = stream.ArrayBatches("fit", rows, 32, 4, stream.shuffled(1, 0))
    for _ in range(4):
        seen += [x for x, _ in source.epoch()]
    first, second = np.concatenate(seen[:8]), np.concatenate(seen[8:])
    assert not np.array_equal(first, X)
    assert not np.array_equal(first, second)
    for order in (first, second):
        assert sorted(map(tuple, order)) == sorted(map(tuple, X))


def test_a_data_set_with_hooks_and_indices() -> None:
    class Indexed:
        def __init__(self) -> None:
            self.log: list[Any] = []

        def __len__(self) -> int:
            return 3

        def __getitem__(self, i: int) -> Any:
            self.log.append(i)
            return X[32 * i : 32 * i + 32], Y[32 * i : 32 * i + 32]

        def on_epoch_begin(self) -> None:
            self.log.append("begin")

        def on_epoch_end(self) -> None:
            self.log.append("end")

    data = Indexed()
    model().fit(data, epochs=2, verbose=0)
    assert data.log == ["begin", 0, 1, 2, "end"] * 2


class Tensor:
    """Numbers that `np.asarray` reads, as tensors of other libraries are."""

    def __init__(self, values: Array) -> None:
        self.values, self.shape, self.ndim = values, values.shape, values.ndim

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.values


class Loader:
    """Tensors in lists, with a length: as torch's DataLoader gives them."""

    def __init__(self, length: int = 8) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return ([Tensor(x), Tensor(y)] for x, y in batches())


class Pipeline:
    """Its length is not known, and its NumPy arrays come from a method: as with tf.data."""

    def __len__(self) -> int:
        raise TypeError("the length is unknown")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("iterated without the method")

    def as_numpy_iterator(self) -> Iterator[Any]:
        return batches()


@pytest.mark.parametrize("make", [Loader, Pipeline])
def test_other_libraries(make: Callable[[], Any]) -> None:
    one, other = model(), model()
    history = one.fit(X, Y, epochs=2, shuffle=False, verbose=0, validation_data=(X, Y))
    close(history, other.fit(make(), epochs=2, verbose=0, validation_data=make()))
    assert equal(one, other)
    assert np.array_equal(other.predict(make()), one.predict(X))


def test_a_length_that_is_not_kept() -> None:
    with pytest.warns(UserWarning, match="ran out of data after 8 of 10 batches"):
        model().fit(Loader(10), verbose=0)


def test_bytes_bound_a_block_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stream.Blocks(
        stream.Batches("fit", batches(10)), model()._shape, lambda where, x, y: stream.Rows(x, y, None)
    )
    monkeypatch.setattr(stream, "BLOCK_BYTES", 1000)  # 240 of an item
    assert [(block.items, len(block.rows)) for block in made.epoch()] == [(4, 40)] * 5 + [(3, 30)]


def test_a_loss_that_is_not_finite_ends_the_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    made = fd.Model([fd.Dense(1)], inputs=4)
    made.compile(fd.optimizers.SGD(1e30), "mse")
    items = Again(lambda: batches(y=Y[:, None].astype(np.float32)))
    history = made.fit(items, epochs=5, verbose=0, callbacks=[fd.callbacks.TerminateOnNaN()])
    assert len(history.history["loss"]) == 1
    assert "Batch 1: Invalid loss, terminating training" in capsys.readouterr().out
    with pytest.warns(RuntimeWarning, match="the loss became"):
        made.fit(items, epochs=2, verbose=0)


def test_first_values_and_callbacks_that_look_at_rows() -> None:
    made = fd.Model([fd.Dense(6, "relu", kernel_initializer="data"), fd.Dense(2, "softmax")], inputs=4)
    made.compile("adam", "sparse_categorical_crossentropy")
    before = made.get_weights()[0]
    history = made.fit(Again(), epochs=4, verbose=0, callbacks=[fd.callbacks.ReviveDeadUnits(every=1)])
    assert not np.array_equal(before, made.get_weights()[0])
    assert len(history.history["revived"]) == 4


@pytest.mark.parametrize(
    "data",
    [
        [[1.0, 2.0]],
        ((1, 2), (3, 4)),
        range(3),
        np.zeros(3),
        {"a": 1},
        {1, 2},
        "text",
        b"bytes",
        None,
        3,
        memoryview(b"ab"),
    ],
)
def test_what_is_data(data: Any) -> None:
    assert not stream.is_stream(data)
