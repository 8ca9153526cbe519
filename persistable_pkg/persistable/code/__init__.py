"""Fingerprints of generating code: exact about changes, blind to comments, docstrings and layout, nearly free when nothing changed."""

from persistable.code.fingerprint import Comparison, Fingerprint, compare, is_same_code, mixed
from persistable.code.given import ATOMS, code_in
from persistable.code.live import CodeOf, code_of
from persistable.code.reference import class_reference, closure_values

__all__ = [
    "ATOMS",
    "CodeOf",
    "Comparison",
    "Fingerprint",
    "class_reference",
    "closure_values",
    "code_in",
    "code_of",
    "compare",
    "is_same_code",
    "mixed",
]
