"""``python -m hogwild``, which is what ``torchrun -m hogwild`` runs in each process."""

import sys

from hogwild.cli import main

sys.exit(main())
