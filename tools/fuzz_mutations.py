"""Ways to spoil a file: blind ones that work on any bytes, and forged lengths, numbers and nesting in JSON."""

from __future__ import annotations

import copy
import gzip
import json
from functools import cache
from random import Random
from typing import Any

DEEP = "@deep@"
"""Stands for a nesting that no JSON or TOML writer would write; see :func:`to_json`."""

LENGTHS = (0, 1, 2, 127, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
WEIRD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 10**12, -(10**12), 2**63, 10**30, 0.5, -0.0, 1e308, -1e308),
    *(float("nan"), float("inf"), "", "x", "\x00\ud7ff", "../../etc/passwd", "<script>", "9" * 5000, [], {}, [[]]),
    *([1, 2, 3], [0], [10**12], [10**7, 10**7], ["a"], [None], [-1], {"a": 1}, DEEP, [1] * 3000, "F64", "BF16", "I32"),
)


def spoiled(rng: Random, content: bytes) -> bytes:
    """Up to three blind changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(_BLIND)(rng, bytearray(content))
    return content


def _bits(rng: Random, content: bytearray) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _run(rng: Random, content: bytearray) -> bytes:
    start, length = _piece(rng, content)
    content[start : start + length] = rng.choice((rng.randbytes(length), bytes(length), b"\xff" * length))
    return bytes(content)


def _cut(rng: Random, content: bytearray) -> bytes:
    return bytes(content[: rng.randrange(len(content) + 1)])


def _insertion(rng: Random, content: bytearray) -> bytes:
    place = rng.randrange(len(content) + 1)
    return bytes(content[:place] + rng.randbytes(rng.choice((1, 3, 64, 2000))) + content[place:])


def _removal(rng: Random, content: bytearray) -> bytes:
    start, length = _piece(rng, content)
    return bytes(content[:start] + content[start + length :])


def _duplicate(rng: Random, content: bytearray) -> bytes:
    start, length = _piece(rng, content)
    place = rng.randrange(len(content) + 1)
    return bytes(content[:place] + content[start : start + length] * rng.choice((1, 2, 20)) + content[place:])


def _length(rng: Random, content: bytearray) -> bytes:
    """Somewhere, preferably at the beginning, a number that is a length perhaps."""
    place = rng.randrange(min(len(content), rng.choice((16, 64, 1 << 20))) + 1)
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice(LENGTHS) % 256**width
    content[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
    return bytes(content)


_BLIND = (_bits, _bits, _run, _cut, _insertion, _removal, _duplicate, _length)


def _piece(rng: Random, content: bytearray) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(rng.choice((1, 4, 16, 100, 1000)), len(content) - start)


def forged(rng: Random, value: Any) -> Any:
    """A copy of a JSON value with something weird at a random place, an entry missing or one too many."""
    value = copy.deepcopy(value)
    here = value
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys or rng.random() < 0.1:
            if isinstance(here, dict):
                here[rng.choice(("extra", "sizes", "like", "__metadata__"))] = rng.choice(WEIRD)
            else:
                here.append(rng.choice(WEIRD))
            return value
        key = rng.choice(keys)
        if isinstance(here[key], dict | list) and rng.random() < 0.8:
            here = here[key]
        elif rng.random() < 0.15:
            del here[key]
            return value
        else:
            here[key] = rng.choice(WEIRD)
            return value


def to_json(rng: Random, value: Any) -> str:
    """The JSON text of a value, with deep nesting in the place of :data:`DEEP`."""
    depth = rng.choice((50, 900, 20_000))
    return json.dumps(value).replace(f'"{DEEP}"', "[" * depth + "]" * depth)


@cache
def zeros(n_bytes: int = 2**22) -> bytes:
    """Deflated zeros that can be put one after another."""
    return gzip.compress(bytes(n_bytes), 9)


def gzip_bomb(rng: Random, start: bytes = b"") -> bytes:
    """A few megabytes that unpack to one or more gigabytes, ``start`` first."""
    return gzip.compress(start) + zeros() * rng.choice((20, 300, 1000))
