"""The checker of types at run time; like static checkers it takes an ``int`` where a ``float`` is asked for."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
