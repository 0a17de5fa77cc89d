"""What an export tells about what it has written."""

from __future__ import annotations

from dataclasses import dataclass

from ..text import bytes_text


@dataclass(frozen=True)
class CExport:
    """What `Model.to_c` has written.

    Attributes
    ----------
    path : str
    function : str
        What to call, as ``function(x, y)`` with arrays of float.
    dtype : {"float32", "int8"}
        Of the weights of dense layers.
    weight_bytes, scratch_bytes : int
        Constants, and stack that a call takes.
    error, mean_error : float or None
        Largest and mean difference of an output from that of the model, for the calibration rows; of int8.
    same_class : float or None
        Part of the calibration rows for which the largest output stays the same, of nets with several outputs; of int8.
    """

    path: str
    function: str
    dtype: str
    weight_bytes: int
    scratch_bytes: int
    error: float | None = None
    mean_error: float | None = None
    same_class: float | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.function}(x, y), {bytes_text(self.weight_bytes)} of constants, "
        text += f"{bytes_text(self.scratch_bytes)} of stack"
        if self.error is not None:
            text += f"; outputs differ by at most {self.error:.3g}, on average {self.mean_error:.3g}"
        if self.same_class is not None:
            text += f"; the same class for {100 * self.same_class:.2f} % of the rows"
        return text
