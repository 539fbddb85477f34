"""Rows of the user's own as those of a study: taken in pieces, made 0 and 1, split by seed, by given rows or by "
"epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from secateur.data.tables import Tables, checked_tables, read_tables
from secateur.reading.words import Words, load_words
from secateur.storage.limits import MAX_VALUES
from secateur.studies.settings import DataSettings

_PIECE = 2**16
"""Rows that are converted at once."""
N_STRETCHES = 20
"""Contiguous stretches into which a recording of one epoch is cut."""
_FEWEST_ROWS = 10


class Split(NamedTuple):
    """Rows of one trial."""

    train: Float[np.ndarray, "train units"]
    test: Float[np.ndarray, "test units"]
    train_labels: Int[np.ndarray, " train"] | None = None
    test_labels: Int[np.ndarray, " test"] | None = None
    grey: Float[np.ndarray, "train units"] | None = None
    how: str = ""


class OwnRows:
    """Tables of the user's own, and how they become rows of trials.

    Attributes
    ----------
    image_shape
        Height and width where rows are images.
    classes
        What the labels are, in the order of their numbers.
    source
        Where they come from and how they became 0 and 1, in sentences.
    """

    def __init__(self, data: DataSettings, tables: Tables, name: str):
        self.data, self.name = data, name
        self.image_shape = _image_shape(data, tables, name)
        shape = (len(tables.rows), int(np.prod(tables.rows.shape[1:])))
        self.rows = tables.rows.reshape(shape)
        self.test = None if tables.test_rows is None else tables.test_rows.reshape(len(tables.test_rows), -1)
        self.labels, self.test_labels, self.classes = _numbered(tables.labels, tables.test_labels)
        if len(self.rows) < _FEWEST_ROWS:
            raise ValueError(f"{name} holds {len(self.rows)} rows; a study needs at least {_FEWEST_ROWS}")
        n_used = min(len(self.rows), data.most_rows or len(self.rows))
        if n_used * shape[1] > MAX_VALUES:
            raise ValueError(
                f"{name} holds {n_used:,} rows of {shape[1]:,} units, more than fit into memory; set data.most_rows to "
                f"{MAX_VALUES // shape[1]:,} or less, and as many are taken at random, in pieces"
            )

    def split(self, seed: int) -> Split:
        """Rows of the trial with this seed."""
        rng = np.random.default_rng(seed)
        if self.test is None:
            order = rng.permutation(len(self.rows))[: self.data.most_rows]
            n_test = round(self.data.test_share * len(order))
            if not 0 < n_test < len(order) - 1:
                raise ValueError(
                    f"data.test_share of {self.data.test_share} leaves {n_test} of {len(order)} rows for testing; "
                    "choose "
                    "one that leaves both"
                )
            test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
            of_test, test_labels = self.rows, self.labels
        else:
            train, test = (np.sort(rng.permutation(n)[: self.data.most_rows]) for n in (len(self.rows), len(self.test)))
            of_test, test_labels = self.test, self.test_labels
        ours, theirs, grey, how = self._binary(taken(self.rows, train), taken(of_test, test), rng)
        labels: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        if self.labels is not None and test_labels is not None:
            labels = self.labels[train], test_labels[test]
        return Split(ours, theirs, *labels, grey, how)

    def _binary(
        self, train: np.ndarray, test: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
        """Rows as 0 and 1 by the stated rule, training rows as probabilities if they are drawn afresh, and the rule."""
        rule = self.data.binarize
        for part in (train, test):
            if not np.isfinite(part).all():
                row, column = np.argwhere(~np.isfinite(part))[0]
                raise ValueError(
                    f"{self.name} must hold finite numbers, got {part[row, column]} in column {column}; leave such "
                    "rows "
                    "out"
                )
        if rule is None:
            odd = [value for part in (train, test) for value in part[(part != 0) & (part != 1)][:1]]
            if odd:
                raise ValueError(
                    f"{self.name} must hold 0 and 1 only, got {odd[0]:g}; say how grey levels become 0 and 1: "
                    "data.binarize='mean', 'redraw' or a threshold"
                )
            return train, test, None, "The rows are 0 and 1 as they stand."
        if rule == "redraw":
            largest = max(float(train.max()), float(test.max()))
            if min(train.min(), test.min()) < 0 or largest == 0:
                raise ValueError(
                    f"{self.name} must hold grey levels from 0 on to be drawn, got from {train.min():g} to "
                    f"{largest:g}; "
                    "choose another data.binarize"
                )
            scale = 1.0 if largest <= 1 else 255.0 if self.rows.dtype == np.uint8 else largest
            grey, test_grey = train / np.float32(scale), test / np.float32(scale)
            ours, theirs = ((rng.random(part.shape) < part).astype(np.float32) for part in (grey, test_grey))
            how = (
                f"Grey levels, divided by {scale:g}, are probabilities: training rows are drawn afresh every epoch, "
                "for "
                "measures once."
            )
            return ours, theirs, grey, how
        threshold = float(train.mean(dtype=float)) if rule == "mean" else float(rule)
        what = "the mean of all training values" if rule == "mean" else "the threshold"
        ours, theirs = ((part > threshold).astype(np.float32) for part in (train, test))
        return ours, theirs, None, f"Values above {threshold:.4g}, {what}, are 1, all others 0."


def taken(table: np.ndarray, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows units"]:
    """Some rows of a table, which may lie on disk, as float32; read in pieces."""
    found = np.empty((len(rows), table.shape[1]), np.float32)
    for start in range(0, len(rows), _PIECE):
        found[start : start + _PIECE] = table[rows[start : start + _PIECE]]
    return found


def _image_shape(data: DataSettings, tables: Tables, name: str) -> tuple[int, int] | None:
    own = tuple(tables.rows.shape[1:]) if tables.rows.ndim == 3 else None
    if data.image_shape is None:
        return own
    n_units = int(np.prod(tables.rows.shape[1:]))
    if int(np.prod(data.image_shape)) != n_units or (own is not None and own != data.image_shape):
        raise ValueError(
            f"data.image_shape {data.image_shape[0]} x {data.image_shape[1]} does not fit {name}, whose rows have "
            f"{' x '.join(map(str, tables.rows.shape[1:]))} values; give height and width of its images"
        )
    return data.image_shape


def _numbered(
    labels: np.ndarray | None, test_labels: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Labels as numbers from 0, and what each number stands for."""
    if labels is None:
        return None, None, []
    everything = labels if test_labels is None else np.concatenate([labels, test_labels])
    names, numbers = np.unique(everything, return_inverse=True)
    if not 2 <= len(names) <= 1000:
        raise ValueError(
            f"labels must be of 2 to 1,000 classes, got {len(names)} different ones among {len(everything)}; give the "
            "class of every row"
        )
    first = numbers[: len(labels)]
    return first, None if test_labels is None else numbers[len(labels) :], [str(name) for name in names]


