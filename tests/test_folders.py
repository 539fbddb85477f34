"""A folder is replaced as a whole or not at all, links are left alone, and two writers are kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.storage.folders import replacing

OWN = ("settings", "tables")


def _fill(folder: Path, text: str) -> None:
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "a.csv").write_text(text)
    (folder / "settings").write_text(text)


def _seen(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def _replace(path: Path, text: str = "new") -> None:
    with replacing(path, OWN) as place:
        _fill(place, text)


WHOLE = {"settings": "new", "tables/a.csv": "new"}


def test_a_new_folder_and_one_that_takes_the_place_of_another(tmp_path):
    _replace(tmp_path / "fit", "first")
    assert _seen(tmp_path / "fit") == {"settings": "first", "tables/a.csv": "first"}
    (tmp_path / "fit" / "tables" / "old.csv").write_text("ours, and outdated")
    (tmp_path / "fit" / "notes.txt").write_text("the user's own")
    _replace(tmp_path / "fit")
    assert _seen(tmp_path / "fit") == WHOLE | {"notes.txt": "the user's own"}
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_after_an_error_the_old_folder_is_whole(tmp_path, error):
    _replace(tmp_path / "fit", "first")
    before = _seen(tmp_path)
    with pytest.raises(error), replacing(tmp_path / "fit", OWN) as place:
        (place / "settings").write_text("half")
        raise error
    assert _seen(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["fit"]
    with pytest.raises(error), replacing(tmp_path / "never", OWN):
        raise error
    assert not (tmp_path / "never").exists()


def test_a_rename_that_fails_brings_the_old_folder_back(tmp_path, monkeypatch):
    _replace(tmp_path / "fit", "first")
    before, rename = _seen(tmp_path), Path.rename

    def failing(self, target):
        if self.name == ".fit.new":
            raise OSError("no room")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no room"):
        _replace(tmp_path / "fit")
    assert _seen(tmp_path) == before


def test_what_a_killed_process_left_is_mended(tmp_path):
    _fill(tmp_path / ".fit.new", "half")
    _fill(tmp_path / ".fit.old", "first")
    (tmp_path / ".fit.old" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "fit", OWN) as place:
        assert _seen(place) == {} and (tmp_path / "fit" / "notes.txt").exists()
        raise ValueError("stop")
    assert _seen(tmp_path) == {"fit/settings": "first", "fit/tables/a.csv": "first", "fit/notes.txt": "mine"}
    _fill(tmp_path / ".fit.old", "older")
    (tmp_path / ".fit.old" / "more.txt").write_text("mine too")
    _replace(tmp_path / "fit")
    assert _seen(tmp_path / "fit") == WHOLE | {"notes.txt": "mine", "more.txt": "mine too"}
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


def test_links_are_neither_followed_nor_removed(tmp_path):
    _fill(tmp_path / "elsewhere", "precious")
    (tmp_path / "fit").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link, which is not replaced; remove it, or choose another folder"):
        _replace(tmp_path / "fit")
    (tmp_path / "fit").unlink()
    for hidden in (".fit.new", ".fit.old"):
        (tmp_path / hidden).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ValueError, match=f"{hidden}' is a link, which is not replaced"):
            _replace(tmp_path / "fit")
        (tmp_path / hidden).unlink()
    _replace(tmp_path / "fit", "first")
    (tmp_path / "fit" / "tables" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ValueError, match="is a file, which is not replaced"):
        _replace(tmp_path / "file")
    _replace(tmp_path / "fit")
    assert _seen(tmp_path / "elsewhere") == {"settings": "precious", "tables/a.csv": "precious"}
    assert _seen(tmp_path / "fit") == WHOLE and (tmp_path / "file").read_text() == "a file"


def test_two_writers_are_kept_apart(tmp_path):
    with replacing(tmp_path / "fit", OWN) as place:
        _fill(place, "new")
        with pytest.raises(ValueError, match="another process is writing to"):
            _replace(tmp_path / "fit", "second")
    assert _seen(tmp_path / "fit") == WHOLE
