"""The how-to page on Kubernetes shows what happens. Its code needs a cluster and a bucket, so it runs here and not with the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from servers.kubernetes.standin import StandIn

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.xdist_group("kubernetes")
def test_the_code_of_the_page_runs_and_shows_the_real_result(kubernetes_standin: StandIn, s3_server: str, tmp_path: Path) -> None:
    access = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_ENDPOINT_URL": s3_server}
    client = boto3.client(
        "s3", endpoint_url=s3_server, aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1"
    )
    client.create_bucket(Bucket="results")
    kubernetes_standin.secret("bucket", **access)
    text = (ROOT / "docs/howto/kubernetes.md").read_text(encoding="utf-8").replace("```py\n", "```python\n")
    (tmp_path / "kubernetes.md").write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests/docs/run_page.py"), "kubernetes.md", "page.py"]
    environment = {
        **os.environ,
        **access,
        "KUBECONFIG": str(kubernetes_standin.kubeconfig()),
        "IMAGE": "test",
        "PYTHONPATH": str(ROOT / "persistable_pkg"),
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