def read_own_rows(data: DataSettings) -> OwnRows:
    """The rows that the settings name, or that were given from Python."""
    if data.given is not None:
        return OwnRows(data, data.given, "data")
    if not isinstance(data.rows, str):
        raise ValueError("data.rows must name the file of rows; give its path, or another data.dataset")

    def path(name: str | None) -> Path | None:
        return None if name is None else data.path(name)

    labels: Any = path(data.labels)
    if labels is not None and not labels.is_file():
        labels = data.labels
    tables = read_tables(
        data.path(data.rows),
        labels,
        path(data.test_rows),
        path(data.test_labels),
        drop=data.drop or (),
        in_settings=True,
    )
    return OwnRows(data, tables, _name(data.rows))


def _name(path: str) -> str:
    """What sentences call the file; those that a study has written for itself are its data, as they were before."""
    return Path(path).name if Path(path).is_absolute() else "data"


class OwnWords:
    """Words of a recording, of one file or of several with the same units; whole epochs are held out."""

    def __init__(self, data: DataSettings, found: Sequence[Words], name: str):
        self.data, self.name = data, name
        first = found[0]
        for one in found[1:]:
            if one.unit_ids != first.unit_ids or one.bin_size != first.bin_size:
                raise ValueError(
                    f"{name}: files of words must have the same units and bins, got {len(first.unit_ids)} units in "
                    "bins "
                    f"of {first.bin_size} s and {len(one.unit_ids)} in bins of {one.bin_size} s; make them alike"
                )
        self.states = np.concatenate([one.states for one in found])
        offsets = np.cumsum([0, *(int(one.epochs[-1]) + 1 for one in found[:-1])])
        epochs = np.concatenate([one.epochs + offset for one, offset in zip(found, offsets, strict=True)])
        self.bin_size, (self.n_bins, self.n_units) = first.bin_size, self.states.shape
        numbers = np.unique(epochs, return_inverse=True)[1]
        self.n_epochs = int(numbers[-1]) + 1
        self.blocks = numbers if self.n_epochs > 1 else np.arange(self.n_bins) * N_STRETCHES // self.n_bins
        if self.n_bins < 100:
            raise ValueError(f"{name} holds {self.n_bins} bins; a study needs at least 100")

    def split(self, seed: int) -> Split:
        """Rows of the trial with this seed: whole blocks in random order until there are enough test rows.

        Every trial has as many rows, whatever its blocks: what is over of the last test block is left out, and as
        many training rows at random as the longest block has.
        """
        rng = np.random.default_rng(seed)
        sizes = np.bincount(self.blocks)
        n_test = max(1, round(self.data.test_share * self.n_bins))
        order = rng.permutation(len(sizes))
        n_blocks = int(np.searchsorted(np.cumsum(sizes[order]), n_test)) + 1
        held_out = np.isin(self.blocks, order[:n_blocks])
        test = np.flatnonzero(held_out)[:n_test]
        n_train = min(self.n_bins - n_test - int(sizes.max()), self.data.most_rows or self.n_bins)
        if n_train < _FEWEST_ROWS:
            raise ValueError(
                f"{self.name} has {len(sizes)} epochs, too few or too unequal to hold out {self.data.test_share:.0%} "
                "of "
                "the bins in whole epochs; choose a smaller data.test_share"
            )
        train = np.sort(rng.permutation(np.flatnonzero(~held_out))[:n_train])
        ours, theirs = (self.states[rows].astype(np.float32) for rows in (train, test))
        what = "whole epochs" if self.n_epochs > 1 else f"stretches of a {N_STRETCHES}th of the recording"
        return Split(ours, theirs, how=f"Every trial holds out {what}, drawn by its seed: {n_test:,} bins.")


