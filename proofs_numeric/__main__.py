"""``python -m proofs_numeric`` is ``refimpl prove``."""

import sys

from refimpl.cli import main

sys.exit(main(["prove", *sys.argv[1:]]))
