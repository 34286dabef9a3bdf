"""`python -m tunflow`."""

import sys

from tunflow.cli import main

sys.exit(main())
