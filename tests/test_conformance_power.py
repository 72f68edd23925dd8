"""The checks refuse what is wrong: every defect is caught by each claim that it breaks."""

from __future__ import annotations

import pytest

from refimpl.conformance import claims, report
from refimpl.conformance.defects import Defect, defects
from refimpl.conformance.power import missed, power

EXAMPLES = 4


RARE = ("BoxIgnored", "SecondOfTwo", "SmallWeightsDropped")  # need more examples than the others


@pytest.mark.parametrize(
    "defect",
    [pytest.param(it, marks=pytest.mark.slow) if it.name in RARE else it for it in defects()],
    ids=lambda defect: defect.name,
)
def test_every_defect_is_caught_by_the_claims_it_breaks(defect: Defect) -> None:
    few = missed(power([defect], only_broken=True, examples=EXAMPLES))
    assert not few or missed(power([defect], only_broken=True)) == []


def test_every_claim_has_a_defect() -> None:
    assert {name for defect in defects() for name in defect.breaks} == claims().keys()


def test_there_are_enough_defects_and_each_has_a_name_of_its_own() -> None:
    names = [defect.name for defect in defects()]
    assert len(set(names)) == len(names) >= 60


def test_a_defect_that_passes_is_reported() -> None:
    first = defects()[0]
    assert missed({first.name: set()}) == [f"{first.name} passes {c}" for c in first.breaks]


def test_the_matrix_has_a_row_for_each_defect() -> None:
    lines = list(report.matrix({"Some": {"b"}, "Other": set()}, ["a", "b"]))
    assert lines[-2:] == [".x  Some", "..  Other"]
