"""``python -m refimpl`` is the command ``refimpl``."""

from refimpl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
