"""MNIST's digits from the four IDX files of the original distribution, plain or gzip, checked before use."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from secateur.data.images import LabelledImages
from secateur.storage.limits import MAX_UNPACKED

PUBLISHED_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the unpacked content of each original file (LeCun, Cortes & Burges): gzip wrappers differ by mirror."""

SIDE = 28
CONTENT_OF_MAGIC = {2049: "labels", 2051: "images"}
GET_IT = "get the originals with `secateur data fetch mnist`"


def read_mnist(folder: str | os.PathLike[str], side: int = 20) -> LabelledImages:
    """MNIST, 60,000 training and 10,000 test digits, binarised at the mean over all *training* pixels after cropping.

    Scholl, Rule & Hennig (2021) crop to the central 20 x 20 pixels, which hold the size-normalised digits.

    Parameters
    ----------
    folder
        Holds the four IDX files, named as in the original distribution, with or without ``.gz``; see
        :func:`secateur.data.data_folder`.
    side
        Height and width in pixels to keep around the centre: 20, or 28 for the whole images.

    Raises
    ------
    FileNotFoundError
        If one of the files is not there.
    ValueError
        If a file is truncated, of another kind (labels where images belong) or not MNIST's, labels and images
        differ in length, or ``side`` is neither 20 nor 28.
    """
    if side not in (20, SIDE):
        raise ValueError(f"side must be 20 or {SIDE} pixels, got {side!r}; MNIST's images are {SIDE} x {SIDE}")
    folder = Path(folder)
    paths = {name: find_file(folder, name) for name in PUBLISHED_SHA256}
    contents = {name: unpack(path) for name, path in paths.items()}
    pixels, labels = {}, {}
    for part in ("train", "t10k"):
        image_file, label_file = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        pixels[part] = parse_idx(contents[image_file], "images", paths[image_file])
        labels[part] = parse_idx(contents[label_file], "labels", paths[label_file]).astype(np.int64)
        if len(pixels[part]) != len(labels[part]):
            raise ValueError(
                f"{paths[image_file]} holds {len(pixels[part])} images but {paths[label_file]} holds "
                f"{len(labels[part])} labels; they must be as many, so {GET_IT}"
            )
    for name, path in paths.items():
        check_original(contents[name], name, path)
    margin = (SIDE - side) // 2
    kept = slice(margin, SIDE - margin)
    cropped = {part: images[:, kept, kept].reshape(len(images), -1) for part, images in pixels.items()}
    threshold = cropped["train"].mean()
    train, test = ((cropped[part] > threshold).astype(np.float32) for part in ("train", "t10k"))
    return LabelledImages(train, test, labels["train"], labels["t10k"], (side, side))


def find_file(folder: Path, name: str) -> Path:
    """Where an IDX file lies: ``name.gz`` if that exists, else ``name``.

    Raises
    ------
    FileNotFoundError
        If neither exists.
    """
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"MNIST's {name}.gz (or {name}) is missing in {folder}; {GET_IT}")


def unpack(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzip by its first bytes, whatever its name.

    Raises
    ------
    ValueError
        If the gzip stream is truncated or damaged, or the content is too long.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            content = (gzip.GzipFile(fileobj=file) if packed else file).read(MAX_UNPACKED + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
            raise ValueError(f"{path} is a truncated or damaged gzip file ({error}); {GET_IT}") from error
    if len(content) > MAX_UNPACKED:
        raise ValueError(f"{path} has more than {MAX_UNPACKED:,} bytes (unpacked), MNIST's files have fewer; {GET_IT}")
    return content


def parse_idx(content: bytes, expected: str, path: Path) -> UInt8[np.ndarray, ...]:
    """The array of an unpacked IDX file: magic number, sizes as big-endian 32-bit integers, then one byte per value.

    Parameters
    ----------
    expected
        ``"images"`` for ``(n, 28, 28)`` pixels 0..255, ``"labels"`` for ``(n,)`` classes 0..9.
    path
        Named in messages.

    Raises
    ------
    ValueError
        If the content is of another kind, of another size than it declares, or holds impossible labels.
    """
    found = CONTENT_OF_MAGIC.get(int.from_bytes(content[:4], "big"))
    if found is None:
        raise ValueError(
            f"{path} is not an IDX file of {expected}: its first bytes are {content[:4].hex(' ') or 'missing'}, no "
            f"magic number of MNIST; {GET_IT}"
        )
    if found != expected:
        raise ValueError(f"{path} holds {found} where {expected} belong; files were swapped or renamed, {GET_IT}")
    n_sizes = {"labels": 1, "images": 3}[expected]
    header_length = 4 + 4 * n_sizes
    if len(content) < header_length:
        raise ValueError(f"{path} is truncated: {len(content)} bytes are less than its header; {GET_IT}")
    shape = struct.unpack(f">{n_sizes}I", content[4:header_length])
    if shape[0] == 0 or shape[1:] not in ((), (SIDE, SIDE)):
        declared = " x ".join(map(str, shape))
        raise ValueError(f"{path} declares {declared} {expected}, MNIST's are n x {SIDE} x {SIDE}; {GET_IT}")
    found_length, expected_length = len(content) - header_length, math.prod(shape)
    if found_length != expected_length:
        problem = "is truncated" if found_length < expected_length else "is too long"
        raise ValueError(
            f"{path} {problem}: {shape[0]} {expected} take {expected_length} bytes after the header, "
            f"it has {found_length}; {GET_IT}"
        )
    values = np.frombuffer(content, np.uint8, offset=header_length).reshape(shape)
    if expected == "labels" and values.max() > 9:
        raise ValueError(f"{path} holds the label {values.max()}, MNIST's are 0 to 9; {GET_IT}")
    return values


def unpacked_sha256(path: Path) -> str:
    """SHA-256 of the unpacked content of a file; errors as in :func:`unpack`."""
    return _sha256(unpack(path))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_original(content: bytes, name: str, path: Path) -> None:
    """Refuse unpacked content that is not byte for byte the original file ``name``.

    Raises
    ------
    ValueError
        If the SHA-256 differs from the published one; a known file under a wrong name is named.
    """
    found = _sha256(content)
    if found == PUBLISHED_SHA256[name]:
        return
    known = [other for other, sha256 in PUBLISHED_SHA256.items() if sha256 == found]
    what = f"is MNIST's {known[0]} under another name" if known else "is a whole IDX file but not MNIST's"
    raise ValueError(
        f"{path} {what}: the SHA-256 of its unpacked content is {found}, the published one of {name} is "
        f"{PUBLISHED_SHA256[name]}; {GET_IT}"
    )
