"""Exact pairs: how they are rendered, stored and read."""
