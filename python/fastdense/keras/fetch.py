"""`get_file`: download a file once."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

from ..arguments import choice
from ..datasets import download

StrPath = str | os.PathLike[str]


def get_file(
    fname: StrPath | None,
    origin: str | None,
    untar: bool,
    md5_hash: str | None,
    file_hash: str | None,
    cache_subdir: str,
    hash_algorithm: str,
    extract: bool,
    archive_format: str,
    cache_dir: StrPath | None,
    force_download: bool,
) -> str:
    """See `fastdense.keras.utils.get_file`."""
    if not origin:
        raise ValueError("get_file: origin is missing. Give the address of the file.")
    algorithm = choice("get_file: hash_algorithm", hash_algorithm, ("auto", "md5", "sha256"))
    checksum = file_hash or md5_hash
    if checksum is not None:
        guess = "md5" if len(checksum) == 32 else "sha256"
        checksum = f"{guess if algorithm == 'auto' else algorithm}:{checksum}"
    folder = Path(cache_dir or Path.home() / ".keras") / cache_subdir
    path = folder / (fname or os.path.basename(origin))
    if force_download and path.exists():
        path.unlink()
    download(path.name, origin, checksum, path)
    return str(_unpacked(path)) if untar or extract else str(path)


def _unpacked(path: Path) -> Path:
    folder = path.parent / path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz").removesuffix(".zip")
    folder = folder if folder != path else path.parent / f"{path.name}_extracted"
    if folder.exists():
        return folder
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")
    else:
        raise ValueError(f"get_file: {path} is no zip or tar archive. Leave extract and untar out.")
    return folder
