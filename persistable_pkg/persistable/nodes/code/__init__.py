"""Fingerprints of generating code: exact about changes, blind to comments, docstrings and layout, nearly free when nothing changed."""

from persistable.nodes.code.fingerprint import LIBRARY, Comparison, Fingerprint, SentFingerprint, compare, is_same_code, mixed
from persistable.nodes.code.live import CodeOf, code_of
from persistable.nodes.code.param_code import ATOMS, Thing, code_in
from persistable.nodes.code.project_name import project_at, project_of
from persistable.nodes.code.reference import (
    Main,
    class_reference,
    closure_values,
    is_same_place,
    is_sending,
    main_name,
    sending,
    sent_from,
    sent_main,
)
from persistable.nodes.code.scripts import MARK, mark_of
from persistable.params import reducers

reducers.main_source_digest = mark_of  # `params` is a lower layer and cannot import the modules that read sources

__all__ = [
    "ATOMS",
    "LIBRARY",
    "MARK",
    "CodeOf",
    "Comparison",
    "Fingerprint",
    "Main",
    "SentFingerprint",
    "Thing",
    "class_reference",
    "closure_values",
    "code_in",
    "code_of",
    "compare",
    "is_same_code",
    "is_same_place",
    "is_sending",
    "main_name",
    "mark_of",
    "mixed",
    "project_at",
    "project_of",
    "sending",
    "sent_from",
    "sent_main",
]
