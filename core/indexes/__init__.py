"""Indexes: exact nearest patches. One file an index; see ports.Index."""
