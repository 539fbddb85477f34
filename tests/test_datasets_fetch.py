"""Fetching: interrupted downloads go on, wrong content leaves nothing behind, archives write only what they should."""

from __future__ import annotations

import builtins
import dataclasses
import errno
import gzip
import importlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dataset_files import TINY_BATCH, real_data, sha256, tar_gz, tiny_batch, tiny_mnist
from secateur.data import check, cifar, data_folder, fetch, list_datasets, mnist, read_cifar10, read_mnist

module = importlib.import_module("secateur.data.fetch")
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.PUBLISHED_SHA256
BATCH_FILES = [f"cifar-10-batches-bin/{batch}.bin" for batch in cifar.BATCHES]


class Server(ThreadingHTTPServer):
    """Serves ``files`` by name; ``answers`` is used up one request at a time: "die", "whole", "stall" or a status."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.answers: list[str | int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is expected here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, asked = self.path.removeprefix("/"), self.headers["Range"]
        self.server.requests.append((name, asked))
        answer = self.server.answers.pop(0) if self.server.answers else "range"
        if isinstance(answer, int) or name not in self.server.files:
            return self.send_error(answer if isinstance(answer, int) else 404)
        content = self.server.files[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and answer != "whole" else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if answer in ("die", "stall") else rest)
        if answer == "stall":
            self.wfile.flush()
            time.sleep(1.0)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that holds a tiny MNIST and a tiny CIFAR-10, registered as the originals."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    for name, content in tiny_mnist().items():
        server.files[f"{name}.gz"] = gzip.compress(content)
        monkeypatch.setitem(mnist.PUBLISHED_SHA256, name, sha256(content))
    monkeypatch.setattr(cifar, "IMAGES_PER_BATCH", TINY_BATCH)
    serve_archive(server, monkeypatch, {name: tiny_batch(seed) for seed, name in enumerate(BATCH_FILES)})
    for name, dataset in module.DATASETS.items():
        monkeypatch.setitem(module.DATASETS, name, dataclasses.replace(dataset, url=server.url))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def serve_archive(server: Server, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], **links: Any) -> None:
    archive = tar_gz(members, **links)
    server.files[module.CIFAR_ARCHIVE] = archive
    monkeypatch.setattr(module, "CIFAR_ARCHIVE_SHA256", sha256(archive))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_fetched_mnist_is_verified_readable_and_not_fetched_twice(server: Server, tmp_path: Path):
    seen: list[tuple[str, int, int | None]] = []
    assert [row.state for row in check("mnist", tmp_path)] == ["missing"] * 4
    rows = fetch("mnist", tmp_path, progress=lambda *news: seen.append(news))
    assert [(row.dataset, row.file, row.state, row.ok) for row in rows] == [
        ("mnist", name, "original", True) for name in mnist.PUBLISHED_SHA256
    ]
    assert files_below(tmp_path) == sorted(f"mnist/{name}.gz" for name in mnist.PUBLISHED_SHA256)
    assert read_mnist(data_folder("mnist", tmp_path)).train.shape == (30, 400)
    assert {name: size for name, size, total in seen if size == total} == {n: len(server.files[n]) for n, _, _ in seen}
    assert len(server.requests) == 4
    assert fetch("mnist", tmp_path) == rows and len(server.requests) == 4


def test_lost_connection_keeps_what_arrived_and_the_second_try_goes_on(server: Server, tmp_path: Path):
    server.answers = ["die"]
    name = f"{TRAIN_IMAGES}.gz"
    total = len(server.files[name])
    half = total // 2
    with pytest.raises(ConnectionError, match=rf"lost while fetching .*{half} of {total} bytes arrived.; try again"):
        fetch("mnist", tmp_path)
    assert files_below(tmp_path) == [f"mnist/{name}.part"]
    assert [row.state for row in check("mnist", tmp_path)] == ["missing"] * 4  # half a file is no file
    with pytest.raises(FileNotFoundError):
        data_folder("mnist", tmp_path)

    assert all(row.state == "original" for row in fetch("mnist", tmp_path))
    assert server.requests[:2] == [(name, None), (name, f"bytes={half}-")]
    assert (tmp_path / "mnist" / name).read_bytes() == server.files[name]


def test_stalled_connection_counts_as_lost(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    server.answers = ["stall"]
    with pytest.raises(ConnectionError, match="connection was lost while fetching .*timed out"):
        fetch("mnist", tmp_path)
    assert all(row.ok for row in fetch("mnist", tmp_path))
    assert server.requests[1][1] is not None


def test_server_that_cannot_go_on_starts_from_the_beginning(server: Server, tmp_path: Path):
    server.answers = ["die", "whole"]
    with pytest.raises(ConnectionError):
        fetch("mnist", tmp_path)
    assert all(row.state == "original" for row in fetch("mnist", tmp_path))


def test_whole_file_under_its_part_name_is_taken_after_verification(server: Server, tmp_path: Path):
    part = tmp_path / "mnist" / f"{TRAIN_IMAGES}.gz.part"  # killed between the last byte and the renaming
    part.parent.mkdir()
    part.write_bytes(server.files[f"{TRAIN_IMAGES}.gz"])
    assert all(row.state == "original" for row in fetch("mnist", tmp_path))
    assert len(server.requests) == 3


OTHER_CONTENT = {
    "another": gzip.compress(b"another file"),
    "page": b"<html>moved</html>",
    "cut": gzip.compress(b"x")[:-9],
}


@pytest.mark.parametrize("sent", OTHER_CONTENT.values(), ids=OTHER_CONTENT)
def test_wrong_content_is_refused_and_nothing_is_left(sent: bytes, server: Server, tmp_path: Path):
    server.files[f"{TRAIN_IMAGES}.gz"] = sent
    with pytest.raises(
        ValueError, match=f"{TRAIN_IMAGES}.gz sent is not the published file, .* was removed, try again"
    ):
        fetch("mnist", tmp_path)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("length", [100, 100_000])  # shorter and longer than the whole
def test_part_of_another_file_is_refused_and_removed(length: int, server: Server, tmp_path: Path):
    part = tmp_path / "mnist" / f"{TRAIN_IMAGES}.gz.part"
    part.parent.mkdir()
    part.write_bytes(b"?" * length)
    with pytest.raises(ValueError, match="not the published file"):
        fetch("mnist", tmp_path)
    assert files_below(tmp_path) == []
    assert all(row.ok for row in fetch("mnist", tmp_path))


def test_refusal_and_silence_of_the_server_are_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server.answers = [503]
    with pytest.raises(ConnectionError, match="refused by the server .503 Service Unavailable.; try again later"):
        fetch("mnist", tmp_path)
    nobody = dataclasses.replace(module.DATASETS["mnist"], url="http://127.0.0.1:1/")
    monkeypatch.setitem(module.DATASETS, "mnist", nobody)
    with pytest.raises(ConnectionError, match="cannot be reached .*; check the network and try again"):
        fetch("mnist", tmp_path)
    assert files_below(tmp_path) == []


def fill_disk(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Writing through ``open`` in the module fails after ``room`` bytes."""

    class Full:
        def __init__(self, path: Path, mode: str):
            self.file, self.left = builtins.open(path, mode), room

        def __enter__(self):
            return self

        def __exit__(self, *exception: Any):
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[: self.left])
            self.left -= min(len(content), self.left)
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "open", Full, raising=False)


