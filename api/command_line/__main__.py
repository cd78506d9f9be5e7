"""`python -m api.command_line` is `rapport`."""

import sys

from api.command_line import main

sys.exit(main())
