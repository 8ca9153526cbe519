"""What the pages find when they run."""

from __future__ import annotations

import pytest
from servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def s3_environment(s3_server: str) -> dict[str, str]:
    """Environment variables under which `s3://team-results` is a bucket of a real HTTP server on this machine."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="team-results")
    client.close()
    return {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="session")
def postgres_environment(postgres_server: PostgresServer) -> dict[str, str]:
    """Environment variables under which `postgresql:///team` is a database of a real server on this machine."""
    with postgres_server.admin() as admin:
        admin.execute("CREATE DATABASE team")
    with postgres_server.admin("team") as admin:
        admin.execute("CREATE TABLE measured (id text PRIMARY KEY, wavelength float8, counts int[], note text)")
        admin.execute("INSERT INTO measured VALUES ('a', 1.5, '{1,2}'), ('b', 2.5, '{3,4}')")
    return {"PGHOST": "127.0.0.1", "PGPORT": str(postgres_server.port), "PGUSER": "postgres"}
