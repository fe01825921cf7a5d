"""Agents of a package that jepawm-bench has never heard of."""
