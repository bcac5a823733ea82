"""The pipeline and its domain: no UI, no HTTP, no printing (see README, "The house")."""
