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
from .model import files
from .model.base import BaseModel

if TYPE_CHECKING:
    from .diagnose.report import Diagnosis


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
    precision : {None, "tf32", "bfloat16"}
        Mixed precision for float32 nets: parameters, optimizer, inputs, outputs and sums are float32, but the layers'
        matrix products multiply numbers rounded to bfloat16 (8 significant bits) or TF32 (11 bits). bfloat16 is about
        twice as fast for wide nets on CPUs with AVX512-BF16; correct, not faster, on others. "tf32" lets GPUs use their
        tensor cores; a CPU computes in plain float32, the reference rounds. None rounds no operand.
    device : {"cpu", "cuda", "reference"}
        "cuda" is an NVIDIA GPU (docs/cuda.md); "reference" is plain NumPy in float64, slow and easy to read.
    name : str, optional

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

        if self._compiled_loss("diagnose").targets in ("any", "heads"):
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


Model.__module__ = "fastdense"  # its public path, which files of pickle name


def load(
    path: str | os.PathLike[str], *, device: str | None = None, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Read a model that `Model.save` wrote, or an ensemble that `Ensemble.save` wrote.

    Training of a model continues exactly where it was: the same bits as without saving, the optimizer's state included.
    Nothing in the file is run, so files of unknown origin are safe to load.

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
    """
    if device is not None:
        check_device(device)
    path = file_path("load: path", path)
    config, tensors = files.read(path)
    with files.described(path):
        if "members" not in config:
            return Model._restore(config, tensors, device, custom_objects)
        from .population.ensemble import Ensemble  # seldom needed

        with known_functions(custom_objects or {}):
            return Ensemble._restore(Model, config, tensors, device)
