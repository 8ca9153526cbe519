from persistable.executors import ProcessExecutor


def pair(max_workers: int = 2) -> ProcessExecutor:
    return ProcessExecutor(max_workers)
