"""``python -m collector`` is ``vedette-collector``."""

import sys

from collector.cli import main

sys.exit(main())
