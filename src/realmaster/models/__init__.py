"""Profiles, loading and memory; the reference attention; adapter files."""
