"""Whether the checks depend on luck: right implementations at many seeds, defects at a few.

    python tests/benchmarks/conformance_seeds.py [--right 20] [--wrong 5] [--examples 40]

Prints every claim that a right implementation fails, and every defect that a claim which it breaks
lets pass; exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import time

from refimpl.conformance import Reference, check
from refimpl.conformance.defects import Plain, PlainSingle, defects
from refimpl.conformance.power import missed, power
from refimpl.conformance.runner import EXAMPLES, _pools


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--right", type=int, default=20, help="seeds for right implementations")
    parser.add_argument("--wrong", type=int, default=5, help="seeds for defects")
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    args = parser.parse_args()
    trouble = 0
    for seed in range(max(args.right, args.wrong)):
        start = time.monotonic()
        if seed < args.right:
            for adapter in (Reference, Plain, PlainSingle):
                results = check(adapter, seed=seed, examples=args.examples, shrink=False)
                for result in results:
                    if result.status == "failed":
                        trouble += 1
                        print(f"seed {seed}: {adapter.name} fails {result.claim}: {result.detail}")
        if seed < args.wrong:
            lapses = missed(power(seed=seed, examples=args.examples, only_broken=True))
            trouble += len(lapses)
            for lapse in lapses:
                print(f"seed {seed}: {lapse}")
        _pools.clear()
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"{len(defects())} defects; {trouble} times wrong")
    return 1 if trouble else 0


if __name__ == "__main__":
    raise SystemExit(main())
