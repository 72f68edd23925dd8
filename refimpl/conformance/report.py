"""Results in words: the table, what a failure shows, JSON, and the power matrix."""

from __future__ import annotations

import math
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from refimpl.conformance.adapter import METHODS, REGION, Adapter
from refimpl.conformance.runner import STATUSES, Failure, Result

LITERAL = 400  # arrays with more entries in all are not written out
LINES, RESULT, WIDTH = 20, 4, 100  # lines of data in a failure, of one result, and their width
NOT_ASKED, NOT_DECIDED = "not asked", "not decided"
_SMALL = 12  # entries up to which an array is shown whole, and not the row that fails
CONVENTION = "  convention another method that is right may fail this: leave it out by --exclude {}"


def table(results: Sequence[Result]) -> str:
    """Write one line for each claim whose inputs were tried, then what was not checked, and why."""
    lines = [f"{'claim':<33} {'status':<17} {'inputs':>6} {'discarded':>9}  error/bound"]
    absent = Counter[tuple[str, str]]()
    for it in results:
        if it.status == "not_implemented":
            absent[_status(it), it.detail] += 1
            if _status(it) != NOT_DECIDED:
                continue
        status = it.status.upper() if it.status == "failed" else _status(it)
        ratio = f"{it.ratio:.2g}" if it.inputs or it.status == "failed" else "-"
        counts = f"{it.inputs:>6} {it.discarded:>9}  {ratio:>11}"
        lines.append(f"{it.claim:<33} {status:<17} {counts}{'  convention' * it.convention}")
    lines += [
        f"{status}, {count} claim{'s' * (count > 1)}: {why}"
        for (status, why), count in absent.items()
    ]
    changed = Counter(it.detail for it in results if it.status == "passed" and it.detail)
    lines += [
        f"passed, {count} claim{'s' * (count > 1)}: but {what}" for what, count in changed.items()
    ]
    return "\n".join(lines)


def _status(result: Result) -> str:
    """Word of a status; of three kinds of "not_implemented" only an absent method is called so."""
    if not result.asked:
        return NOT_ASKED
    if result.status == "not_implemented" and result.discarded:
        return NOT_DECIDED
    return result.status.replace("_", " ")


def strays(adapter: Adapter) -> list[str]:
    """Write one line for each public method that no claim asks for: it may be misspelt.

    >>> class Mine(Adapter):
    ...     def outptus(self, W, b, A, c, x): ...
    >>> strays(Mine())
    ['no claim asks for the method outptus: is it outputs, misspelt?']
    """
    kind = type(adapter)
    own = sorted({*dir(kind)} - {*dir(Adapter), *METHODS})
    names = [name for name in own if not name.startswith("_") and callable(getattr(kind, name))]
    return [f"no claim asks for the method {name}{_meant(name)}" for name in names]


def _meant(name: str) -> str:
    close = get_close_matches(name, METHODS, n=1)
    return f": is it {close[0]}, misspelt?" if close else ""


def summary(results: Sequence[Result]) -> str:
    """How many results there are of each status."""
    counts = Counter(map(_status, results))
    names = [*(status.replace("_", " ") for status in STATUSES), NOT_ASKED, NOT_DECIDED]
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name])


def explain(result: Result, adapter: Adapter) -> str:
    """Show a failure: the claim, its equation, the smallest input found, what came, a snippet."""
    lines = [
        f"FAILED {result.claim}",
        f"  equation   {result.equation}",
        f"  property   {result.statement}",
        f"  meaning    {result.consequence}",
    ]
    if result.convention:
        lines.append(CONVENTION.format(result.claim))
    failure = result.failure
    if failure is None:
        return "\n".join([*lines, f"  finding    {result.detail}"])
    lines += [f"  finding    {failure.message}"]
    lines += _data(failure)
    if _measured(failure):
        lines += [f"  error      {_ratio(failure.ratio)}"]
    lines += [f"  | {line}" for line in failure.traceback.rstrip().splitlines()]
    lines += ["  reproduce", *(f"    {line}" for line in snippet(result, adapter).splitlines())]
    return "\n".join(lines)


def _measured(failure: Failure) -> bool:
    """Whether there is an error to say: of a value, and not of one that is infinite."""
    if failure.expected is None or isinstance(failure.expected, str):
        return False
    both = (np.asarray(it, float) for it in (failure.expected, failure.got))
    return math.isfinite(failure.ratio) or all(np.isfinite(it).all() for it in both)


def _data(failure: Failure) -> list[str]:
    """Lines of input, expected and got, at most `LINES`; of large results the row that fails."""
    results: list[str] = []
    for name, value in (("expected", failure.expected), ("got", failure.got)):
        if isinstance(value, str):
            results.append(f"  {name:<10} {value}")
        elif value is not None:
            results += _cut(f"  {_row(name, value, failure.row)}", RESULT)
    words = [*(f"  input      {line}" for line in _assignments(failure)), *_given(failure)]
    inputs = [part for line in words for part in _cut(line, LINES)]
    room = LINES - len(results)
    if len(inputs) > room:
        more = f"  ...        {len(inputs) - room + 1} lines more, from the code below"
        inputs = [*inputs[: room - 1], more]
    return inputs + results


