"""Nodes that bring bytes in and out: `HttpGet` and `Upload`."""

from persistable.transfer.get import HttpGet, HttpGetParams
from persistable.transfer.upload import Upload, UploadParams

__all__ = ["HttpGet", "HttpGetParams", "Upload", "UploadParams"]
