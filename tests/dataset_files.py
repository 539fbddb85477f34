"""Small MNIST and CIFAR-10 files made on the spot, and where the real ones lie."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

TINY_BATCH = 20


def real_data() -> Path:
    """Folder of the real data sets; skips the test where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SECATEUR_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real data here; SECATEUR_TEST_DATA names their folder")
    return folder


def idx_bytes(values: np.ndarray) -> bytes:
    """An IDX file of uint8 values: images if three-dimensional, labels if one-dimensional."""
    return struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def tiny_mnist(n_train: int = 30, n_test: int = 12) -> dict[str, bytes]:
    """Unpacked content of four MNIST files with random digits, by file name."""
    rng = np.random.default_rng(5)
    contents = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        contents[f"{part}-images-idx3-ubyte"] = idx_bytes(rng.integers(0, 256, (n, 28, 28)))
        contents[f"{part}-labels-idx1-ubyte"] = idx_bytes(rng.integers(0, 10, n))
    return contents


def sha256(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def tiny_batch(seed: int) -> bytes:
    """A CIFAR-10 batch of ``TINY_BATCH`` random records, every class twice."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (TINY_BATCH, 3073))
    records[:, 0] = rng.permutation(TINY_BATCH) % 10
    return records.astype(np.uint8).tobytes()


def tar_gz(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz archive of regular files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()
