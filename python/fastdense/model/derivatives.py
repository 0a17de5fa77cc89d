"""`Differentiable`: the derivatives of a model: by its inputs, by its weights, and second ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arguments import items, keywords_checked
from ..arrays import Array, as_array, fail, to_host
from ..data.checks import check_finite, check_x
from ..data.prepare import prepare
from ..training.feasible import check_batch_memory
from ..training.options import check_threads
from .definition import Definition


class Gradients(NamedTuple):
    """What `Model.vjp` returns: the gradient of the inputs (rows, inputs), and those of the trainable tensors.

    Examples
    --------
    >>> import fastdense as fd
    >>> model = fd.Model([fd.Dense(2)], inputs=3)
    >>> gradients = model.vjp([[1, 2, 3]], [[1, 0]])
    >>> gradients.inputs.shape, [one.shape for one in gradients.parameters]
    ((1, 3), [(3, 2), (2,)])
    """

    inputs: Array
    parameters: list[Array]


class Differentiable(Definition):
    """A model's derivatives, in inference mode: no dropout, moving statistics. Preprocessing layers are gone through.

    Where a function has a kink (relu at 0) the derivative is that of one side, as in training. Columns of codes
    (`OneHot`, `CategoryEmbedding`) have the derivative 0: what becomes of them is constant between two codes.
    """

    @keywords_checked
    def input_gradient(self, x: Any, output: Any = None, *, n_threads: int | None = None) -> Array:
        """The derivative of an output, or of a weighted sum of outputs, by the inputs, for every row.

        In units of x as it is given: a `Normalization` and the layers that encode columns are part of the function. It
        costs less than a forward and a backward pass of training, whatever the number of inputs.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            As in `fit`.
        output : int or array of shape (outputs,) or (rows, outputs), optional
            The number of the output, or the weights of the sum of outputs. May be left out if there is one output.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (rows, inputs)
            In the model's dtype, in the host's memory.

        Raises
        ------
        ValueError, TypeError
            If x is invalid, there are several outputs and `output` is left out, or it names none of them.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(1, kernel_initializer="ones")], inputs=2)
        >>> model.input_gradient([[0.5, 2.0]]).tolist()
        [[1.0, 1.0]]
        """
        where = "input_gradient"
        rows, threads = check_x(where, x, self._shape), check_threads(where, n_threads)
        check_batch_memory(where, self.net, 1, self.device)
        d_out = self._weights_of_outputs(where, output, len(rows))
        return np.asarray(self.runner.vjp(rows, d_out, threads)[0][:, 0])

    @keywords_checked
    def jacobian(self, x: Any, *, n_threads: int | None = None) -> Array:
        """The derivatives of all outputs by all inputs, for every row.

        One forward pass, and one backward pass for each output.

        Parameters
        ----------
        x, n_threads
            As in `input_gradient`.

        Returns
        -------
        ndarray of shape (rows, outputs, inputs)
            In the model's dtype, in the host's memory.

        Raises
        ------
        ValueError, TypeError
            If x is invalid.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(3)], inputs=2)
        >>> model.jacobian([[0.5, 2.0]]).shape
        (1, 3, 2)
        """
        rows, threads = check_x("jacobian", x, self._shape), check_threads("jacobian", n_threads)
        check_batch_memory("jacobian", self.net, 1, self.device)
        every = np.eye(self.outputs, dtype=self.runner.value_dtype).reshape(1, -1)
        d_out = np.broadcast_to(every, (len(rows), every.size))  # one row for all: it is read, never copied
        return self.runner.vjp(rows, d_out, threads)[0]

    @keywords_checked
    def vjp(self, x: Any, d_out: Any, d_jacobian: Any = None, *, n_threads: int | None = None) -> Gradients:
        """Gradients of ``sum(d_out * outputs)`` by inputs and parameters: a backward pass from any loss of one's own.

        With `d_out` the derivative of a loss by the outputs, these are the loss's gradients; `apply_gradients` makes
        the step. With `d_jacobian`, the derivative of a loss by what `jacobian` returns,
        ``sum(d_jacobian * jacobian)`` is added to what is differentiated: so can a loss contain derivatives.

        Parameters
        ----------
        x : array of shape (rows, inputs)
            As in `fit`.
        d_out : array of shape (rows, outputs)
            Weights of the outputs of every row. Nothing is divided by the number of rows.
        d_jacobian : array of shape (rows, outputs, inputs), optional
            Weights of the derivatives of the outputs by the inputs. For nets of `Dense` (not softmax), `Activation`,
            `Normalization`, `Rescaling`, `Scale`, `Residual` and `Dropout`; with ``device="reference"`` for all but
            preprocessing layers and `Function`.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        Gradients
            ``inputs``, (rows, inputs), and ``parameters``, one array for each trainable tensor in the order of
            `get_weights`, summed over the rows; zeros for layers that are not trainable. Penalties are not part of it.

        Raises
        ------
        ValueError, TypeError
            If an array is invalid, or the second derivative of a layer is not known.

        Examples
        --------
        A policy gradient, of ``-sum(advantage * log p(action))``, in two lines:

        >>> import numpy as np, fastdense as fd
        >>> model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(2)], inputs=3)
        >>> model.compile("adam", "mse")
        >>> model.apply_gradients(model.vjp(np.ones((4, 3)), np.full((4, 2), 0.25)).parameters)
        """
        rows, threads = check_x("vjp", x, self._shape), check_threads("vjp", n_threads)
        weights = self._weights("vjp: d_out", d_out, (len(rows), self.outputs))
        with self.runner.lock:
            check_batch_memory("vjp", self.net, len(rows), self.device)
            second = None
            if d_jacobian is not None:
                from ..training.derivatives import check_second  # seldom needed

                check_second("vjp: d_jacobian", self.net, self.device)
                second = self._weights("vjp: d_jacobian", d_jacobian, (len(rows), self.outputs, self.inputs))
            inputs, parameters = self.runner.vjp(rows, weights, threads, second, parameters=True)
        assert parameters is not None
        return Gradients(inputs[:, 0], parameters)

    @keywords_checked
    def hessian_vector(self, x: Any, y: Any, v: Any, *, sample_weight: Any = None) -> list[Array]:
        """The product of a vector with the Hessian of the mean loss, penalties included: no approximation.

        The loss is that of `loss_and_grad`, with all rows as one batch, in inference mode. On every device the
        reference engine's formulas compute it in float64, by Pearlmutter's method (1994): it takes about as long as
        two gradients of ``device="reference"``. Where a function has a kink its second derivative counts as 0.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        v : list of array
            One for each trainable tensor, in the order of `loss_and_grad`.

        Returns
        -------
        list of ndarray
            One for each trainable tensor.

        Raises
        ------
        ValueError, TypeError
            If the data are invalid, `v` does not have the shapes of the trainable tensors, the loss is a function of
            one's own, or the net contains a `Function`.

        Examples
        --------
        >>> import numpy as np, fastdense as fd
        >>> model = fd.Model([fd.Dense(1, use_bias=False)], inputs=2)
        >>> model.compile("sgd", "mse")
        >>> [one.tolist() for one in model.hessian_vector([[1.0, 2.0]], [[3.0]], [np.ones((2, 1))])]  # 2 x x'
        [[[6.0], [12.0]]]
        """
        from ..training.derivatives import check_second  # seldom needed

        where = "hessian_vector"
        with self.runner.lock:
            loss = self._compiled_loss(where)
            if loss.targets in ("any", "heads"):
                fail(where, f"the loss is {loss.name!r}", "the second derivative of one of fastdense's is needed")
            check_second(where, self.net, "reference", encoded=True)
            data = prepare(where, x, y, sample_weight, self._shape, loss).on_host()
            check_batch_memory(where, self.net, 2 * len(data), self.device)
            return self.runner.hessian_vector(data, self._trainable(f"{where}: v", v))

    @keywords_checked
    def apply_gradients(self, gradients: Any) -> None:
        """Make one step of the compiled optimizer with given gradients: its learning rate, clipping, decay and state.

        Parameters
        ----------
        gradients : list of array
            One for each trainable tensor, in the order of `loss_and_grad` and of `vjp`. They are taken as they are:
            penalties that are not in them are not added. Those of layers that are not trainable do nothing.

        Raises
        ------
        ValueError, TypeError
            If the model is not compiled, an array is no finite numbers of the shape of its tensor, or the optimizer
            needs more than a gradient (full-batch optimizers, `KFAC`); the model is unchanged then.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(1)], inputs=2)
        >>> model.compile("sgd", "mse")
        >>> loss, gradients = model.loss_and_grad([[1.0, 2.0]], [[3.0]])
        >>> model.apply_gradients(gradients)
        >>> model.step
        1
        """
        from ..training.derivatives import check_steps_from_gradients  # seldom needed

        with self.runner.lock:
            self._compiled_loss("apply_gradients")
            check_steps_from_gradients("apply_gradients", self.optimizer)
            self.runner.apply_gradients(self.optimizer, self._trainable("apply_gradients: gradients", gradients))

    # ---- arguments -------------------------------------------------------------------------------------------------

    def _weights_of_outputs(self, where: str, output: Any, rows: int) -> Array:
        """`output` as weights (rows, outputs); for one output or weights of all rows the same row again and again."""
        count, dtype = self.outputs, self.runner.value_dtype
        if output is None:
            if count > 1:
                fail(where, "output is left out", f"the net has {count} outputs",
                     "give the number of one of them, or their weights; jacobian(x) has all")  # fmt: skip
            output = 0
        given = as_array(where, "output", output)
        if given.ndim == 0:
            number = given.item()
            if given.dtype.kind not in "iu" or not -count <= number < count:
                fail(where, f"output is {number!r}", f"a whole number from 0 to {count - 1} is needed")
            row: Array = np.zeros((1, count), dtype)
            row[0, number] = 1
        elif given.shape in ((count,), (rows, count)):
            check_finite(where, "output", given.reshape(-1, count), self.dtype)
            row = to_host(given).reshape(-1, count)
        else:
            fail(where, f"output has shape {given.shape}", f"({count},) or ({rows}, {count}) is needed")
        return np.broadcast_to(row, (rows, count))

    def _weights(self, name: str, value: Any, shape: tuple[int, ...]) -> Array:
        """An array of finite numbers of this shape, as (rows, everything else)."""
        where, _, short = name.partition(": ")
        given = to_host(as_array(where, short, value))
        if given.ndim == len(shape) - 1 and 1 in shape[1:]:
            given = given.reshape(given.shape[:1] + shape[1:]) if given.size == np.prod(shape) else given
        if given.shape != shape:
            fail(where, f"{short} has shape {given.shape}", f"{shape} is needed")
        flat = given.reshape(len(given), -1)
        check_finite(where, short, flat, self.dtype)
        return flat

    def _trainable(self, name: str, value: Any) -> list[Array]:
        """One array of finite numbers for each trainable tensor."""
        where, _, short = name.partition(": ")
        given: Sequence[Any] = items(name, value, "a list of arrays")
        tensors = [tensor for tensor in self.net.tensors if tensor.trainable]
        if len(given) != len(tensors):
            fail(where, f"{short} has {len(given)} arrays", f"the net has {len(tensors)} trainable tensors",
                 "give one for each, in the order of loss_and_grad")  # fmt: skip
        made: list[Array] = []
        for i, (one, tensor) in enumerate(zip(given, tensors, strict=True)):
            array = to_host(as_array(where, f"{short}[{i}]", one))
            if array.shape != tensor.shape:
                fail(where, f"{short}[{i}] has shape {array.shape}", f"{tensor.name} has shape {tensor.shape}")
            check_finite(where, f"{short}[{i}]", array.reshape(len(array), -1), self.dtype)
            made.append(array)
        return made
