"""`python -m persistable.executors.remote FOLDER`: perform the job in that folder."""

import sys

from persistable.executors.remote.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
