"""``python -m experiments`` is the same as ``tally``."""

import sys

from experiments.harness import cli


def main() -> int:
    """Runs the command line and returns its exit status."""
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
