"""Times ``import refimpl`` against ``import numpy, scipy.special``, each in fresh processes.

Run as ``python tests/benchmarks/import_time.py``. The aim is a ratio of at most 1.5.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 15
TIMER = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(modules: str) -> float:
    command = [sys.executable, "-c", TIMER.format(modules)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    modules = ("numpy, scipy.special", "refimpl")
    times: dict[str, list[float]] = {name: [] for name in modules}
    for run in range(RUNS + 1):
        for name in modules:  # in turn, so that a busy machine slows both
            elapsed = seconds(name)
            if run > 0:  # the first fills the file system's cache
                times[name].append(elapsed)
    peer, ours = (statistics.median(times[name]) for name in modules)
    print(f"numpy, scipy.special {peer:.3f} s, refimpl {ours:.3f} s, ratio {ours / peer:.2f}")


if __name__ == "__main__":
    main()
