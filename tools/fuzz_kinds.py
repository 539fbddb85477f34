"""Every kind of file that secateur reads: one that is whole, how to forge it, and how it is read and judged."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import struct
import tarfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import jax
import numpy as np
import tomli_w
import xarray as xr
from safetensors.numpy import load, save

import fuzz_recordings as recordings
from fuzz_mutations import DEEP, WEIRD, forged, gzip_bomb, spoiled, to_json
from fuzz_npz import forged_npy, forged_npz
from fuzz_results import forged_results
from secateur.data import cifar, mnist
from secateur.data.rows import read_rows
from secateur.model.machine import Machine
from secateur.reading.words import is_words_file, load_words, words
from secateur.storage import limits
from secateur.storage.arrays import checksum
from secateur.storage.machines import read_machine, save_machine
from secateur.studies import StudyFolder, load_config
from secateur.studies.record import Record, peek
from secateur.studies.schema import COMMON, STAGES, empty_results
from secateur.training.checkpoint import Reached, TrainingCheckpoint

SIZES = (6, 4, 3)
IMAGES = 10
"""Images per batch of CIFAR-10 while files are fuzzed."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    file
        Its name; what is read lies in a folder of its own.
    whole
        Its content.
    forge
        Another content, made with knowledge of the format.
    read
        Reads a file and asserts that what it got is sound.
    seal
        The same content with the checksum that belongs to it; ``None`` for formats without one.
    """

    file: str
    whole: bytes
    forge: Callable[[Random, bytes], bytes]
    read: Callable[[Path], Any]
    seal: Callable[[bytes], bytes] | None = None

    def content(self, rng: Random) -> bytes:
        """A spoiled content."""
        content = self.forge(rng, self.whole) if rng.random() < 0.5 else spoiled(rng, self.whole)
        if rng.random() < 0.1:
            content = spoiled(rng, content)
        return self.seal(content) if self.seal is not None and rng.random() < 0.5 else content


def kinds(folder: Path) -> dict[str, Kind]:
    """All kinds by name; ``folder`` takes a whole study."""
    cifar.IMAGES_PER_BATCH = IMAGES
    study, like, empty = _study(folder), _machines(), _empty_results(("first",))
    machine, record, checkpoint = (folder / f"{name}.safetensors" for name in ("machine", "record", "checkpoint"))
    save_machine(_machine(1), machine, {"criterion": "variance-fi", "round": 1})
    Record(empty.copy(deep=True), "0" * 64, like, 1, {"train": 1.5}, 2.5).write(record)
    history = [{"loss": np.zeros(2, np.float32)} for _ in range(3)]
    TrainingCheckpoint(checkpoint, interval_s=0).part("training").keep(Reached(3, like, history), last=True)
    found = words([[0.01, 0.52, 0.93], [0.52, 1.2], [0.3]], 0.1)
    found.save(folder / "words.npz")
    rows = io.BytesIO()
    np.save(rows, np.eye(6, 4, dtype=np.uint8))
    rng = np.random.default_rng(0)
    images = struct.pack(">4I", 2051, IMAGES, 28, 28) + rng.integers(0, 256, IMAGES * 784).astype(np.uint8).tobytes()
    labels = struct.pack(">2I", 2049, IMAGES) + bytes(range(IMAGES))

    def of_study(name: str, read: Callable[[StudyFolder], Any]) -> Callable[[Path], Any]:
        def read_whole(path: Path) -> Any:
            for other in ("study.toml", "results.nc", "provenance.json"):
                if other != name:
                    (path.parent / other).write_bytes((study / other).read_bytes())
            return read(StudyFolder.open(path.parent))

        return read_whole

    def study_kind(name: str, forge: Callable[[Random, bytes], bytes], read: Callable[[StudyFolder], Any]) -> Kind:
        return Kind(name, (study / name).read_bytes(), forge, of_study(name, read))

    return {
        "machine": Kind("a.safetensors", machine.read_bytes(), _forge_arrays, _read_machine, _seal_arrays),
        "record": Kind(
            "a.safetensors",
            record.read_bytes(),
            _forge_arrays,
            lambda path: _read_record(path, empty, like),
            _seal_arrays,
        ),
        "checkpoint": Kind(
            "a.safetensors", checkpoint.read_bytes(), _forge_arrays, lambda path: _read_part(path, like), _seal_arrays
        ),
        "settings": study_kind("study.toml", _forge_toml, _read_settings),
        "results": study_kind("results.nc", lambda rng, content: forged_results(rng, content, folder), _read_results),
        "provenance": study_kind("provenance.json", _forge_json, lambda opened: _is(opened.provenance, dict)),
        "images": Kind("train-images-idx3-ubyte", images, _forge_idx, lambda path: _read_idx(path, "images"), Sealed),
        "labels": Kind("train-labels-idx1-ubyte", labels, _forge_idx, lambda path: _read_idx(path, "labels"), Sealed),
        "images.gz": Kind(
            "train-images-idx3-ubyte.gz", gzip.compress(images), _forge_gzip, lambda p: _read_idx(p, "images"), Sealed
        ),
        "labels.gz": Kind(
            "train-labels-idx1-ubyte.gz", gzip.compress(labels), _forge_gzip, lambda p: _read_idx(p, "labels"), Sealed
        ),
        "cifar": Kind("data_batch_1.bin", _batch(), _forge_batch, _read_batch),
        "cifar.tar.gz": Kind("archive.part", _archive(), _forge_archive, _read_archive),
        "words": Kind("words.npz", (folder / "words.npz").read_bytes(), forged_npz, _read_words),
        "rows": Kind("rows.npy", rows.getvalue(), forged_npy, _read_rows),
        **_recordings(),
    }


def _recordings() -> dict[str, Kind]:
    whole = {
        "mat": (recordings.matlab_5(), recordings.forged_matlab_5),
        "mat7.3": (recordings.matlab_7_3(), recordings.forged_hdf5),
        "nwb": (recordings.nwb(), recordings.forged_hdf5),
        "npz": (recordings.trains_npz(), recordings.forged_trains),
        "csv": (recordings.table(), recordings.forged_table),
    }
    return {
        f"recording.{suffix}": Kind(f"spikes.{suffix.replace('7.3', '')}", content, forge, recordings.read_recording)
        for suffix, (content, forge) in whole.items()
    }


def _is(value: Any, kind: type) -> Any:
    assert isinstance(value, kind), f"got a {type(value).__name__}"
    return value


def _machine(seed: int) -> Machine:
    rng = np.random.default_rng(seed)
    shapes = list(zip(SIZES[:-1], SIZES[1:], strict=True))
    masks = [rng.random(shape) < 0.7 for shape in shapes]
    return Machine([rng.normal(size=shape) for shape in shapes], [rng.normal(size=n) for n in SIZES], masks)


def _machines() -> Machine:
    return jax.tree.map(lambda *leaves: np.stack(leaves), _machine(0), _machine(1))


def _empty_results(criteria: tuple[str, ...], settings: str = "{}") -> xr.Dataset:
    coords = {
        "trial": np.arange(2),
        "criterion": list(criteria),
        "round": np.arange(3),
        "stage": list(STAGES),
        "matrix": np.arange(2),
        "layer": np.arange(3),
        "pixel": np.arange(6),
        "unit": np.arange(4),
    }
    return empty_results(COMMON, coords, {"image_shape": (2, 3), "title": "A study", "settings": settings})


def _study(folder: Path) -> Path:
    changes = {"trials": 2, "rounds": 2, "criteria": ["random", "anti-fi"], "model.hidden": [4, 3]}
    config = load_config("digits", "quick", changes)
    study = StudyFolder.create(folder / "study", config)
    study.write_results(_empty_results(config.criteria, json.dumps(config.deciding())))
    study.write_provenance(
        {"secateur": "0.1.0", "packages": {"jax": "1"}, "sessions": [{"process": 1}], "seconds": 1.5}
    )
    return study.path


def _read_machine(path: Path) -> None:
    machine = read_machine(path).machine
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(machine.parameters))
    assert [b.shape for b in machine.biases] == [i.shape for i in machine.unit_indices]
    assert machine.n_units <= machine.n_layers * limits.MAX_UNITS


def _read_record(path: Path, empty: xr.Dataset, like: Machine) -> None:
    peek(path)
    record = Record.read(path, empty.copy(deep=True), like)
    _is(record.data_sha256 + "", str)
    assert 0 <= record.n_rounds <= limits.MAX_ROUNDS and record.took + sum(record.seconds.values()) is not None
    if record.machine is not None:
        shapes = [leaf.shape[1:] for leaf in record.machine.weights]
        assert shapes == list(zip(record.machine.layer_sizes[:-1], record.machine.layer_sizes[1:], strict=True))


def _read_part(path: Path, like: Machine) -> None:
    reached = TrainingCheckpoint(path).part("training").restore(like)
    assert len(reached.history) in (0, reached.n_epochs)
    assert [leaf.shape for leaf in jax.tree.leaves(reached.state)] == [leaf.shape for leaf in jax.tree.leaves(like)]


def _read_settings(study: StudyFolder) -> None:
    config = study.config
    assert config.trials <= limits.MAX_TRIALS and max(config.model.hidden) <= limits.MAX_HIDDEN
    assert config.training.n_chains <= limits.MAX_CHAINS
    config.model_dump_json()


def _read_results(study: StudyFolder) -> None:
    assert study.results.nbytes <= 2 * limits.MAX_RESULTS_BYTES


def _read_idx(path: Path, expected: str) -> None:
    name = path.name.removesuffix(".gz")
    found = mnist.find_file(path.parent, name)
    content = mnist.unpack(found)
    values = mnist.parse_idx(content, expected, found)
    assert values.ndim == {"images": 3, "labels": 1}[expected] and values.nbytes <= limits.MAX_UNPACKED
    if not (path.parent / "sealed").exists():
        mnist.check_original(content, name, found)


def _read_batch(path: Path) -> None:
    images = cifar.read_cifar10(path.parent)
    assert images.images.shape == (IMAGES, *cifar.IMAGE_SHAPE) and images.labels.max() < 10


def _read_archive(path: Path) -> None:
    fetch = importlib.import_module("secateur.data.fetch")  # the package has a function of this name
    dataset, out = fetch.DATASETS["cifar-10"], path.parent / "out"
    out.mkdir()
    try:
        fetch._unpack_archive(path, dataset, out)
    finally:
        assert {entry.name for entry in out.iterdir()} <= set(dataset.files), "a foreign file was written"
        assert {entry.name for entry in path.parent.iterdir()} <= {"out", path.name}, "a file was written outside"


def _read_words(path: Path) -> None:
    is_words_file(path)
    found = load_words(path)
    assert found.states.ndim == 2 and found.states.max(initial=0) <= 1
    _is(str(found), str)


def _read_rows(path: Path) -> None:
    rows = read_rows(path)
    assert rows.ndim == 2 and set(np.unique(rows)) <= {0, 1}


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _packed(header: str, data: bytes) -> bytes:
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data


def _forge_arrays(rng: Random, content: bytes) -> bytes:
    header, data = _parts(content)
    if rng.random() < 0.5:
        inner = to_json(rng, forged(rng, json.loads(header["__metadata__"]["secateur"])))
        header["__metadata__"]["secateur"] = inner
        return _packed(json.dumps(header), data)
    if rng.random() < 0.3:  # an array of another shape that takes as many bytes, or of another type
        name = rng.choice([name for name in header if name != "__metadata__"])
        shape, dtype = header[name]["shape"], header[name]["dtype"]
        header[name]["shape"] = rng.choice(([*shape, 1], shape[::-1], [int(np.prod(shape))], [1, *shape]))
        header[name]["dtype"] = rng.choice((dtype, {"F32": "I32", "I32": "F32", "BOOL": "I8"}.get(dtype, "U8")))
        return _packed(json.dumps(header), data)
    return _packed(to_json(rng, forged(rng, header)), data)


def _seal_arrays(content: bytes) -> bytes:
    try:
        arrays = load(content)
        header = json.loads(_parts(content)[0]["__metadata__"]["secateur"])
        header["sha256"] = checksum(arrays, header)
        return save(arrays, metadata={"secateur": json.dumps(header)})
    except Exception:  # too broken for a checksum
        return content


def _forge_json(rng: Random, content: bytes) -> bytes:
    return to_json(rng, forged(rng, json.loads(content))).encode()


def _forge_toml(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.2:
        name = rng.choice(("trials", "seed", "[deep.deep", "sizes", "kind", "x"))
        depth = rng.choice((50, 900, 20_000))
        value = rng.choice(
            ("0x" + "f" * 5000, "9" * 5000, "[" * depth + "]" * depth, "{a=" * depth + "1" + "}" * depth)
        )
        return f"{name} = {value}\n".encode() + content
    settings = forged(rng, tomllib.loads(content.decode()))
    for table in ("training", "model", "importance", "evaluation"):
        if rng.random() < 0.2 and isinstance(settings.get(table), dict) and settings[table]:
            settings[table][rng.choice(list(settings[table]))] = rng.choice(WEIRD)
    try:
        return tomli_w.dumps(settings).replace(f'"{DEEP}"', "[" * 900 + "]" * 900).encode("utf-8", "replace")
    except (TypeError, ValueError):  # no TOML for it
        return spoiled(rng, content)


def _forge_idx(rng: Random, content: bytes) -> bytes:
    n = 4 if content[3] == 3 else 2
    sizes = list(struct.unpack(f">{n}I", content[: 4 * n]))
    sizes[rng.randrange(n)] = rng.choice((0, 1, 9, 28, 2049, 2051, 60_000, 2**31, 2**32 - 1))
    return struct.pack(f">{n}I", *sizes) + content[4 * n :]


class Sealed(bytes):
    """Content whose SHA-256 counts as the published one: a file ``sealed`` lies beside it."""


def _forge_gzip(rng: Random, content: bytes) -> bytes:
    plain = gzip.decompress(content)
    if rng.random() < 0.15:
        return gzip_bomb(rng, plain[:16])
    return gzip.compress(rng.choice((_forge_idx, spoiled))(rng, plain), 1)


def _batch() -> bytes:
    records = np.zeros((IMAGES, cifar.RECORD_LENGTH), np.uint8)
    records[:, 0], records[:, 1:] = np.arange(IMAGES), np.arange(cifar.RECORD_LENGTH - 1) % 7
    return records.tobytes()


def _forge_batch(rng: Random, content: bytes) -> bytes:
    return rng.choice((content * 2, content[: -cifar.RECORD_LENGTH], bytes(len(content)), content[::-1]))


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in cifar.BATCHES:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(_batch())
            tar.addfile(member, io.BytesIO(_batch()))
    return gzip.compress(buffer.getvalue(), 1)


def _forge_archive(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.4:
        return gzip.compress(spoiled(rng, gzip.decompress(content)), 1)
    names = (
        "../out.bin",
        "/tmp/secateur-out.bin",
        "a/../../out.bin",
        "cifar-10-batches-bin/data_batch_1.bin",
        "x" * 300,
    )
    member = tarfile.TarInfo(rng.choice(names))
    member.type = rng.choice(
        (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"x")
    )
    member.linkname = rng.choice(("/etc/hostname", "../../out.bin", "cifar-10-batches-bin/test_batch.bin"))
    member.size = rng.choice((0, 5, 2**20, 2**33, 2**40))
    archive = gzip.decompress(content).rstrip(b"\0")
    archive += bytes(-len(archive) % 512) + member.tobuf(tarfile.GNU_FORMAT)
    return gzip_bomb(rng, archive) if rng.random() < 0.2 else gzip.compress(archive + bytes(2048), 1)
