"""The routes of the HTTP API, one file a subject. They translate, and nothing else."""
