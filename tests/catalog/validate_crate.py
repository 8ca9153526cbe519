"""Validate an RO-Crate by the validator of PyPI, in whose environment this runs: prints the issues as JSON.

    python validate_crate.py CRATE CONTEXT

CONTEXT is the file of the JSON-LD context of RO-Crate, which every crate names by its URL: nothing is asked of the web.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

crate, context = sys.argv[1:]


class Answer:
    """The context, as an HTTP library would give it."""

    status_code = 200
    text = Path(context).read_text(encoding="utf-8")
    headers = {"Content-Type": "application/ld+json"}  # noqa: RUF012

    def json(self) -> Any:
        return json.loads(self.text)


def get(_self: Any, url: str, **_: Any) -> Answer:
    if url.startswith("https://w3id.org/ro/crate/") and url.endswith("/context"):
        return Answer()
    raise ConnectionError(f"{url} is not to be asked for")


HttpRequester.get = get
settings = models.ValidationSettings(
    rocrate_uri=crate, profile_identifier="ro-crate-1.1", requirement_severity=models.Severity.RECOMMENDED, offline=True
)
result = services.validate(settings)
issues = [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
checks = len(result.executed_checks)
print(json.dumps({"passed": result.passed(models.Severity.RECOMMENDED), "issues": issues, "checks": checks}))