def _row(name: str, value: Any, row: int | None) -> str:
    """Write a result, or the row that fails where there are more than a few entries."""
    rows = np.shape(value)[:1]
    if row is None or np.size(value) <= _SMALL or row >= (*rows, 0)[0]:
        return f"{name:<10} {literal(value)}"
    return f"{f'{name}[{row}]':<10} {literal(np.asarray(value)[row])}"


def _given(failure: Failure) -> list[str]:
    """Write what the last call was given beside the case, or in place of what stands there.

    Of samples it is the row that fails.
    """
    if failure.call is None or failure.case.recipe:
        return []
    lines = []
    for name, value in failure.call[1].items():
        if np.array_equal(failure.case.get(name, np.nan), value):
            continue
        of_row = name in ("x", "y") and failure.row is not None and failure.row < len(value)
        words = (f"{name}[{failure.row}]", value[failure.row]) if of_row else (name, value)
        label = "in a call" if name in failure.case else "input"
        lines.append(f"  {label:<10} {words[0]} = {literal(words[1])}")
    return lines


def _cut(line: str, most: int) -> list[str]:
    """Break a line after the column of names, and leave out what is beyond so many lines."""
    parts = textwrap.wrap(line, WIDTH, subsequent_indent=" " * 13, break_on_hyphens=False)
    return parts if len(parts) <= most else [*parts[: most - 1], f"{' ' * 13}..."]


def _ratio(ratio: float) -> str:
    exact = "where the result is to be exact"
    return exact if math.isinf(ratio) else f"{ratio:.3g} times the bound on rounding"


def snippet(result: Result, adapter: Adapter) -> str:
    """Python code that repeats a failure, to be pasted as it is."""
    failure = result.failure
    assert failure is not None
    module, name, call = _source(adapter)
    code = ["import numpy as np", "from numpy import array, inf, nan"]
    code += [f"from {module} import {name}", "from refimpl.conformance import Probe, replay"]
    if call != name and type(adapter).__init__ is not object.__init__:
        code.append(f"# {call} stands for the adapter as you made it")
    code.append("")
    if failure.case.recipe:
        made = f"case = cases.{failure.case.recipe}"
        code[-1:] = ["from refimpl.conformance import cases", "", made]
        arguments = "**case"
    else:
        code += _assignments(failure)
        arguments = ", ".join(f"{name}={name}" for name in failure.case)
        code += _last_call(failure, f'{call}, "{result.dtype}"')
    code += [f'replay({call}, "{result.claim}", dtype="{result.dtype}", {arguments})']
    code[-1] += f"  # raises: {failure.message.splitlines()[0]}"
    return "\n".join(code)


def _source(adapter: Adapter) -> tuple[str, str, str]:
    """Name the adapter: module, name, and expression; an instance by its name, else its class."""
    for module, content in list(sys.modules.items()):
        for name, value in list(getattr(content, "__dict__", {}).items()):
            if value is adapter:
                return module, name, name
    kind = type(adapter)
    return kind.__module__, kind.__name__, f"{kind.__name__}()"


def _assignments(failure: Failure) -> list[str]:
    """Write the input as assignments, or as the call that makes it."""
    if failure.case.recipe:
        return [f"case = {failure.case.recipe}"]
    return [f"{name} = {literal(value)}" for name, value in failure.case.items()]


def _last_call(failure: Failure, probe: str) -> list[str]:
    """Line that makes the call that the failure came from, arguments by name where they are."""
    if failure.call is None:
        return []
    method, values = failure.call
    if sum(np.size(value) for value in values.values()) > LITERAL:
        return []
    words = (
        f"{name}=" * (name in REGION)
        + (name if np.array_equal(failure.case.get(name, np.nan), value) else literal(value))
        for name, value in values.items()
    )
    return [f"print(Probe({probe}).{method}({', '.join(words)}))"]


def literal(value: Any) -> str:
    """Python source of a value on one line; large arrays by their shape."""
    if isinstance(value, np.ndarray) and value.size > LITERAL:
        return f"array of shape {value.shape}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return f"array({value.tolist()})"
    return repr(value)


def as_json(results: Sequence[Result], adapter: Adapter, seed: int) -> dict[str, Any]:
    """Results as JSON: numbers that JSON does not have become strings."""
    return {
        "adapter": adapter.name,
        "dtype": results[0].dtype if results else str(adapter.dtype),
        "seed": seed,
        "results": [_record(result, adapter) for result in results],
    }


def _record(result: Result, adapter: Adapter) -> dict[str, Any]:
    names = ("claim", "status", "equation", "statement", "detail", "inputs", "discarded", "seconds")
    record = {name: getattr(result, name) for name in names}
    record |= {"convention": result.convention, "asked": result.asked}
    record["ratio"] = result.ratio if math.isfinite(result.ratio) else str(result.ratio)
    if result.failure is not None:
        record["failure"] = {
            "input": _assignments(result.failure),
            "expected": literal(result.failure.expected),
            "got": literal(result.failure.got),
            "traceback": result.failure.traceback,
            "reproduce": snippet(result, adapter),
        }
    return record


def matrix(caught: Mapping[str, set[str]], claims: Sequence[str]) -> Iterator[str]:
    """Yield the claim by defect matrix: a row for each defect, x where a claim catches it."""
    for number, claim in enumerate(claims):
        yield f"{number % 10}{'.' * (number + 1)} {claim}"
    yield ""
    for defect, by in caught.items():
        yield f"{''.join('x' if claim in by else '.' for claim in claims)}  {defect}"
