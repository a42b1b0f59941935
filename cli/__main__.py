"""`python -m fourdthinker.cli`, the form that `accelerate launch -m` and `torchrun -m` take."""

import sys

from .main import main

sys.exit(main())
