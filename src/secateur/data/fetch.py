"""The data sets that must be downloaded: where they are looked for, fetched from, and how they are checked.

What is fetched is verified against pinned checksums before it gets its name, and an interrupted download is taken up
where it stopped: until then it is a file that ends in ``.part``, which no reader looks at.
"""

from __future__ import annotations

import difflib
import gzip
import http.client
import os
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pooch

from secateur.data import cifar, mnist
from secateur.storage.arrays import write_atomically

ENVIRONMENT_VARIABLE = "SECATEUR_DATA_DIR"
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
# Of the archive whose MD5, c32a1d4ab5d03f1284b67883e8d87530, is published beside the download.
CIFAR_ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CHUNK = 1 << 20
PATIENCE = 30.0  # seconds without an answer before a connection counts as lost

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes there so far and the bytes of the whole (``None`` if the server hides them)."""


@dataclass(frozen=True)
class DataSet:
    """A data set that can be fetched.

    Attributes
    ----------
    name
        What a user types.
    description
        One line for a reader.
    folder
        Name of its folder inside a data directory.
    files
        Names of its files, without ``.gz``.
    url
        Folder on the server; TLS only.
    """

    name: str
    description: str
    folder: str
    files: tuple[str, ...]
    url: str


@dataclass(frozen=True)
class Listing:
    """One row of :func:`list_datasets`; ``place`` is the folder that holds the data set, ``None`` if it is nowhere."""

    name: str
    description: str
    url: str
    place: Path | None


@dataclass(frozen=True)
class FileCheck:
    """One row of :func:`check`: what was found for one file of a data set.

    Attributes
    ----------
    dataset, file
        Names.
    state
        ``"original"``: byte for byte the published file; ``"well-formed"``: the right layout, with nothing published
        to compare the bytes with; ``"missing"``; ``"damaged"``: truncated, foreign or unreadable.
    path
        The file, ``None`` if missing.
    detail
        One sentence.
    """

    dataset: str
    file: str
    state: Literal["original", "well-formed", "missing", "damaged"]
    path: Path | None
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the file can be used."""
        return self.state in ("original", "well-formed")


