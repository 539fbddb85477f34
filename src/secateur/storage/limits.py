"""How much files may ask for. Whatever asks for more is refused before any memory is taken.

A few bytes can declare, or unpack to, more than any computer holds; every reader compares what is declared with the
bound here first. The bounds are far above anything that is useful and far below what hurts.
"""

MAX_BYTES = 2**32
"""Largest file of named arrays (machines, records, checkpoints) that is read; arrays take no more than their file."""

MAX_HEADER_BYTES = 2**24
"""Longest header of such a file where only the header is read; those of task records have some ten thousand bytes."""

MAX_UNITS = 10**7
"""Most units of a layer of a stored machine."""

MAX_VALUES = 2**29
"""Most values of a table of rows of 0 and 1: 2 GiB as float32."""

MAX_WORDS_BYTES = 2**29
"""Most bytes of all arrays of a words file, unpacked: a day of 100 units in bins of 20 ms, with room to spare."""

LEAST_UNPACKED = 2**27
"""Bytes to which any recording may unpack (100 units for seven hours in bins of 20 ms); a larger one may take ..."""

MOST_UNPACKED_RATIO = 100
"""... so many times its file: sparse words pack about 60 times, zeros alone 1000 times."""

MAX_TEXT_BYTES = 2**28
"""Largest text table of a recording: about 15 million spikes, one a line."""

MAX_LABELS_BYTES = 10_000_000
"""Largest table of clusters, and largest file of parameters, in a folder of phy."""

MAX_COLUMNS = 20_000
"""Most columns of a text table of a recording."""

MAX_UNPACKED = 2**26
"""Most bytes of an unpacked IDX file; the largest of MNIST's has 47 million."""

MAX_SETTINGS_BYTES = 2**20
"""Largest file of settings (TOML)."""

MAX_PROVENANCE_BYTES = 2**24
"""Largest ``provenance.json``."""

MAX_RESULTS_BYTES = 2**28
"""Most bytes of a ``results.nc``, and of all its variables, unpacked; the largest built-in study has 30 million."""

MAX_TEXTS = 10**5
"""Most texts in one variable of a ``results.nc``."""

# What settings of studies may ask for: memory, or the number of files and numbers, grows with each of these.
MAX_TRIALS = 1000
MAX_ROUNDS = 1000
MAX_CRITERIA = 100
MAX_THREADS = 256
MAX_HIDDEN_LAYERS = 16
MAX_HIDDEN = 2**16
"""Most units of a hidden layer of a study's machine."""
MAX_SYNAPSES = 2**28
"""Most synapses between two hidden layers: 1 GiB of weights."""
MAX_EPOCHS = 10**6
MAX_CHAINS = 10**6
"""Most chains of any kind: persistent, annealing, importance."""
MAX_SAMPLES = 10**7
"""Most samples, draws, temperatures, rows of a batch or patches."""
MAX_EXAMPLES = 1000
"""Samples that are stored as images, for every trial, rule and round."""
MAX_SWEEPS = 10**7
"""Most Gibbs sweeps or mean-field updates in a row: one compiled loop, which nothing interrupts."""
MAX_SEED = 2**63 - 1
"""Largest seed that JAX takes."""
