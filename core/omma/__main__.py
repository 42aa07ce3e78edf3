"""``python -m omma`` (and ``torchrun -m omma``) is the ``omma`` command."""

import sys

from omma.cli.main import main

sys.exit(main())
