"""Names of Keras that are not offered: why, and what to use instead.

`REASONS` is the one table of reasons; `docs/keras-names.md` is made from it by ``python -m tests.peers.keras_names``.
"""

from __future__ import annotations

import opcode
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..arguments import suggestion

_DENSE_ONLY = "fastdense trains dense nets only"
_FOLDERS = "Read the files into arrays before fit; a np.memmap may be larger than memory."

# Reasons by a pattern of names such as "layers.Conv2D"; the first one that matches counts.
REASONS: tuple[tuple[str, str], ...] = (
    # modules
    (r"applications\b", f"{_DENSE_ONLY}; there are no pretrained convolutional nets."),
    (r"distillation\b", "Train the student on the teacher's predictions: student.fit(x, teacher.predict(x))."),
    (r"distribution\b", "A model is trained in one process; fastdense.fit_many trains many of them at once."),
    (r"dtype_policies\b", "keras.mixed_precision.set_global_policy sets the policy of all layers by its name."),
    (r"export\b|layers\.TFSMLayer", "model.save(path) writes the model to one file; load_model(path) reads it."),
    (r"quantizers\b|layers\.ReversibleEmbedding", "Nets are trained and used in float32, float64 or bfloat16."),
    (r"visualization\b|utils\.bounding_boxes\b", f"{_DENSE_ONLY}, without boxes and masks in images."),
    (r"legacy\b|utils\.legacy\b", "There is one version of each function; model.save and load_model keep models."),
    (r"estimator\b", "Call fit and predict of the model, or use keras.wrappers for scikit-learn."),
    (r"engine\b|src\b|.*\bexperimental\b", "Import from keras.models and keras.layers."),
    # layers
    (
        r"layers\.(.*Conv|.*Pool|UpSampling|ZeroPadding|Cropping|convolutional|pooling)",
        f"{_DENSE_ONLY}, without convolutions: use Flatten() and Dense.",
    ),
    (
        r"layers\.(.*(LSTM|GRU|RNN|Attention|Embedding)|TimeDistributed|Bidirectional|Masking|StringLookup|TextVector|"
        r"recurrent|embeddings|MelSpectrogram|STFTSpectrogram|RepeatVector|Permute|EinsumDense|SpatialDropout)",
        f"{_DENSE_ONLY}, without sequences: give rows of one length to Dense.",
    ),
    (
        r"layers\.(Random.*|Resizing|CenterCrop|AugMix|AutoContrast|Contrast.*|CutMix|Equalization|MaxNumBoundingBoxes|"
        r"MixUp|RandAugment|Solarization|Pipeline)$",
        "Transform the images before fit.",
    ),
    (
        r"layers\.(FlaxLayer|JaxLayer|TorchModuleWrapper)$",
        "The layers of a net are fastdense's; those of other libraries stay in their own nets.",
    ),
    (
        r"layers\.(CategoryEncoding|IntegerLookup|Hashing|HashedCrossing|Discretization)$",
        "fastdense.OneHot does this in a fastdense.Model; or encode the columns with NumPy before fit.",
    ),
    (
        r"layers\.(Group|RMS|Spectral)Normalization$",
        "LayerNormalization and BatchNormalization are the nearest alternatives.",
    ),
    (
        r"layers\.(Concatenate|concatenate|Multiply|multiply|Subtract|subtract|Average|average|Dot|dot|Maximum|maximum|"
        r"Minimum|minimum)$",
        "A net is one chain of layers; the only join is Add()([x, layers(x)]).",
    ),
    (r"layers\.ThresholdedReLU$", "ReLU is the nearest alternative."),
    (r"layers\.Wrapper$", "Leave it out: it changes nothing."),
    (r"(layers\.)?InputSpec$", "Leave it out: build() and call() may check their argument themselves."),
    # callbacks
    (
        r"callbacks\.(RemoteMonitor|OrbaxCheckpoint)$",
        "CSVLogger('log.csv') and TensorBoard('logs') write the numbers to files, ModelCheckpoint and "
        "BackupAndRestore the model.",
    ),
    (r"callbacks\.ProgbarLogger$", "fit(verbose=1) prints the progress lines."),
    # utils, preprocessing, config
    (r"(utils|preprocessing)\.(image|text|audio)_dataset_from_directory$", _FOLDERS),
    (
        r"(utils|preprocessing\.image)\.(array_to_img|img_to_array|load_img|save_img|smart_resize|ImageData.*)$|"
        r"preprocessing\.image$",
        "Read images with Pillow or imageio: np.asarray(Image.open(path)).",
    ),
    (r"preprocessing\.text\b", "TfidfVectorizer and CountVectorizer of scikit-learn turn texts into rows."),
    (
        r"(utils|preprocessing)\.timeseries_dataset_from_array$|preprocessing\.sequence\.TimeseriesGenerator$",
        "np.lib.stride_tricks.sliding_window_view(series, length) makes the windows without a copy.",
    ),
    (r"preprocessing\.sequence\.", "pad_sequences is there; other sequences are made with NumPy."),
    (r"utils\.split_dataset$", "Cut the arrays: x[:800], x[800:]; or use train_test_split of scikit-learn."),
    (
        r"utils\.FeatureSpace$",
        "fastdense.OneHot, Impute and the like, or a ColumnTransformer of scikit-learn, do this.",
    ),
    (r"utils\.(Sequence|PyDataset)$", "Data are arrays here; a np.memmap may be larger than memory."),
    (r"utils\.(plot_model|model_to_dot)$", "model.summary() prints the layers."),
    (r"utils\.multi_gpu", "Leave it out."),
    (r"utils\.Config$", "Use a dict or a dataclass."),
    (
        r"config\.(.*flash_attention.*|enable_traceback_filtering|is_nnx_enabled|enable_unsafe_deserialization|"
        r"set_backend|.*max_epochs|.*max_steps_per_epoch)$",
        "There is no such setting; leave the line out.",
    ),
    (
        r"(utils|saving)\.(CustomObjectScope|custom_object_scope|get_custom_objects|get_registered_.*|"
        r"register_keras_serializable|(de)?serialize_keras_object|KerasFileEditor|load_weights|save_weights|"
        r"save_model|load_model)$|saving$|models\.save_model$",
        "model.save(path) and load_model(path) keep a model, get_weights() and set_weights() its weights.",
    ),
    (
        r"(utils|backend)\.(get_source_inputs|is_keras_tensor|standardize_dtype|get_uid|"
        r"result_type|is_float_dtype|is_int_dtype)$",
        "It belongs to training loops of your own, which are not offered.",
    ),
    # backend of Keras 2
    (r"backend\.(set_value|get_value)$", "Use the attribute: model.optimizer.learning_rate = value."),
    (r"backend\..*[sS]ession", "There is no session; leave the line out."),
    (
        r"(device|name_scope|RematScope|remat|StatelessScope|SymbolicScope|Function|Operation|"
        r"Quantizer|FloatDTypePolicy)$",
        "It belongs to training loops of your own, which are not offered.",
    ),
    # the families of layers, losses, ...
    (
        r"activations\.log_softmax$",
        "It mixes the units of a row: end with Dense(classes) and a loss with from_logits=True.",
    ),
    (r"activations\.sparsemax$", "It mixes the units of a row: softmax is the nearest alternative."),
    (r"activations\.glu$", "It halves the number of units: silu is the nearest alternative."),
    (r"activations\.threshold$", "relu, hard_shrink and soft_shrink are the nearest alternatives."),
    (
        r"models\.model_from_",
        "to_json() and model_from_json() describe a model as text; model.save and load_model store it in a file.",
    ),
    (r".*\.(serialize|deserialize)$", "get_config() and from_config(config) do this for every object."),
    (r"optimizers\.(Adafactor|Lamb|ScheduleFreeAdamW)$", "Adam, AdamW and Muon are the nearest alternatives."),
    (r"(optimizers|mixed_precision)\.LossScaleOptimizer$", "bfloat16 needs no scaling of the loss; leave it out."),
    (r"optimizers\.(MultiOptimizer|OptimizerMap)$", "A model has one optimizer for all layers."),
    (r"optimizers\.legacy\b", "There is one version of each optimizer: use keras.optimizers.Adam etc."),
    (r"optimizers\.schedules\.", "A callback LearningRateScheduler(function of the epoch) sets any rate."),
    (
        r"initializers\.VarianceScaling$|initializers\.variance_scaling$",
        "Glorot, He and LeCun are there by name "
        "(HeNormal, ...); or pass the kernel itself: Dense(..., weights=[kernel, bias]).",
    ),
    (r"initializers\.(STFT|stft)", f"{_DENSE_ONLY}, without sequences."),
    (
        r"losses\.(MeanSquaredLogarithmicError|mean_squared_logarithmic_error|msle|MSLE)$",
        "Train on np.log1p(y) with 'mean_squared_error'.",
    ),
    (r"metrics\.(Mean|Sum|MeanMetricWrapper)$", "History.history holds every epoch's numbers; use NumPy on them."),
    (r"metrics\.RootMeanSquaredError$", "'mse' is its square."),
)

