"""What a machine is: parameters, structure, energy, exact sums, mean field; and the door that checks what is given."""

from secateur.model import enumeration, exact, trials
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.trust import NotToBeTrusted, Verdict

__all__ = ["Machine", "NotToBeTrusted", "PairwiseModel", "Verdict", "enumeration", "exact", "trials"]
