"""`persistable worker`: what executors run elsewhere."""

from __future__ import annotations

from persistable.executors.remote.worker import main


def worker(job: str, /) -> int:
    """Perform a job that an executor has put into a folder, and write its answers there.

    Parameters
    ----------
    job
        The folder of the job.
    """
    return main([job])
