"""Reuters: 11 228 newswires as lists of word numbers, of 46 topics."""

from __future__ import annotations

from ...arguments import number
from ..names import not_offered
from .reading import Split, Words, fetch_keras, read_npz, read_words

__all__ = ["get_label_names", "get_word_index", "load_data"]
_SHA256 = "sha256:d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
_WORDS_MD5 = "md5:4d44cc38712099c9e383dc6e5f11a921"
_TOPICS = """cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton
carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock retail ipi
iron-steel rubber heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead"""


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[Split, Split]:
    """``(x_train, y_train), (x_test, y_test)``: arrays of lists of word numbers, and topics from 0 to 45.

    Parameters
    ----------
    test_split : float
        Fraction of the texts for testing.
    path, num_words, skip_top, maxlen, seed, start_char, oov_char, index_from
        As in `fastdense.keras.datasets.imdb.load_data`.
    """
    words = Words("load_data", num_words, skip_top, maxlen, seed, start_char, oov_char, index_from)
    fraction = number("load_data: test_split", test_split, least=0, below=1)
    x, y = read_npz(fetch_keras("Reuters", path, "reuters.npz", _SHA256, "arrays x, y"), ("x", "y"))
    kept, labels = words.shuffled(x, y)
    texts, train = words.limited(kept), int(len(kept) * (1 - fraction))
    return (texts[:train], labels[:train]), (texts[train:], labels[train:])


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """The number of each word; in the texts they are larger by ``index_from=3``."""
    return read_words("Reuters", path, "reuters_word_index.json", _WORDS_MD5)


def get_label_names() -> tuple[str, ...]:
    """Names of the topics."""
    return tuple(_TOPICS.split())


__getattr__ = not_offered("datasets.reuters", __all__)
