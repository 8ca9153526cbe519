"""JSON-like values as YAML, for people to read and edit."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, ClassVar

from persistable.errors import need
from persistable.fileio.base import Sink
from persistable.fileio.json import JsonLikeFileIO


class YamlFileIO(JsonLikeFileIO):
    """JSON-like values, exactly; refuses the same values as JsonFileIO. Loading uses the safe loader, which creates no other objects.

    Dates and other YAML types in files made by hand load as PyYAML reads them. Needs the extra yaml.
    """

    name: ClassVar[str] = "YamlFileIO"
    needs = (("yaml", "pyyaml", "yaml"),)
    suffix = ".yaml"

    def dump(self, payload: Any, file: BinaryIO) -> None:
        yaml = need("yaml", "pyyaml", "yaml", "YamlFileIO")
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        sink: Any = Sink(file)
        text = io.TextIOWrapper(sink, encoding="utf-8", newline="\n")
        yaml.dump(payload, text, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
        text.flush()

    def load(self, file: Any) -> Any:
        yaml = need("yaml", "pyyaml", "yaml", "YamlFileIO")
        try:
            return yaml.load(file.read(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError, TypeError, AttributeError) as error:
            raise self._malformed(str(error)) from error
