"""The table of verdicts, and what is likely wrong where an attack fails."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from refimpl.datasets.locate import ENVIRONMENT
from refimpl.experiments.report import number, table
from refimpl.experiments.robustness import finite
from refimpl.truth.verdict import Verdict

_WIDTH = 100
_SHOWN = 3  # complaints of rows that are printed for a problem
HEAD = ("problem", "norm", "flips", "median", "largest", "above", "at", "ms")
LEGEND = """\
flips: share of samples with an adversarial point; median, largest: its norm over the exact radius,
1 is the optimum; above: points of robust accuracy above the truth, at the radius where that is
most, which `at` names; ms: processor time a sample."""


def lines(verdicts: Sequence[Verdict], left_out: Sequence[str] = ()) -> list[str]:
    """Table, complaints and likely causes, as lines; and which problems have no data here."""
    rows = [HEAD, *(_row(each) for each in verdicts)]
    result = [*table(rows).splitlines(), "", *LEGEND.splitlines()]
    for each in verdicts:
        result += explain(each)
    if left_out:
        text = f"left out, since ${ENVIRONMENT} names no folder with their data: "
        result += ["", text + ", ".join(left_out)]
    return result


def _row(each: Verdict) -> list[str]:
    setting = each.problem.setting
    norm = f"{setting.norm:g}{'' if setting.box is None else ' box'}"
    if each.complaint:
        return [each.problem.name, norm, *["-"] * 6]
    return [
        each.problem.name,
        norm,
        f"{100 * each.flips.mean():.0f} %",
        ratio(float(np.median(each.ratio))),
        ratio(float(each.ratio.max())),
        f"{each.excess:.0f}",
        number(each.at),
        f"{1e3 * each.seconds:.2f}",
    ]


def ratio(value: float) -> str:
    """Three decimals, fewer of large ratios.

    >>> ratio(1.0004), ratio(12.34), ratio(float("inf"))
    ('1.000', '12.3', 'inf')
    """
    return f"{value:.3f}" if value < 10 else f"{value:.3g}"


def explain(each: Verdict) -> list[str]:
    """Say what is wrong with rows, and the likely cause where the problem is failed."""
    told = [f"  {each.complaint}"] if each.complaint else []
    kinds = Counter(text.split(",")[0] for text in each.complaints.values())
    shown = dict.fromkeys(kinds, 0)
    for i, text in sorted(each.complaints.items()):
        kind = text.split(",")[0]
        shown[kind] += 1
        if shown[kind] <= _SHOWN:
            told.append(f"  row {i}: {text}")
    more = {kind: kinds[kind] - _SHOWN for kind in kinds if kinds[kind] > _SHOWN}
    told += [f"  {count} more: {kind}" for kind, count in more.items()]
    if not each.complaint and each.failed:
        told += _causes(each)
    return ["", each.problem.name, *told] if told else []


def _causes(each: Verdict) -> list[str]:
    still = int((~each.moved).sum())
    told = [f"Returned as they were: {still} of {len(each.moved)} samples."] if still else []
    text = " ".join([*told, "Likely cause:", each.problem.cause])
    return textwrap.wrap(text, _WIDTH - 2, initial_indent="  ", subsequent_indent="  ")


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain values; null is infinite."""
    return [
        {
            "problem": each.problem.name,
            "norm": str(each.problem.setting.norm),
            "box": each.problem.setting.box,
            "complaint": each.complaint or None,
            "complaints": {str(i): text for i, text in sorted(each.complaints.items())},
            "flips": each.flips.tolist(),
            "norms": [finite(float(value)) for value in each.norm],
            "ratios": [finite(float(value)) for value in each.ratio],
            "radii": [finite(float(value)) for value in each.problem.radii.lower],
            "above": each.excess,
            "at": each.at,
            "seconds": each.seconds,
            "failed": bool(each.complaint) or each.failed,
        }
        for each in verdicts
    ]
