"""Artifacts of a container registry as inputs, by their tags."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from persistable.errors import StoreError
from persistable.families.sources.inputs import Values
from persistable.families.sources.rows import Table, names_of
from persistable.params.secret import Secret
from persistable.stores.oci.address import Address
from persistable.stores.oci.artifacts import Artifacts, at_once
from persistable.stores.oci.blobs import pull_blob
from persistable.stores.oci.credentials import secret_of
from persistable.stores.oci.manifest import MEDIA, Artifact, Blob, digest_of, read_artifact
from persistable.stores.oci.store import connected
from persistable.stores.oci.tags import DELETES_REFUSED

_DOCKER = "application/vnd.docker.distribution.manifest"
_ACCEPTED = f"{MEDIA}, {_DOCKER}.v2+json, application/vnd.oci.image.index.v1+json, {_DOCKER}.list.v2+json"


class RegistryTags(Table):
    """The tags of a repository.

    tags: a pattern, such as ``"v*"``, of the tags to include. columns: titles of the layers of the payload, a dict of bytes; one title: its
    bytes. Default: the bytes of the one layer; of several, a dict. auth, timeout: as for `OCIStore`.
    """

    has_key: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        *,
        tags: str = "*",
        columns: str | Sequence[str] | None = None,
        auth: str | Secret | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._place = Address.parse(url)
        self.url = self._place.url
        self.key = ("tag",)
        self.columns = columns
        self._pattern = tags
        self._secret = secret_of(auth)
        self._timeout = timeout

    def _artifacts(self) -> Artifacts:
        return connected(self._place, self._secret, self._timeout)

    def stamps(self) -> Iterator[tuple[Values, Any]]:
        registry = self._artifacts().registry
        wanted = sorted(tag for tag in registry.tags() if tag != DELETES_REFUSED and fnmatchcase(tag, self._pattern))
        for tag, found in at_once(self._artifact, wanted):
            if found is not None:
                yield (tag,), found.digest

    def rows(self, wanted: Sequence[Values]) -> Iterator[tuple[Values, Any, Any]]:
        for (tag,) in wanted:  # one after the other: artifacts may be large
            found = self._artifact(str(tag))
            if found is not None:
                yield (tag,), found.digest, self._payload(str(tag), found)

    def _artifact(self, tag: str) -> Artifact | None:
        manifest = self._artifacts().registry.manifest(tag, _ACCEPTED)
        try:
            return read_artifact(manifest) if manifest is not None else None
        except ValueError:
            raise self._error(tag, "is no single artifact, but an index of several perhaps; leave it out by tags=") from None

    def _payload(self, tag: str, artifact: Artifact) -> Any:
        names = names_of(self.columns)
        absent = [name for name in names or () if name not in artifact.layers]
        if absent:
            raise self._error(tag, f"has no layer {absent[0]!r}; it has {', '.join(artifact.layers) or 'none'}")
        found = {name: self._bytes(tag, artifact.layers[name]) for name in names or artifact.layers}
        return next(iter(found.values())) if isinstance(self.columns, str) or (names is None and len(found) == 1) else found

    def _bytes(self, tag: str, blob: Blob) -> bytes:
        file = io.BytesIO()
        if not pull_blob(self._artifacts().registry, blob, file) or digest_of(file.getbuffer()) != blob.digest:
            raise self._error(tag, f"has a layer that the registry has lost or damaged ({blob.digest}); push it again")
        return file.getvalue()

    def _error(self, tag: str, why: str) -> StoreError:
        return StoreError(f"{self.url}:{tag} {why}", url=self.url, path="")
