"""Examples at the end of every ``--help``; the tests parse all of them and run the cheap ones."""

from __future__ import annotations

_LINES = {
    "secateur": ("fit rows.npy --out machine.safetensors", "prune machine.safetensors --out pruned.safetensors"),
    "run": ("run digits --out my-run --trials 5", "run --data rows.csv --labels kind --drop subject --out own"),
    "resume": ("resume my-run", "resume my-run --workers 2"),
    "extend": ("extend my-run --trials 10", "extend my-run --criteria +random --rounds 8"),
    "report": ("report my-run", "report my-recording"),
    "studies": ("studies", "studies digits --size quick", "studies --schema"),
    "words": (
        "words spikes.csv --bin-size 0.02 --out words.npz",
        "words spikes.csv --columns time,unit --units 0,1 --bin-size 0.05 --out words.npz",
    ),
    "fit": (
        "fit words.npz --out my-recording --hidden 10",
        "fit rows.csv --drop subject --labels kind --hidden 50 --out machine.safetensors",
    ),
    "info": ("info machine.safetensors", "info words.npz", "info my-run"),
    "prune": (
        "prune machine.safetensors --criterion variance-fi --fraction 0.3 --dry-run",
        "prune machine.safetensors --rounds 5 --data rows.npy --retrain-epochs 10 --out chain",
        "prune my-recording --criterion variance-fi,random",
    ),
    "sample": ("sample machine.safetensors --n 1000 --out samples.npy",),
    "fisher": ("fisher machine.safetensors --out fisher.csv",),
    "score": (
        "score machine.safetensors held-out.npy --train rows.npy",
        "score machine.safetensors rows.csv --drop subject --labels kind --out each.npy",
    ),
    "data": ("data list", "data fetch mnist"),
    "data list": ("data list", "data list --data-dir folder"),
    "data fetch": ("data fetch mnist",),
    "data check": ("data check mnist --data-dir folder",),
}


def examples(command: str) -> str:
    """The closing lines of a command's help, which the parser leaves as they stand."""
    return "\n".join(["\b", "Examples:", *(f"  secateur {line}" for line in _LINES[command])])
