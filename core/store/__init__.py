"""The SQLite store: schema, migrations and one module a noun."""

from core.store.records import (
    DecisionResult,
    FailedImage,
    Finding,
    Lease,
    Progress,
    PromptRecord,
    RunRecord,
    StoredPrediction,
    SupportVersion,
    UndoableEvent,
)
from core.store.store import Store
from core.store.tokens import SCOPES, TokenRecord

__all__ = [
    "SCOPES",
    "DecisionResult",
    "FailedImage",
    "Finding",
    "Lease",
    "Progress",
    "PromptRecord",
    "RunRecord",
    "Store",
    "StoredPrediction",
    "SupportVersion",
    "TokenRecord",
    "UndoableEvent",
]
