"""Offer spoiled files to every reader of secateur: ``python tools/fuzz.py [--cases 10000] [--seed 0]``.

A case must end in a refusal (ValueError, TypeError or OSError with one line that names the file) or in a sound result,
within 20 seconds and one gigabyte. Everything else is a failure, which is printed with how to repeat it; the exit code
is then 1. Cases run in child processes with a limit on memory, so that a crash is a failure like any other.
"""

from __future__ import annotations

import argparse
import re
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fuzz_kinds import Kind, Sealed, kinds

MOST_SECONDS = 20.0
MOST_BYTES = 2**30
CHUNK = 2500
"""Cases of one child process."""
START_SECONDS = 300.0
"""A child process must be ready by then; compiling and importing may be slow on a busy computer."""


def main() -> int:
    """Run the cases and print a table; 1 if there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="cases, spread evenly over the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to repeat one")
    parser.add_argument("--kinds", default="", help="only kinds whose names begin so, e.g. recording")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _child(options.seed, options.first, options.cases, options.kinds)
    started, counts, failures, peak = time.monotonic(), Counter[tuple[str, str]](), list[str](), 0
    for kind, outcome, detail in _outcomes(options.seed, options.first, options.first + options.cases, options.kinds):
        if kind == "peak":
            peak = max(peak, int(outcome))
            continue
        counts[kind, outcome] += 1
        if outcome == "failed":
            failures.append(f"{kind}: {detail}")
            print(failures[-1], flush=True)
    print(f"{'kind':<14}{'cases':>8}{'refused':>9}{'read':>8}{'failures':>10}")
    for kind in [*dict.fromkeys(kind for kind, _ in counts), "all"]:
        refused, read, failed = (
            sum(n for (one, outcome), n in counts.items() if kind in (one, "all") and outcome == wanted)
            for wanted in ("refused", "read", "failed")
        )
        print(f"{kind:<14}{refused + read + failed:>8}{refused:>9}{read:>8}{failed:>10}")
    print(f"{time.monotonic() - started:.0f} s; peak memory of a child process {peak / 2**20:.0f} MiB")
    return int(bool(failures))


def run_case(name: str, kind: Kind, seed: int, number: int, folder: Path) -> tuple[str, str]:
    """``refused``, ``read`` or ``failed``, and why, for one case; ``folder`` is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    content = kind.content(Random(f"{seed} {name} {number}"))
    path = folder / kind.file
    path.write_bytes(content)
    if isinstance(content, Sealed):
        (folder / "sealed").touch()
    before, started = _peak_bytes(), time.monotonic()
    try:
        kind.read(path)
        outcome, detail = "read", ""
    except (ValueError, TypeError, OSError) as error:
        fault = _fault(str(error), path)
        outcome, detail = (
            ("failed", f"{fault}: {type(error).__name__}: {str(error)[:300]!r}") if fault else ("refused", "")
        )
    except Exception as error:
        outcome, detail = "failed", f"{type(error).__name__}: {str(error)[:300]!r}"
    seconds, grown = time.monotonic() - started, _peak_bytes() - before
    if seconds > MOST_SECONDS or grown > MOST_BYTES:
        outcome, detail = "failed", f"{seconds:.1f} s and {grown / 2**20:.0f} MiB; then {outcome} {detail}"
    return outcome, detail


def _fault(message: str, path: Path) -> str | None:
    """What is wrong with the message of a refusal."""
    if path.name not in message and path.parent.name not in message:
        return "the message does not name the file"
    if "\n" in message or len(message) > 1000 + 3 * len(str(path)):
        return "the message is no line that can be read"
    if re.search(r"\b(un)?able to allocate|out of memory|MemoryError", message):
        return "memory was asked for"
    return None


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _child(seed: int, first: int, cases: int, wanted: str) -> int:
    """Print a line for the beginning and the end of every case."""
    with tempfile.TemporaryDirectory(prefix="secateur-fuzz-") as temporary:
        folder = Path(temporary)
        found = [item for item in kinds(folder).items() if item[0].startswith(wanted)]
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_BYTES + 2**28, resource.RLIM_INFINITY))
        # A warning is no refusal, and no crash either.
        warnings.simplefilter("ignore")
        print("ready", flush=True)
        for number in range(first, first + cases):
            name, kind = found[number % len(found)]
            print(f"begins\t{name}", flush=True)
            outcome, detail = run_case(name, kind, seed, number, folder / "case")
            print(f"{outcome}\t{detail}".replace("\n", " "), flush=True)
        print(f"peak\t{_peak_bytes()}", flush=True)
    return 0


def _outcomes(seed: int, first: int, end: int, wanted: str) -> Iterator[tuple[str, str, str]]:
    """Kind, outcome and detail of every case; a child that dies or stalls is a failure of its case."""
    while first < end:
        cases = min(CHUNK, end - first)
        command = [
            sys.executable,
            __file__,
            "--child",
            "--seed",
            str(seed),
            "--first",
            str(first),
            "--cases",
            str(cases),
            "--kinds",
            wanted,
        ]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        kind = "start"
        for word, detail in _lines(child):
            if word == "begins":
                kind = detail
            elif word == "peak":
                yield "peak", detail, ""
            elif word != "ready":
                yield kind, word, f"{detail} (--seed {seed} --first {first} --cases 1 --kinds '{wanted}')"
                first, cases, kind = first + 1, cases - 1, "start"
        if cases and kind == "start":
            raise RuntimeError(f"the child process ended with {child.returncode} before its next case; run it by hand")
        if cases:
            yield (
                kind,
                "failed",
                f"died or stalled ({child.returncode}) (--seed {seed} --first {first} --cases 1 --kinds '{wanted}')",
            )
            first += 1


def _lines(child: subprocess.Popen[bytes]) -> Iterator[tuple[str, str]]:
    """Words and details that a child prints; it is killed when it is silent for too long."""
    assert child.stdout is not None
    patience, rest = START_SECONDS, b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while selector.select(patience):
            piece = child.stdout.read1(1 << 16)  # type: ignore[attr-defined] # a buffered pipe
            if not piece:
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                word, _, detail = line.decode(errors="replace").partition("\t")
                yield word, detail
                patience = 3 * MOST_SECONDS
    child.kill()
    child.wait()


if __name__ == "__main__":
    sys.exit(main())
