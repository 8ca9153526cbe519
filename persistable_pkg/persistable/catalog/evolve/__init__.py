"""Renaming of names, params and classes, adoption of files, and import of folders of earlier versions."""