def test_full_disk_leaves_no_file_that_looks_whole(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as context:
        fill_disk(context, room=1000)
        with pytest.raises(OSError, match=r"cannot store mnist in .*No space left on device; make room .* goes on"):
            fetch("mnist", tmp_path)
    part = tmp_path / "mnist" / f"{TRAIN_IMAGES}.gz.part"
    assert files_below(tmp_path) == [f"mnist/{part.name}"] and part.stat().st_size == 1000
    assert all(row.state == "original" for row in fetch("mnist", tmp_path))
    assert server.requests[1] == (f"{TRAIN_IMAGES}.gz", "bytes=1000-")


def test_damaged_files_are_fetched_anew_and_sound_ones_kept(server: Server, tmp_path: Path):
    for name, content in tiny_mnist().items():
        (tmp_path / name).write_bytes(content)  # plain files directly in the data directory
    (tmp_path / TEST_LABELS).write_bytes(tiny_mnist()[TEST_LABELS][:-2])
    rows = {row.file: row for row in check("mnist", tmp_path)}
    assert [row.state for row in rows.values()] == ["original"] * 3 + ["damaged"]
    assert "is truncated: 12 labels take 12 bytes" in rows[TEST_LABELS].detail
    assert all(row.state == "original" for row in fetch("mnist", tmp_path))
    assert server.requests == [(f"{TEST_LABELS}.gz", None)]


def test_fetched_cifar_is_unpacked_and_the_archive_removed(server: Server, tmp_path: Path):
    server.answers = ["die"]
    with pytest.raises(ConnectionError):
        fetch("cifar-10", tmp_path)
    assert [row.state for row in fetch("cifar-10", tmp_path)] == ["well-formed"] * 6
    assert files_below(tmp_path) == sorted(BATCH_FILES)
    assert len(server.requests) == 2 and server.requests[1][1] is not None
    read = read_cifar10(data_folder("cifar-10", tmp_path))
    assert read.batches == cifar.BATCHES
    assert (tmp_path / BATCH_FILES[5]).read_bytes() == tiny_batch(5)


def test_batches_of_another_copy_are_replaced(server: Server, tmp_path: Path):
    first = tmp_path / BATCH_FILES[0]
    first.parent.mkdir()
    first.write_bytes(tiny_batch(99))
    fetch("cifar-10", tmp_path)
    assert first.read_bytes() == tiny_batch(0)


def whole_set() -> dict[str, bytes]:
    return {name: tiny_batch(seed) for seed, name in enumerate(BATCH_FILES)}


@pytest.mark.parametrize("escape", ["../escaped.bin", "cifar-10-batches-bin/../../escaped.bin", "/escaped.bin"])
def test_archive_that_names_places_outside_is_refused(
    escape: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    serve_archive(server, monkeypatch, whole_set() | {escape: b"harm"})
    with pytest.raises(ValueError, match="names a place outside its folder, .*escaped.bin"):
        fetch("cifar-10", tmp_path / "data")
    assert files_below(tmp_path) == []


def test_only_regular_files_of_the_data_set_are_unpacked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    members = whole_set()
    serve_archive(server, monkeypatch, members | {"cifar-10-batches-bin/readme.html": b"x", "other": b"x"})
    fetch("cifar-10", tmp_path / "one")
    assert files_below(tmp_path / "one") == sorted(BATCH_FILES)

    del members[BATCH_FILES[2]]
    for links in ({}, {BATCH_FILES[2]: "/etc/hostname"}):
        serve_archive(server, monkeypatch, members, links=links)
        with pytest.raises(ValueError, match="no regular file cifar-10-batches-bin/data_batch_3.bin"):
            fetch("cifar-10", tmp_path / "two")
        assert files_below(tmp_path / "two") == []


def test_damaged_archive_is_refused_and_removed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cut = server.files[module.CIFAR_ARCHIVE][:-5000]
    server.files[module.CIFAR_ARCHIVE] = cut
    with pytest.raises(ValueError, match="is not the published file"):
        fetch("cifar-10", tmp_path)
    monkeypatch.setattr(module, "CIFAR_ARCHIVE_SHA256", sha256(cut))
    with pytest.raises(ValueError, match="cannot be unpacked .* removed"):
        fetch("cifar-10", tmp_path)
    assert files_below(tmp_path) == []


def test_disk_full_while_unpacking_goes_on_without_a_new_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def write_half(content: bytes, path: Path) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(module, "_write_bytes", write_half)
        with pytest.raises(OSError, match="cannot store cifar-10 in .*No space left"):
            fetch("cifar-10", tmp_path)
    assert files_below(tmp_path) == [f"cifar-10-batches-bin/{module.CIFAR_ARCHIVE}.part"]
    assert all(row.ok for row in fetch("cifar-10", tmp_path))
    assert len(server.requests) == 1


def test_unwritable_place_is_named(server: Server, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot store mnist in .*file/mnist: Not a directory; "):
        fetch("mnist", tmp_path / "file")


def test_data_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    explicit, named, cache = (tmp_path / place for place in ("explicit", "named", "cache"))
    monkeypatch.setattr(module.pooch, "os_cache", lambda project: cache)
    monkeypatch.setenv("SECATEUR_DATA_DIR", str(named))
    message = r"mnist was not found: .* in .*named, .*cache; get it with `secateur data fetch mnist` or .*DATA_DIR"
    with pytest.raises(FileNotFoundError, match=message):
        data_folder("mnist")
    for place in (cache, named):
        (place / "mnist").mkdir(parents=True)
        (place / "mnist" / TRAIN_IMAGES).touch()
        assert data_folder("mnist") == place / "mnist"
    assert {row.name: row.place for row in list_datasets()} == {"mnist": named / "mnist", "cifar-10": None}
    with pytest.raises(FileNotFoundError, match=r"in .*explicit; get it"):
        data_folder("mnist", explicit)  # a named place is not silently replaced by another
    explicit.mkdir()
    (explicit / "test_batch.bin").touch()
    assert data_folder("cifar-10", explicit) == explicit


def test_unknown_names_get_a_suggestion(tmp_path: Path):
    for function in (data_folder, check, fetch):
        with pytest.raises(
            ValueError, match="unknown data set 'minst'; known are mnist, cifar-10; did you mean 'mnist'"
        ):
            function("minst", tmp_path)


def test_registered_servers_speak_tls():
    assert all(row.url.startswith("https://") and row.url.endswith("/") for row in list_datasets())


def test_real_files_are_verified_by_content():
    folder = real_data()
    assert [row.state for row in check("mnist", folder)] == ["original"] * 4
    states = {row.file: row.state for row in check("cifar-10", folder)}
    assert states["data_batch_1.bin"] == states["test_batch.bin"] == "well-formed"
    assert set(states.values()) <= {"well-formed", "missing"}
