"""`Model`, the class users make: a `BaseModel` that can also be diagnosed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .arguments import file_path, flag, keywords_checked, number
from .arrays import fail
from .callbacks.progress import check_verbose
from .engine.factory import check_device
from .layers.function import known_functions
from .lazy import converter
from .model import files
from .model.base import BaseModel

if TYPE_CHECKING:
    from .diagnose.report import Diagnosis
    from .model.exported import CExport


class Model(BaseModel):
    """A dense net: layers one after another.

    The parameters exist from here on; `compile` says how to train, `fit` trains. A model may be pickled and copied; it
    may be used from several threads, which then wait for one another.

    Parameters
    ----------
    layers : list
        Layers, names of layers ("batch_norm") or their config dicts.
    inputs : int
        Columns of the data.
    seed : int
        Decides the first values, the shuffling and the dropout: same seed, same bits, at any number of threads.
    dtype : {"float32", "float64", "bfloat16"}
        In which parameters are kept and results are computed; "bfloat16" is float32 with ``precision="bfloat16"``.
    precision : {None, "tf32", "3xtf32", "bfloat16"}
        Mixed precision for float32 nets: parameters, optimizer, inputs, outputs and sums are float32, but the layers'
        matrix products multiply numbers rounded to bfloat16 (8 significant bits) or TF32 (11 bits). bfloat16 is about
        twice as fast for wide nets on CPUs with AVX512-BF16; correct, not faster, on others. "tf32" lets GPUs use their
        tensor cores; a CPU computes in plain float32, the reference rounds. "3xtf32" lets them do so with errors
        like float32's, by three products for one; on a CPU and the reference it is as None. None rounds no operand.
    device : {"cpu", "cuda", "reference"}
        "cuda" is an NVIDIA GPU (docs/cuda.md); "reference" is plain NumPy in float64, slow and easy to read.
    name : str, optional
    monotonic : list of int, optional
        -1, 0 or 1 for each input: no output ever rises (-1) or falls (1) as that input rises and the others stay, for
        any weights that training finds: what `HistGradientBoostingRegressor` of scikit-learn calls `monotonic_cst`.
        Signs of the weights make sure of it, which each step keeps and first values have; hidden units take turns in
        rising and falling. Give two hidden layers or more, so that any such function can be approximated. What
        cannot be certified is refused by name: activations that fall somewhere, layers that mix the columns of a row in
        other ways than `Dense`, full-batch optimizers, `place`, `solve_output`, ``start="data"``, `diagnose`.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, widths do not fit, or softmax is used before the end.
    MemoryError
        If the parameters cannot fit in memory (also a ValueError).

    Attributes
    ----------
    history : History or None
        That of the last `fit`, also of one that was interrupted.
    stop_training : bool
        Set to True in a callback to end training.
    """

    @keywords_checked
    def diagnose(
        self,
        x: Any,
        y: Any,
        *,
        history: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        validation_data: Any = None,
        validation_split: float | None = None,
        verify: bool = True,
        budget: float | None = None,
        verbose: int | str = "auto",
    ) -> Diagnosis[Model]:
        """Explain why training has failed or stalled, if it has, and what repairs it.

        Rules examine the data, the net before and after training, and the losses; what they suspect is then tested:
        copies of the net are trained alike with one thing changed, then several, and what made the difference is the
        cause. The model itself is not changed, and x and y may be such as `fit` refuses.

        Parameters
        ----------
        x, y, sample_weight
            What the model was, or is to be, trained on, as they were passed to `fit`. Arrays on a GPU are copied to the
            host first.
        history : History or dict of lists, optional
            Of the training to be explained; `self.history` by default. How long and with what batches to train is
            read off it, else 3000 steps of 32 rows are assumed.
        class_weight, validation_split
            As to `fit`; by default those of the last `fit`. Rows that it kept for validation count as rows kept out.
        validation_data : (x, y), optional
            Rows that the model was not trained on. Without them, part of x is kept out in trials.
        verify : bool
            Whether to make trials. Without them it lasts no longer than about one epoch, and causes are not
            distinguished from symptoms.
        budget : float, optional
            Work allowed, in seconds of one core of a server of 2023, computed and not measured: the report does not
            depend on the machine. By default that of the training that is explained, at least 2 and at most 20.
        verbose : {"auto", 0, 1, 2}
            "auto" and 1 show a bar on a terminal when trials take longer than 2 s.

        Returns
        -------
        Diagnosis
            `print` it; `.findings`, worst first; `.treat()` makes the repaired model.

        Raises
        ------
        ValueError, TypeError
            If the model is not compiled, x and y are no tables of numbers, x has another width than the model, or their
            numbers of rows differ.
        """
        from .diagnose.examine import diagnose
        from .diagnose.subject import Given

        self.net.check_not_monotonic("diagnose", "its trials change weights and layers")
        loss = self._compiled_loss("diagnose")
        if loss.outputs_each > 1:
            remedy = "compile a net of the same hidden layers, with one output and the loss 'mae', and diagnose that"
            fail("diagnose", f"the loss is {loss!r}", "its rules know one output for each target", remedy)
        if loss.targets in ("any", "heads"):
            fail(
                "diagnose",
                f"the loss is {'PerHead' if self.loss.targets == 'heads' else f'the function {self.loss.name!r}'}",
                "its rules must know what the loss measures",
                "compile a model of the same layers with a loss of fastdense's, and diagnose that",
            )
        verify = flag("diagnose: verify", verify)
        seconds = None if budget is None else number("diagnose: budget", budget, above=0)
        shown = check_verbose("diagnose", verbose)
        given = Given(x, y, sample_weight, history, validation_data, validation_split, class_weight)
        return diagnose(self, given, verify, seconds, shown)

    # ---- files and objects of other tools --------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, include_optimizer: bool = True) -> None:
        """Write the model to a file that `fastdense.load` reads.

        The file appears whole or not at all. It is in the safetensors format, whatever its name ends with, but for
        ".keras": that is a file which Keras 3 reads, too, with layers, weights and how the model is compiled as far as
        Keras has these. It needs h5py (``pip install 'fastdense[keras-files]'``).

        Parameters
        ----------
        path : str or path
        include_optimizer : bool
            Whether to keep the optimizer's state, so that training continues exactly where it was. In a ".keras" file
            that is a part which only fastdense reads, with all that the model is; Keras's optimizer begins anew.

        Raises
        ------
        ValueError
            If the model holds an object of a class of your own; or for ".keras", a layer that Keras does not have.
        ImportError
            For ".keras", if h5py is not installed.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=4)
        >>> model.save("net.safetensors")  # doctest: +SKIP
        >>> model.save("net.keras")  # doctest: +SKIP
        """
        path = file_path("save: path", path)
        if not path.endswith(".keras"):
            super().save(path, include_optimizer=include_optimizer)
            return
        whole = flag("save: include_optimizer", include_optimizer)
        with self.runner.lock:
            if whole:
                self._check_saveable()
            converter("save_keras")(self, path, files.as_bytes(*self._describe()) if whole else None)

    @keywords_checked
    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        outputs: Mapping[str, int] | None = None,
        dtype: str = "float32",
        input_name: str = "x",
    ) -> None:
        """Write the model as an ONNX file: opset 20, IR version 10, any number of rows.

        All layers but `Function` are carried, preprocessing of the data included; what acts in training only is left
        out. Needs the package onnx-ir (``pip install 'fastdense[onnx]'``). See `fastdense.from_onnx`.

        Parameters
        ----------
        path : str or path
        outputs : mapping of str to int, optional
            Names and widths of outputs that the columns are divided into; by default the heads of a model that is
            compiled with `losses.PerHead`, else one output "y".
        dtype : {"float32", "float64"}
            Of inputs, weights and outputs. Runtimes do not have all operators in float64.
        input_name : str

        Raises
        ------
        ValueError
            If the model holds a `Function`, or the widths of `outputs` are not those of the model.
        ImportError
            If onnx-ir is not installed.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=4)
        >>> model.to_onnx("net.onnx")  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession("net.onnx")  # doctest: +SKIP
        >>> (y,) = session.run(None, {"x": x})  # doctest: +SKIP
        """
        converter("to_onnx")(self, path, outputs=outputs, dtype=dtype, input_name=input_name)

    def to_torch(self) -> Any:
        """Make a `torch.nn.Sequential` of the model, in its dtype and in evaluation mode.

        It has PyTorch's modules where there are some, and else modules of this package. BatchNorm's momentum is 1
        minus that here; its moving variance goes on with the batch's unbiased variance there. Penalties, constraints
        and the optimizer are left behind. Needs PyTorch. See `fastdense.from_torch`.

        Returns
        -------
        torch.nn.Sequential

        Raises
        ------
        ValueError
            If the model holds a `Function`.
        ImportError
            If PyTorch is not installed.

        Examples
        --------
        >>> import fastdense as fd
        >>> fd.Model([fd.Dense(1, "tanh")], inputs=4).to_torch()  # doctest: +SKIP
        Sequential(
          (0): Linear(in_features=4, out_features=1, bias=True)
          (1): Tanh()
        )
        """
        return converter("to_torch")(self)

    @keywords_checked
    def to_sklearn(self, *, classes: Any = None) -> Any:
        """Make a fitted MLPRegressor of the model, or an MLPClassifier if it ends with softmax or sigmoid.

        Normalizations and scalings become part of the dense layers beside them; what acts in training only is left out.
        Needs scikit-learn. See `fastdense.from_sklearn`.

        Parameters
        ----------
        classes : list, optional
            Labels in the order of the outputs (of a single sigmoid: of both classes); 0, 1, ... by default.

        Returns
        -------
        MLPClassifier or MLPRegressor

        Raises
        ------
        ValueError
            If it is not dense layers with one activation, relu, tanh, sigmoid or linear, for all hidden ones.
        ImportError
            If scikit-learn is not installed.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(8, "relu"), fd.Dense(3, "softmax")], inputs=4)
        >>> model.to_sklearn(classes=["a", "b", "c"])  # doctest: +SKIP
        MLPClassifier(hidden_layer_sizes=(8,))
        """
        return converter("to_sklearn")(self, classes=classes)

    @keywords_checked
    def to_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        dtype: str = "float32",
        calibration: Any = None,
    ) -> CExport:
        """Write the model as one header in C99, for one row at a time: no memory allocation, no library but libm.

        The header has ``static inline void NAME_predict(const float *x, float *y)`` and the sizes ``NAME_INPUTS`` and
        ``NAME_OUTPUTS``; it compiles without warnings (``-Wall -std=c99``), as C++ too, and may be called from several
        threads. All layers but `Function` are carried; what acts in training only is left out.

        Parameters
        ----------
        path : str or path
        name : str, optional
            First part of all names in the header; by default from the name of the file.
        dtype : {"float32", "int8"}
            "int8": weights of dense layers with 8 bits and a factor for each unit, sums in 32 bits; a quarter of the
            memory. Activations and the rest are computed in float32.
        calibration : array of shape (rows, inputs), optional
            For "int8": typical rows, which decide the ranges of what reaches each layer.

        Returns
        -------
        CExport
            Bytes of constants and of stack; for "int8" also how far outputs are from the model's for `calibration`.

        Raises
        ------
        ValueError
            If the model holds a `Function` or numbers that are not finite, or "int8" has no `calibration`.

        Examples
        --------
        >>> import fastdense as fd
        >>> model = fd.Model([fd.Dense(8, "relu"), fd.Dense(1)], inputs=4)
        >>> print(model.to_c("net.h"))  # doctest: +SKIP
        net.h: net_predict(x, y), 196 B of constants, 36 B of stack
        """
        made: CExport = converter("to_c")(self, path, name=name, dtype=dtype, calibration=calibration)
        return made


Model.__module__ = "fastdense"  # its public path, which files of pickle name


def load(
    path: str | os.PathLike[str], *, device: str | None = None, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Read a model that `Model.save` or Keras wrote (".keras", ".h5"), or an ensemble that `Ensemble.save` wrote.

    Training of a model continues exactly where it was: the same bits as without saving, the optimizer's state included.
    Nothing in the file is run, so files of unknown origin are safe to load.

    Files that Keras wrote need h5py (``pip install 'fastdense[keras-files]'``), not Keras. What they hold is compiled
    as it was there, as far as fastdense has the loss and the metrics, with an optimizer that begins anew.

    Parameters
    ----------
    path : str or path
    device : {"cpu", "cuda", "reference"}, optional
        By default the device the model was on; for one that was on a GPU the CPU, where there is none.
    custom_objects : dict, optional
        Functions of `losses.Custom` and classes of metrics of your own, by their names. Without them such a model comes
        back not compiled, with a warning. For each `Function` layer, by the name of its function, the pair (forward,
        backward), or a layer with the same functions; without them it cannot be loaded.

    Returns
    -------
    Model or Ensemble
        What the file holds.

    Raises
    ------
    ValueError
        If the file is damaged, cut short, no fastdense model, or written by a newer version; or names a function that
        `custom_objects` lacks.
    FileNotFoundError
        If there is no such file.
    ImportError
        If it is a file of Keras, and h5py is not installed.
    """
    if device is not None:
        check_device(device)
    path = file_path("load: path", path)
    if files.begins_as(path, files.OF_KERAS) and files.own_part(path) is None:
        return converter("load_keras")(path, device, custom_objects)
    config, tensors = files.read(path)
    with files.described(path):
        if "members" not in config:
            return Model._restore(config, tensors, device, custom_objects)
        from .population.ensemble import Ensemble  # seldom needed

        with known_functions(custom_objects or {}):
            return Ensemble._restore(Model, config, tensors, device)
