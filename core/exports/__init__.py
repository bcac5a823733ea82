"""Export formats. One file a format: it defines `export(...)`."""
