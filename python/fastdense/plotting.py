"""matplotlib, which is needed only where something is drawn."""

from __future__ import annotations

from typing import Any


def pyplot(where: str) -> Any:
    """Return matplotlib's pyplot, or raise an ImportError that says how to install it."""
    try:
        from matplotlib import pyplot as module
    except ImportError as error:
        raise ImportError(f"{where}: matplotlib is not installed; install it with pip install matplotlib") from error
    return module
