"""``python -m agent`` is ``vedette-agent``."""

import sys

from agent.cli import main

sys.exit(main())
