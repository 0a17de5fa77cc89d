"""Pictures of nets, trainings and predictions, drawn with matplotlib (``pip install 'fastdense[plot]'``).

Each function returns what it drew, the Axes or a Figure of several, and shows nothing: ``figure.savefig("net.png")``
keeps it, `matplotlib.pyplot.show` opens it, a notebook displays it. With ``ax=`` a single picture becomes part of a
figure of your own. Nothing differs in colour alone, so that pictures are readable in black and white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .classes import calibration_curve, confusion_matrix
    from .curves import history
    from .kernels import weights
    from .surfaces import units

_LAZY = {
    "calibration_curve": "classes",
    "confusion_matrix": "classes",
    "history": "curves",
    "units": "surfaces",
    "weights": "kernels",
}
__getattr__ = lazy(globals(), _LAZY)

__all__ = ["calibration_curve", "confusion_matrix", "history", "units", "weights"]


def __dir__() -> list[str]:
    return sorted(__all__)
