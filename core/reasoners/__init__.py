"""Reasoners: query and evidence to flag and explanation. One file a reasoner; see ports.Reasoner."""