# Reasons of the other names of a module.
FAMILIES: dict[str, str] = {
    "activations": "A layer takes the activations of keras.activations that have a name here.",
    "backend": "Losses and layers of your own are written with keras.ops; for gradients use "
    "model.fastdense.loss_and_grad(x, y).",
    "losses": "It is none of the losses that fastdense computes; keras.losses has them.",
    "metrics": "Compute it from model.predict(x), e.g. by a function of sklearn.metrics.",
    "ops": "Use NumPy for arrays: the functions have the same names there.",
    "random": "np.random.default_rng(seed) has random numbers of every kind.",
    "regularizers": "kernel_regularizer takes L1, L2, L1L2 and orthogonal penalties.",
    "tree": "map_structure, flatten and pack_sequence_as do it in steps.",
}


class NotOffered(Exception):
    """A name of Keras that `fastdense.keras` does not have: an ImportError in an import, else an AttributeError."""


class _NotImported(NotOffered, ImportError):
    """In ``from fastdense.keras.layers import Conv2D``. Python would replace the message of an AttributeError."""


class _NoAttribute(NotOffered, AttributeError):
    """In ``layers.Conv2D``, so that `hasattr` and `getattr` with a default work."""


def _importing() -> bool:
    """Whether ``from ... import`` asks for the name: Python's importer, or that instruction of the code outside."""
    frame = sys._getframe(1)
    while frame.f_code.co_name == "__getattr__" and frame.f_back is not None:
        frame = frame.f_back
    if frame.f_code.co_name == "_handle_fromlist":
        return True
    return frame.f_code.co_code[frame.f_lasti] == opcode.opmap["IMPORT_FROM"]


