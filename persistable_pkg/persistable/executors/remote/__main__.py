"""`python -m persistable.executors.remote JOB`: perform a job, as `persistable worker JOB` does, which needs the extra ``cli``."""

import sys

from persistable.executors.remote.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
