"""A project's support set made ready to score with: in its stored basis, calibrated on people's labels."""

from __future__ import annotations

from core.engine import Engine
from core.scoring import FittedSupport
from core.scoring_basis import Basis
from core.store import Store
from core.types import SupportSet

LABELS_FOR_CALIBRATION = 30


def fit_support(store: Store, engine: Engine, support: SupportSet) -> tuple[FittedSupport, tuple[str, ...]]:
    """The support set fitted in its stored basis, and the names of images that had to be left out.

    A basis is fitted and stored where there is none yet, or where the set has changed by half since.
    Raises NotReady with what is missing.
    """
    records = store.images_by_id(set(support.images))
    stored = store.basis(engine.basis_key)
    basis = None
    if stored is not None and not _half_changed(store, stored[2], support):
        basis = Basis.from_bytes(stored[1])
    fitted, unusable = engine.fit(support, records, basis=basis)
    if basis is None and fitted.images:
        store.save_basis(fitted.basis.id, engine.basis_key, fitted.basis.to_bytes(), support.version)
    return fitted, tuple(records[u.image].name for u in unusable)


def _half_changed(store: Store, base: str, support: SupportSet) -> bool:
    then = {image for image, _ in store.support_members(base)}
    now = set(support.images)
    return not then or len(then ^ now) >= len(then) / 2


def calibrated_on_labels(store: Store, engine: Engine, fitted: FittedSupport) -> tuple[FittedSupport, int]:
    """The last temperature refitted on people's labels outside the support set, once there are enough.

    Returns the number of labels that it rests on: a rung of 30, 60, 120 …, so that a run is started
    anew now and then and not at every label.
    """
    support = set(fitted.images)
    classes: dict[str, set[int]] = {}
    first: dict[str, str] = {}
    for label in store.labels():
        if label.state == "labelled" and label.class_id is not None and label.image not in support:
            classes.setdefault(label.image, set()).add(label.class_id)
            first[label.image] = min(first.get(label.image, label.decided_at), label.decided_at)
    agreed = {i: next(iter(c)) for i, c in classes.items() if len(c) == 1 and next(iter(c)) in fitted.told_by_images}
    rung = calibration_rung(len(agreed))
    # The earliest labels first: the same rung has the same labels after a restart.
    images = sorted(agreed, key=lambda i: (first[i], i))[:rung]
    images = engine.cached(images)
    if not rung or len(images) < rung or len({agreed[i] for i in images}) < 2:
        return fitted, 0
    recipe = engine.settings.recipe
    logits = engine.score(fitted, images).logits
    return fitted.recalibrated(recipe, logits, [agreed[i] for i in images]), rung


def calibration_rung(labels: int) -> int:
    """The largest of 30, 60, 120 … that ``labels`` reaches; 0 below the first."""
    rung = LABELS_FOR_CALIBRATION
    if labels < rung:
        return 0
    while rung * 2 <= labels:
        rung *= 2
    return rung