def reason(name: str) -> str:
    """Why a name of Keras, such as "layers.Conv2D", is not offered; empty if no reason is known."""
    specific = next((text for pattern, text in REASONS if re.match(pattern, name)), "")
    return specific or FAMILIES.get(name.partition(".")[0], "")


def not_offered(module: str, offered: Iterable[str], hints: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module.

    Parameters
    ----------
    module : str
        Its name in Keras, such as "layers".
    offered : iterable of str
        The names that it offers.
    hints : mapping, optional
        Reasons that come before those of `REASONS`, by a regular expression for the missing names.
    """
    known, path = sorted(offered), ".".join(filter(None, (__package__, module)))

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):  # Python and its tools look up such names to inspect a module
            raise AttributeError(f"module {path!r} has no attribute {name!r}")
        error = _NotImported if _importing() else _NoAttribute
        for pattern, hint in (hints or {}).items():
            if re.search(pattern, name):
                raise error(f"{path} has no {name}. {hint}")
        why, near = reason(".".join(filter(None, (module, name)))), suggestion(name, known)
        if not why:
            raise error(f"{path} has no {name}.{near or ' It has ' + ', '.join(known) + '.'}")
        raise error(f"{path} has no {name}.{near if why == FAMILIES.get(module) else ''} {why}")

    return __getattr__


class Finder:
    """The last of Python's finders: refuses modules of Keras that are not here, such as its applications."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None, target: object = None) -> None:
        """Raise NotOffered for a module of this package that no other finder has found."""
        name = fullname.removeprefix(f"{__package__}.")
        if name == fullname or name.startswith("_") or "._" in name:
            return
        present = [m.removeprefix(f"{__package__}.") for m in sys.modules if m.startswith(f"{__package__}.")]
        why = reason(name) or suggestion(name, present).strip() or "Import from keras.models and keras.layers."
        raise _NotImported(f"{__package__} has no module {name}. {why}", name=fullname)