def read_own_words(data: DataSettings) -> OwnWords:
    """The words that the settings name, or that were given from Python."""
    if data.given is not None:
        return OwnWords(data, data.given, "data")
    names = (data.rows,) if isinstance(data.rows, str) else data.rows
    if not names:
        raise ValueError("data.rows must name one or more files of words; make them with 'secateur words'")
    return OwnWords(data, [load_words(data.path(name)) for name in names], _name(names[0]))


def given_from(data: Any) -> tuple[str, Tables | list[Words]]:
    """What kind of data a user gave from Python, ``rows`` or ``words``, checked.

    Parameters
    ----------
    data
        An array or data frame of rows (or images), a pair of rows and labels, a dict of ``rows``, ``labels``,
        ``test_rows`` and ``test_labels``, or words (:func:`secateur.words`), one or a list.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If parts do not fit each other.
    """
    if isinstance(data, Words):
        return "words", [data]
    if isinstance(data, list | tuple) and data and all(isinstance(one, Words) for one in data):
        return "words", list(data)
    if isinstance(data, dict):
        unknown = set(data) - set(Tables._fields)
        if unknown or "rows" not in data:
            raise ValueError(f"data must be a dict of {', '.join(Tables._fields)}, got {', '.join(map(str, data))}")
        parts = data
    elif isinstance(data, tuple) and len(data) == 2:
        parts = {"rows": data[0], "labels": data[1]}
    else:
        parts = {"rows": data}
    arrays = {name: None if part is None else np.asarray(part) for name, part in parts.items()}
    if arrays["rows"] is None or arrays["rows"].dtype.kind not in "biuf":
        raise TypeError(
            f"data must be rows of numbers (an array or data frame), rows with labels, a dict of them, or words, got a "
            f"{type(data).__name__}"
        )
    return "rows", checked_tables(Tables(**arrays), "data")  # type: ignore[arg-type]


def write_given(given: Tables | list[Words], folder: Path) -> None:
    """Write what was given from Python into a study's folder, as :func:`named_given` names it."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(given, Tables):
        for name, array in given._asdict().items():
            if array is not None:
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
    else:
        for number, words in enumerate(given):
            words.save(folder / f"words-{number}.npz")


def named_given(given: Tables | list[Words], folder: str = "data") -> dict[str, Any]:
    """Settings that name the files of :func:`write_given`."""
    if isinstance(given, Tables):
        return {
            "dataset": "rows",
            **{name: f"{folder}/{name}.npy" for name, array in given._asdict().items() if array is not None},
        }
    return {"dataset": "words", "rows": [f"{folder}/words-{number}.npz" for number in range(len(given))]}
