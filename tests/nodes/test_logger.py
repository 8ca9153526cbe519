"""The logger of a node: there by itself, quiet by itself, and the same in workers and after pickling."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest

from persistable import Persistable, run


class Talks(Persistable[str, None]):
    def _generate_payload(self, **_: Any) -> str:
        self.logger.warning("a warning of %s", self.payload_name)
        self.logger.info("something")
        return f"{type(self.logger).__mro__[-2].__name__} {self.logger.name}"


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_it_is_there_and_quiet(tmp_path: Path, executor: str, capfd: pytest.CaptureFixture[str]) -> None:
    node = Talks(tmp_path)
    assert run(node, executor=executor)[node].payload.endswith(" persistable.talks")
    assert capfd.readouterr().err == ""
    assert isinstance(node.logger, logging.Logger) and node.logger is logging.getLogger("persistable.talks")


def test_it_is_quiet_where_nobody_set_up_logging(tmp_path: Path) -> None:
    code = f"""
from persistable import Persistable
class Talks(Persistable[int, None]):
    def _generate_payload(self, **_):
        self.logger.error("an error")
        return 1
Talks({str(tmp_path)!r}).payload
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_whoever_listens_hears_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "persistable.talks")
    _ = Talks(tmp_path).payload
    assert [record.getMessage() for record in caplog.records if record.name == "persistable.talks"] == ["a warning of talks", "something"]


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_verbose_node_prints_it(tmp_path: Path, executor: str, capfd: pytest.CaptureFixture[str]) -> None:
    quiet, loud = Talks(tmp_path / "a", payload_name="quiet"), Talks(tmp_path / "b", verbose=True)
    run(quiet, loud, executor=executor)
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("a warning of talks\n") == printed.err.count("something\n") == 1
    assert printed.err.count("Persisted ") == 1 and "quiet" not in printed.err.replace("TestCase", "")


def test_it_survives_pickling(tmp_path: Path) -> None:
    own = logging.getLogger("my.own")
    for dumps in (pickle.dumps, cloudpickle.dumps):
        assert pickle.loads(dumps(Talks(tmp_path))).logger.name == "persistable.talks"
        assert pickle.loads(dumps(Talks(tmp_path, logger=own))).logger is own
        assert pickle.loads(pickle.dumps(pickle.loads(dumps(Talks(tmp_path, verbose=True))))).logger.level == logging.INFO
        assert pickle.loads(dumps(Talks(tmp_path, logger=logging.Logger("loose")))).logger.name == "persistable.talks"


def test_another_can_be_given_later(tmp_path: Path) -> None:
    node = Talks(tmp_path)
    node.logger = logging.getLogger("another")
    assert node.logger.name == "another" and node.replace().logger.name in ("another", "persistable.talks")