DATASETS = {
    "mnist": DataSet(
        "mnist",
        "MNIST: 60,000 training and 10,000 test digits, 28 x 28 pixels (12 MB)",
        "mnist",
        tuple(mnist.PUBLISHED_SHA256),
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "cifar-10": DataSet(
        "cifar-10",
        "CIFAR-10, binary version: 60,000 colour images, 32 x 32 pixels (170 MB)",
        "cifar-10-batches-bin",
        tuple(f"{batch}.bin" for batch in cifar.BATCHES),
        "https://www.cs.toronto.edu/~kriz/",
    ),
}
"""Data sets by the name a user types."""


def list_datasets(data_dir: str | os.PathLike[str] | None = None) -> list[Listing]:
    """The data sets that can be fetched, and where each was found; looks for files without reading them."""
    return [
        Listing(dataset.name, dataset.description, dataset.url, _find(dataset, data_dir))
        for dataset in DATASETS.values()
    ]


def data_folder(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds a data set's files, at least one of them.

    Looks in ``data_dir`` alone if it is given; otherwise in the directory named by the environment variable
    ``SECATEUR_DATA_DIR``, then in the user's cache. A data directory holds the files in a folder of the data set's name
    (``mnist``, ``cifar-10-batches-bin``) or directly.

    Raises
    ------
    ValueError
        If there is no data set of that name.
    FileNotFoundError
        If the data set is in none of these places.
    """
    dataset = _dataset(name)
    folder = _find(dataset, data_dir)
    if folder is None:
        places = ", ".join(str(directory) for directory in _directories(data_dir))
        raise FileNotFoundError(
            f"{name} was not found: neither {dataset.folder}/{dataset.files[0]} nor another file of it is in {places}; "
            f"get it with `secateur data fetch {name}` or say with --data-dir or {ENVIRONMENT_VARIABLE} where it is"
        )
    return folder


def check(name: str, data_dir: str | os.PathLike[str] | None = None) -> list[FileCheck]:
    """What is there of a data set, each file verified by its content; looks where :func:`data_folder` does.

    Raises
    ------
    ValueError
        If there is no data set of that name.
    """
    dataset = _dataset(name)
    folder = _find(dataset, data_dir)
    if folder is None:
        return [FileCheck(name, file, "missing", None, "not found in any data directory") for file in dataset.files]
    return [_check_file(dataset, folder, file) for file in dataset.files]


def fetch(
    name: str, data_dir: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> list[FileCheck]:
    """Download what is missing or damaged of a data set and return its :func:`check`.

    Writes into the folder where :func:`data_folder` finds the data set, else into a new one in ``data_dir``,
    ``SECATEUR_DATA_DIR`` or the user's cache. Nothing is downloaded if every file is there and in order. CIFAR-10 comes
    as one archive: all its batches are written anew, so that no batch of another copy repeats their images.

    Raises
    ------
    ValueError
        If there is no data set of that name, or what the server sent is not the published data.
    ConnectionError
        If the connection fails or is lost; the next call goes on from there.
    OSError
        If the files cannot be written, e.g. because the disk is full; the next call goes on from there.
    """
    dataset = _dataset(name)
    checks = check(name, data_dir)
    if all(row.ok for row in checks):
        return checks
    folder = _find(dataset, data_dir) or _directories(data_dir)[0] / dataset.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if name == "mnist":
            for row in checks:
                if not row.ok:
                    part, sha256 = folder / f"{row.file}.gz.part", mnist.PUBLISHED_SHA256[row.file]
                    _fetch_part(f"{dataset.url}{row.file}.gz", part, sha256, mnist.unpacked_sha256, progress)
                    part.replace(part.with_suffix(""))
        else:
            part = folder / f"{CIFAR_ARCHIVE}.part"
            _fetch_part(dataset.url + CIFAR_ARCHIVE, part, CIFAR_ARCHIVE_SHA256, _sha256, progress)
            _unpack_archive(part, dataset, folder)
            part.unlink()
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            f"cannot store {name} in {folder}: {error.strerror or error}; make room or choose another --data-dir, then "
            f"run `secateur data fetch {name}` again, it goes on from there"
        ) from error
    return [_check_file(dataset, folder, file) for file in dataset.files]


def _dataset(name: str) -> DataSet:
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(str(name), DATASETS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of them"
    raise ValueError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}; {hint}")


def _directories(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The data directories to look in, in order."""
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return [Path(directory).expanduser() for directory in (named, pooch.os_cache("secateur")) if directory]


def _find(dataset: DataSet, data_dir: str | os.PathLike[str] | None) -> Path | None:
    for directory in _directories(data_dir):
        for folder in (directory / dataset.folder, directory):
            if any((folder / f"{file}{suffix}").is_file() for file in dataset.files for suffix in ("", ".gz")):
                return folder
    return None


def _check_file(dataset: DataSet, folder: Path, file: str) -> FileCheck:
    path: Path | None = None
    try:
        if dataset.name == "mnist":
            path = mnist.find_file(folder, file)
            content = mnist.unpack(path)
            mnist.parse_idx(content, "images" if "images" in file else "labels", path)
            mnist.check_original(content, file, path)
            return FileCheck(dataset.name, file, "original", path, "unpacked content has the published SHA-256")
        path = folder / file
        cifar.read_batch(path)
    except FileNotFoundError as error:
        return FileCheck(dataset.name, file, "missing", None, str(error))
    except (OSError, ValueError) as error:
        return FileCheck(dataset.name, file, "damaged", path, str(error))
    return FileCheck(
        dataset.name, file, "well-formed", path, "right layout; no checksum of single batches is published"
    )


def _sha256(path: Path) -> str:
    return pooch.file_hash(str(path), alg="sha256")


def _fetch_part(url: str, part: Path, sha256: str, digest: Callable[[Path], str], progress: Progress | None) -> None:
    """Complete ``part``, the beginning of a file that may be there, until its ``digest`` is ``sha256``."""
    if _has_digest(part, sha256, digest):
        return
    _download(url, part, progress)
    if not _has_digest(part, sha256, digest):
        part.unlink()
        raise ValueError(
            f"what {url} sent is not the published file, whose content has the SHA-256 {sha256}; it was "
            "removed, try again"
        )


def _has_digest(path: Path, sha256: str, digest: Callable[[Path], str]) -> bool:
    try:
        return path.is_file() and digest(path) == sha256
    except ValueError:  # truncated or no gzip
        return False


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Append to ``part`` what it lacks of ``url``; on an error it keeps what has arrived."""
    there = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "secateur"})
    if there:
        request.add_header("Range", f"bytes={there}-")
    try:
        response = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if there and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing lacks; whether it is the right whole, the checksum says
        raise ConnectionError(
            f"{url} was refused by the server ({error.code} {error.reason}); try again later"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{url} cannot be reached ({error}); check the network and try again") from error
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            there = 0  # the server starts from the beginning
        lacking = response.headers.get("Content-Length")
        total = there + int(lacking) if lacking else None
        with open(part, "ab" if there else "wb") as file:
            while (total is None or there < total) and (chunk := _receive(response, url)):
                file.write(chunk)
                there += len(chunk)
                if progress:
                    progress(part.name.removesuffix(".part"), there, total)
    if total is not None and there < total:
        raise _lost(url, f"{there} of {total} bytes arrived")


def _receive(response: http.client.HTTPResponse, url: str) -> bytes:
    """The next bytes of an answer; on its own so that a lost connection is told from a full disk."""
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _lost(url, str(error)) from error


def _lost(url: str, reason: str) -> ConnectionError:
    return ConnectionError(f"the connection was lost while fetching {url} ({reason}); try again, it goes on from there")


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


class _Sipped(gzip.GzipFile):
    """A gzip file that is read in small parts only: the length of a read comes from the file itself."""

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        if size is None or not 0 <= size <= cifar.batch_bytes() + tarfile.BLOCKSIZE:
            raise tarfile.TarError(f"a part of it would have {size} bytes")
        return super().read(size)


def _unpack_archive(archive: Path, dataset: DataSet, folder: Path) -> None:
    """Write the data set's files, and nothing else, from a tar archive into ``folder``.

    Raises
    ------
    ValueError
        If the archive is damaged, names a place outside its folder, or lacks a file; it is removed.
    """
    wanted = {f"{dataset.folder}/{file}": folder / file for file in dataset.files}
    try:
        with _Sipped(archive) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
            members = {}
            for member in tar:  # before the content of a member is skipped
                if member.size > cifar.batch_bytes():
                    raise tarfile.TarError(f"its member {member.name} would have {member.size:,} bytes")
                if ".." in Path(member.name).parts or Path(member.name).is_absolute():
                    raise tarfile.TarError(f"it names a place outside its folder, {member.name}")
                members[member.name] = member
            for name in wanted:
                if name not in members or not members[name].isreg():
                    raise tarfile.TarError(f"it holds no regular file {name}")
            for name, path in wanted.items():
                content = tar.extractfile(members[name]).read()  # type: ignore[union-attr] # regular, as checked above
                write_atomically(path, partial(_write_bytes, content))
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        archive.unlink()
        raise ValueError(f"{archive} cannot be unpacked ({error}) and was removed; fetch it again") from error
