"""How much the claims see: every claim on every defect."""

from __future__ import annotations

from collections.abc import Iterable

from refimpl._progress import track
from refimpl.conformance.claims import claims
from refimpl.conformance.defects import Defect, defects
from refimpl.conformance.runner import run_claim


def power(
    chosen: Iterable[Defect] | None = None,
    *,
    seed: int = 0,
    examples: int = 40,
    only_broken: bool = False,
    progress: bool = False,
    finished: dict[str, set[str]] | None = None,
) -> dict[str, set[str]]:
    """Claims that catch each defect, by the defect's name.

    Parameters
    ----------
    chosen : iterable of Defect, optional
        By default all.
    only_broken : bool
        Whether to run only the claims that a defect is to break, and not all.
    finished : dict, optional
        An empty one that is to take the claims: after Ctrl-C it has those that there are.
    """
    defective = list(defects() if chosen is None else chosen)
    caught = {} if finished is None else finished
    for defect in track(defective, "defects", len(defective), enabled=progress):
        adapter = defect.adapter()
        names = defect.breaks if only_broken else claims()
        runs = (
            run_claim(adapter, claims()[name], seed=seed, examples=examples, shrink=0)
            for name in names
        )
        caught[defect.name] = {result.claim for result in runs if result.status == "failed"}
    return caught


def missed(caught: dict[str, set[str]]) -> list[str]:
    """Defects that a claim they are to break lets pass."""
    return [
        f"{defect.name} passes {name}"
        for defect in defects()
        for name in defect.breaks
        if defect.name in caught and name not in caught[defect.name]
    ]
