"""Measures: what a study looks at, one file each, with variables, figures and sentences; and a register of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import xarray as xr

from secateur.studies.measures.anatomy import Anatomy
from secateur.studies.measures.annealed_likelihood import AnnealedLikelihood
from secateur.studies.measures.conditional_samples import ConditionalSamples
from secateur.studies.measures.controls import Controls
from secateur.studies.measures.divergence import Divergence
from secateur.studies.measures.encoding import Encoding
from secateur.studies.measures.exact_likelihood import ExactLikelihood
from secateur.studies.measures.example_samples import ExampleSamples
from secateur.studies.measures.fisher_spectrum import FisherSpectrum
from secateur.studies.measures.importances import Importances
from secateur.studies.measures.lost_pixels import LostPixels
from secateur.studies.measures.measure import NEEDS, Measure, Measured, Shown, Stage, Trials, offered
from secateur.studies.measures.pattern_frequencies import PatternFrequencies
from secateur.studies.measures.receptive_fields import ReceptiveFields
from secateur.studies.measures.sample_scores import SampleScores
from secateur.studies.measures.sample_statistics import SampleStatistics
from secateur.studies.measures.size import Size
from secateur.studies.measures.spike_likelihood import SpikeLikelihood
from secateur.studies.measures.sweep_time import SweepTime
from secateur.studies.measures.synapse_fate import SynapseFate
from secateur.studies.measures.training_history import TrainingHistory
from secateur.studies.schema import STAGE, Variable
from secateur.studies.sources import Rows

__all__ = [
    "NEEDS",
    "STAGE",
    "Measure",
    "Measured",
    "Shown",
    "Stage",
    "Trials",
    "Variable",
    "chosen",
    "measured",
    "offered",
    "register",
]

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        FisherSpectrum(),
        Encoding(),
        PatternFrequencies(),
        Divergence(),
        ExactLikelihood(),
        AnnealedLikelihood(),
        SpikeLikelihood(),
        Anatomy(),
        ReceptiveFields(),
        LostPixels(),
        Size(),
        SweepTime(),
        SampleStatistics(),
        SampleScores(),
        ConditionalSamples(),
        ExampleSamples(),
        SynapseFate(),
        Importances(),
        Controls(),
        TrainingHistory(),
    )
}
"""All measures by name, in the order of the report."""


def register(measure: Measure) -> None:
    """Make a measure part of every study whose data and machine offer what it needs.

    Raises
    ------
    TypeError
        If it is no measure.
    ValueError
        If it needs what no study offers, or stores a variable of another measure.
    """
    if not isinstance(measure, Measure):
        raise TypeError(
            f"measure must be an object of a subclass of Measure, got {measure!r}; "
            f"write register({getattr(measure, '__name__', 'MyMeasure')}())"
        )
    if unknown := set(measure.needs) - set(NEEDS):
        raise ValueError(f"measure {measure.name!r} needs {sorted(unknown)}; it may need {', '.join(NEEDS)}")
    for other in MEASURES.values():
        if other.name != measure.name and (both := measure.variables.keys() & other.variables.keys() - _SHARED):
            raise ValueError(f"measure {measure.name!r} stores {sorted(both)}, as {other.name!r} does; rename them")
    MEASURES[measure.name] = measure


_SHARED = set(ExactLikelihood.variables) & set(AnnealedLikelihood.variables)


def chosen(names: Sequence[str] | None, data: Rows, layer_sizes: Sequence[int]) -> list[Measure]:
    """The measures of a study: those named, or all that data and machine allow.

    Raises
    ------
    ValueError
        If a name is unknown, or one that is named needs what is not there.
    """
    there = offered(data, layer_sizes)
    if names is None:
        return [measure for measure in MEASURES.values() if there.issuperset(measure.needs)]
    for name in names:
        if name not in MEASURES:
            near = difflib.get_close_matches(name, MEASURES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(MEASURES)}"
            raise ValueError(f"measures: unknown measure {name!r}; {hint}")
        if missing := [NEEDS[need] for need in MEASURES[name].needs if need not in there]:
            raise ValueError(f"measures: {name!r} needs {' and '.join(missing)}, which this study lacks; leave it out")
    return [MEASURES[name] for name in MEASURES if name in names]


def measured(results: xr.Dataset) -> list[Measure]:
    """The measures whose figures and sentences stored results allow."""
    named = results.attrs.get("measures")
    known = [m for m in MEASURES.values() if m.variables.keys() <= results.keys()]
    if named is not None:
        names = [named] if isinstance(named, str) else list(named)
        return [measure for measure in known if measure.name in names]
    has_places = "image_shape" in results.attrs or "pixel_row" in results.attrs
    return [measure for measure in known if "image" not in measure.needs or has_places]
