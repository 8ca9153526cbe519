"""Bundles, published folders and views."""
