"""Import sources. One file a source."""
