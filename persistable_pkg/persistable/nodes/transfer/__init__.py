"""Nodes that download and upload: `HttpGet` and `Upload`."""

from persistable.nodes.transfer.http import HttpGet, HttpGetParams
from persistable.nodes.transfer.upload import Upload, UploadParams

__all__ = ["HttpGet", "HttpGetParams", "Upload", "UploadParams"]
