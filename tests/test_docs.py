"""Examples of README and manual run, print what the pages say and make their pictures; the reference is complete."""

import importlib
import inspect
import pydoc
import re

import jax
import pytest
from pydantic import BaseModel

import page_code
import secateur
from page_code import Block, blocks, differs
from secateur.pruning import rules, schedules
from secateur.sampling import sampler
from secateur.storage import exchange
from secateur.studies import measures
from secateur.training import TrainingSettings

REFERENCE = page_code.ROOT / "docs" / "reference"


@pytest.mark.parametrize("page", page_code.pages(), ids=lambda p: p.relative_to(page_code.ROOT).as_posix())
def test_examples_run_and_print_what_the_page_says(page, monkeypatch, tmp_path):
    registries = ((rules, "RULES"), (sampler, "_FACTORIES"), (schedules, "_SCHEDULES"), (measures, "MEASURES"))
    for registry, names in registries:
        monkeypatch.setattr(registry, names, dict(getattr(registry, names)))  # what a page registers is gone after it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    # As for users: results may meet arrays of another precision.
    with jax.numpy_dtype_promotion("standard"):
        found = page_code.run(page)
    # Draws differ where the user has switched 64-bit JAX on.
    told = [differs(*one) for one in found if not (one[0].about and jax.config.read("jax_enable_x64"))]
    assert not any(told), "\n".join(filter(None, told))
    for name in page_code.pictures(page):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert (page.parent / "pictures" / name).is_file(), "make it with tools/page_code.py"


def test_what_a_page_says_is_compared(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        'x\n```python\nprint(1)\n```\n\n```text title="Output"\n2\n```\n\n```python\nprint(3)\n```\n', "utf-8"
    )
    first, second = blocks(page)
    assert (first.line, first.output, second.output) == (2, "2\n", None)
    assert "says\n2\nbut this was printed\n1\n" in differs(*page_code.run(page)[0])
    assert not differs(second, "anything\n")


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("1,000 units at 0.5\n", 1),
        ("1,090 units at 0.51\n", 1),
        ("1,200 units at 0.5\n", 0),
        ("1,000 unit at 0.5\n", 0),
    ],
)
def test_numbers_that_are_stated_about_may_differ_by_a_tenth(printed, same):
    block = Block(1, "", "1,000 units at 0.5\n", True)
    assert (differs(block, printed) == "") == bool(same)
    assert (differs(block._replace(about=False), printed) == "") == (printed == block.output)


def _documented():
    pages = (page.read_text("utf-8") for page in sorted(REFERENCE.glob("*.md")))
    return [name for page in pages for name in re.findall(r"^::: ([\w.]+)$", page, flags=re.MULTILINE)]


def _names(module):
    own = [name for name, found in vars(module).items() if getattr(found, "__module__", "") == module.__name__]
    return getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]


def test_every_public_name_is_in_the_reference_once():
    names = _documented()
    assert len(set(names)) == len(names)
    known = {id(pydoc.locate(name)) for name in names}
    modules = [secateur, exchange, *(importlib.import_module(f"secateur.{name}") for name in secateur._MODULES)]
    public = {f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in _names(module)}
    public = {name: found for name, found in public.items() if not inspect.ismodule(found)}
    assert [name for name, found in public.items() if id(found) not in known] == []


def _settings(base):
    return [
        kind
        for sub in base.__subclasses__()
        for kind in (sub, *_settings(sub))
        if kind.__module__.startswith("secateur.")
    ]


def test_help_on_settings_explains_every_field():
    found = _settings(BaseModel)
    assert TrainingSettings in found and len(found) >= 7
    for kind in found:
        for name, field in kind.model_fields.items():
            entry = re.search(rf"^{name}\n    (.+\n?(?:    .+\n?)*)", kind.__doc__, flags=re.MULTILINE)
            assert entry, f"{kind.__name__}.{name}"
            said = " ".join(entry[1].split())
            assert said.startswith(field.description or ""), said
    assert "from 1 to 1,000,000" in str(TrainingSettings.__doc__) and "default 10" in str(TrainingSettings.__doc__)
