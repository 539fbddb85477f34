"""Whether an estimate can be trusted: one verdict, one warning, for whatever is sampled, annealed or resampled."""

from __future__ import annotations

import warnings
from typing import NamedTuple


class NotToBeTrusted(UserWarning):
    """An estimate came out that its own diagnostics reject; the message says why and what helps."""


class PoorFit(UserWarning):
    """A machine was trained and has learnt nothing worth having; the message says why and what helps."""


class Verdict(NamedTuple):
    """Whether an estimate can be trusted, and if not, why.

    Attributes
    ----------
    reasons
        What speaks against it, each with its remedy, in words; empty where nothing does.
    """

    reasons: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the estimate."""
        return not self.reasons

    def __str__(self) -> str:
        return "to be trusted" if self.trusted else f"NOT TO BE TRUSTED: {'; '.join(self.reasons)}"

    def joined(self, other: Verdict) -> Verdict:
        """The verdict on something that rests on two estimates: what speaks against either of them."""
        return Verdict(tuple(dict.fromkeys((*self.reasons, *other.reasons))))

    def warn(self, what: str, stacklevel: int = 2) -> None:
        """Warn, by :class:`NotToBeTrusted`, that ``what`` is not to be trusted; nothing where it is."""
        if not self.trusted:
            warnings.warn(f"{what} is {self}", NotToBeTrusted, stacklevel=stacklevel + 1)


TRUSTED = Verdict()
"""Nothing speaks against an exact result."""
