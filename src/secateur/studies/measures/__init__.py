"""Measures: what a study looks at, one file each, with variables, figures and sentences; and a register of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import xarray as xr

from secateur.pruning.user_rules import find_in_module
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
    "unknown",
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

    A name is that of a measure, or ``module:Class`` of one's own, which is imported. With ``+`` before it, it comes to
    all that data and machine allow.

    Raises
    ------
    ValueError
        If a name is unknown, or one that is named needs what is not there.
    """
    there = offered(data, layer_sizes)
    named = [_named(name.removeprefix("+")) for name in names or ()]
    for measure in named:
        if missing := [NEEDS[need] for need in measure.needs if need not in there]:
            raise ValueError(
                f"measures: {measure.name!r} needs {' and '.join(missing)}, which this study lacks; leave it out"
            )
    if names is None or any(name.startswith("+") for name in names):
        return [measure for measure in MEASURES.values() if there.issuperset(measure.needs)]
    return [measure for measure in MEASURES.values() if measure in named]


def _named(name: str) -> Measure:
    """A measure by its name, or by the place of its class."""
    module, colon, attribute = name.partition(":")
    if colon:
        return _of_module(name, module, attribute)
    if name not in MEASURES:
        near = difflib.get_close_matches(name, MEASURES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(MEASURES)}, and module:Class"
        raise ValueError(f"measures: unknown measure {name!r}; {hint}")
    return MEASURES[name]


def _of_module(name: str, module: str, attribute: str) -> Measure:
    """The measure in a module of the user's, registered."""
    found = find_in_module("measure", name, module, attribute)
    if not isinstance(found, type) or not issubclass(found, Measure):
        raise ValueError(f"measure {name!r} must be a subclass of Measure, got {found!r}; write module:Class")
    known = MEASURES.get(found.name)
    if type(known) is not found:
        if known is not None and type(known).__module__ != found.__module__:
            raise ValueError(f"measure {name!r} has the name {found.name!r} of another measure; rename it")
        register(found())
    return MEASURES[found.name]


def measured(results: xr.Dataset) -> list[Measure]:
    """The measures whose figures and sentences stored results allow.

    One of the user's own must be registered: reading results imports nobody's module.
    """
    known = [m for m in MEASURES.values() if m.variables.keys() <= results.keys()]
    if "measures" in results.attrs:
        return [measure for measure in known if measure.name in _stored(results)]
    has_places = "image_shape" in results.attrs or "pixel_row" in results.attrs
    return [measure for measure in known if "image" not in measure.needs or has_places]


def unknown(results: xr.Dataset) -> list[str]:
    """Names of the measures that stored results hold, and that are not registered here."""
    return [name for name in _stored(results) if name not in MEASURES]


def _stored(results: xr.Dataset) -> list[str]:
    found = results.attrs.get("measures", [])  # netCDF makes a text of a list of one
    return [found] if isinstance(found, str) else list(found)
