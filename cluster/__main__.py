"""`python -m cluster`: the command csgen, also where its script is not on the path."""

import sys

from cluster.cli import main

sys.exit(main())
