"""IMDB: 50 000 film reviews as lists of word numbers, good (1) or bad (0)."""

from __future__ import annotations

from ..names import not_offered
from .reading import Split, Words, fetch_keras, read_npz, read_words

__all__ = ["get_word_index", "load_data"]
_SHA256 = "sha256:69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
_WORDS_MD5 = "md5:bfafd718b763782e994055a2d397834f"


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: arrays of lists of word numbers, and 0 or 1.

    Parameters
    ----------
    path : str
        Name of the file, or an absolute path of it.
    num_words, skip_top : int, optional
        Words from the first number on, and those before the second one, are replaced by `oov_char`.
    maxlen : int, optional
        Only texts shorter than this are kept.
    seed : int
        Of the order.
    start_char, oov_char : int or None
        The number before every text, and that of words that are left out.
    index_from : int
        Added to the numbers of `get_word_index`.
    """
    words = Words("load_data", num_words, skip_top, maxlen, seed, start_char, oov_char, index_from)
    file = fetch_keras("IMDB", path, "imdb.npz", _SHA256, "arrays x_train, y_train, x_test, y_test")
    x_train, y_train, x_test, y_test = read_npz(file, ("x_train", "y_train", "x_test", "y_test"))
    first, first_labels = words.shuffled(x_train, y_train)
    second, second_labels = words.shuffled(x_test, y_test)
    texts = words.limited(first + second)
    return (texts[: len(first)], first_labels), (texts[len(first) :], second_labels)


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """The number of each word; in the texts they are larger by ``index_from=3``."""
    return read_words("IMDB", path, "imdb_word_index.json", _WORDS_MD5)


__getattr__ = not_offered("datasets.imdb", __all__)
