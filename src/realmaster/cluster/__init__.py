"""Many machines as one: the same stages on Ray."""
