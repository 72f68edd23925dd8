"""What a user sees of the package by ``dir``, ``help`` and tab completion."""

from __future__ import annotations

import inspect
import rlcompleter
import sys
from types import ModuleType

import pytest

import refimpl

LAZY = {"conformance", "datasets", "equations", "interop", "strategies", "theory", "truth"}


def test_dir_shows_public_names_and_nothing_else():
    assert set(dir(refimpl)) == {*refimpl.__all__, *LAZY, "__version__"}
    assert all(isinstance(getattr(refimpl, name), ModuleType) for name in LAZY)


def test_tab_completion_shows_lazy_modules():
    completer = rlcompleter.Completer({"refimpl": refimpl})
    assert completer.complete("refimpl.the", 0) == "refimpl.theory"


def test_without_hypothesis_everything_listed_can_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "refimpl.strategies", raising=False)
    monkeypatch.delattr(refimpl, "strategies", raising=False)
    with pytest.raises(ImportError, match="pip install"):
        refimpl.strategies  # noqa: B018  # the attribute is what is tested
    names = {name for name, _ in inspect.getmembers(refimpl)}
    assert names == {*refimpl.__all__, *LAZY, "__version__"} - {"strategies"}
