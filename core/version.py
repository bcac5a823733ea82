"""The version that a run names as its code's."""

CODE_VERSION = "0.1.0"
