"""A process that is forked after large payloads were hashed goes on hashing: BLAKE3's threads stay behind in its parent."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = """
    import os, signal, sys
    import numpy as np
    from persistable import open_store, step

    @step
    def ones(n, like=None):
        return np.ones(n)

    with open_store("store"):
        large = np.arange(4_000_000.0)
        node = ones.step(8_000_000, like=large)
        assert node.payload.sum() == 8_000_000
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            again = ones.step(8_000_000, like=large)
            assert again.key == node.key and again.load().payload.sum() == 8_000_000
            assert ones.step(7_000_000).payload.size == 7_000_000
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_forked_child_hashes_large_params_and_payloads(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, "flow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
