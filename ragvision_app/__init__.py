"""RAG Vision Workbench, delivery: the pages, the HTTP API and the command line around ``core``."""

__version__ = "0.1.0"
