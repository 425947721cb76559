"""`python -m reconciler.lakectl`, for hooks and for machines without the script on their path."""

import sys

from reconciler.lakectl.main import main

sys.exit(main())
