"""One query → one Prediction, through ports only: retrieve → score → reason, with what adds up to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import contributions, evidence
from core.calibration import Temperatures
from core.contributions import Cells
from core.errors import InvalidInput, NotReady
from core.evidence import Pick
from core.heatmap import default_scales, fit_scales
from core.indexes import create_index
from core.ports import Index, Reasoner, ReasonRequest
from core.reasoning import ask
from core.scoring import FittedSupport, Scores, combine, fit_scores, joined, leave_one_out, whole_of, with_text
from core.scoring_basis import Basis
from core.scoring_patch import Matches, PatchHalf
from core.scoring_text import ClassTexts, prior_of
from core.scoring_whole import DEFAULT_PENALTY, WholeHalf
from core.settings import RECIPES, PipelineSettings
from core.types import (
    Answer,
    Calibrated,
    ClassScore,
    Embeddings,
    Float32,
    Prediction,
    QueryImage,
    Reasoning,
    Status,
    SupportSet,
)

__all__ = ["Basis", "FittedSupport", "Pipeline", "Scores"]

Float64 = NDArray[np.float64]

_CHUNK = 32  # queries scored at once: bounds memory, not speed


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What is known of a query before the reasoner is asked."""

    request: ReasonRequest
    embedding: Embeddings
    matches: Matches
    scores: Scores
    order: list[int]
    part: Cells
    picks: list[Pick]
    ms: dict[str, float]


class Pipeline:
    """Fits support sets and predicts queries under one configuration. Holds no state of its own.

    ``load_support`` gives the image of a support key to a reasoner that looks at pictures.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        settings: PipelineSettings,
        index: Index | None = None,
        *,
        load_support: Callable[[str], Image.Image] | None = None,
    ) -> None:
        self.reasoner, self.settings, self._load_support = reasoner, settings, load_support
        self._index = index or create_index("numpy-exact")

    # ------------------------------------------------------------------ support
    def fit(
        self,
        support: SupportSet,
        embeddings: Embeddings | None,
        *,
        support_sizes: Mapping[str, tuple[int, int]],
        support_names: Mapping[str, str],
        encoder_id: str,
        basis: Basis | None = None,
        texts: ClassTexts | None = None,
    ) -> FittedSupport:
        """Everything that depends on the support set alone, leave-one-out included.

        ``embeddings[i]`` belongs to ``support.images[i]`` (None for no images); sizes are (width, height) of the
        upright originals. ``basis`` keeps an earlier one; without it one is fitted here. The result does not depend
        on the order of the images. With the ``texts`` of all classes they count beside the images, and alone where
        fewer than two classes have some. Raises NotReady where there is nothing to compare, InvalidInput when an
        image is there twice or the basis is another encoder's.
        """
        given = 0 if embeddings is None else len(embeddings)
        if given != len(support.images):
            raise ValueError(f"{len(support.images)} support images but {given} embeddings")
        if len(set(support.images)) != len(support.images):
            raise InvalidInput("The same image is twice in the support set. Remove it from one of its classes.")
        counts = support.k_shot
        classes = tuple(c for c in support.classes if counts[c.id])
        without = tuple(c for c in support.classes if not counts[c.id])
        if len(classes) < 2 or embeddings is None:
            if texts is not None and len(support.classes) > 1:
                return self._by_names(support, texts, encoder_id)
            raise NotReady(_too_few(len(classes), [c.name for c in support.classes if counts[c.id]]))
        column = {c.id: i for i, c in enumerate(classes)}
        y = np.array([column[class_id] for class_id in support.class_ids], np.int64)
        order = sorted(range(len(y)), key=lambda i: (y[i], support.images[i]))
        images = tuple(support.images[i] for i in order)
        embeddings, y = embeddings[np.array(order)], y[order]
        if basis is None:
            basis = Basis.fit(
                embeddings.patches,
                embeddings.whole,
                pca_axes=self.settings.pca_axes,
                shrinkage=self.settings.shrinkage,
            )
        elif len(basis.mean) != embeddings.patches.shape[-1] or len(basis.whole_mean) != embeddings.whole.shape[-1]:
            raise InvalidInput("The basis was fitted for another encoder. Fit a new one from the support images.")
        patch, whole, temperatures, calibrated, matches, usable = fit_scores(
            embeddings, y, len(classes), basis=basis, k=self.settings.k_retrieval, index=self._index
        )
        text, said = None, None
        if texts is not None:
            whole_embeddings = whole_of(embeddings)
            text = prior_of(texts, classes + without, whole_embeddings, y)
            said = text.log_probabilities(whole_embeddings)[:, : len(classes)]
            temperatures = with_text(temperatures, matches, whole.loo, said, y, usable)
        return FittedSupport(
            version=support.version,
            encoder_id=encoder_id,
            classes=classes,
            without_images=without,
            images=images,
            names=tuple(support_names.get(image, image[:12]) for image in images),
            sizes=tuple(support_sizes[image] for image in images),
            y=y,
            grid=embeddings.grid,
            basis=basis,
            patch=patch,
            whole=whole,
            temperatures=temperatures,
            calibrated=calibrated,
            leave_one_out=leave_one_out(
                temperatures, matches, whole.loo, y, usable, images, tuple(c.id for c in classes), said
            ),
            heat_scale=fit_scales(temperatures, matches, whole.loo, usable, said),
            text=text,
        )

    def _by_names(self, support: SupportSet, texts: ClassTexts, encoder_id: str) -> FittedSupport:
        """No two classes can be compared by images: their names and descriptions alone."""
        nothing, none = np.zeros((0, 0)), np.zeros(0, np.int64)
        return FittedSupport(
            version=support.version,
            encoder_id=encoder_id,
            classes=(),
            without_images=support.classes,
            images=(),
            names=(),
            sizes=(),
            y=none,
            grid=(1, 1),
            basis=Basis.none(),
            patch=PatchHalf(np.zeros((0, 1, 0), np.float32), (0,), self.settings.k_retrieval, self._index),
            whole=WholeHalf(nothing, nothing, nothing, DEFAULT_PENALTY),
            temperatures=Temperatures(),
            calibrated=Calibrated.NAMES,
            leave_one_out={},
            heat_scale=default_scales(1),
            text=prior_of(texts, support.classes, nothing, none),
        )

    # ------------------------------------------------------------------ queries
    def score_only(self, fitted: FittedSupport, embeddings: Embeddings, *, recipe: str | None = None) -> Scores:
        """(n, C) scores of many queries, columns as ``fitted.class_ids``; no evidence, no explanation."""
        recipe = recipe or self.settings.recipe
        return self._scored(fitted, embeddings, (recipe,))[recipe]

    def score_recipes(self, fitted: FittedSupport, embeddings: Embeddings) -> dict[str, Scores]:
        """Every recipe's scores of many queries, for a comparison: matched once, weighed four ways."""
        return self._scored(fitted, embeddings, RECIPES)

    def _scored(self, fitted: FittedSupport, embeddings: Embeddings, recipes: Sequence[str]) -> dict[str, Scores]:
        parts: dict[str, list[Scores]] = {recipe: [] for recipe in recipes}
        for start in range(0, len(embeddings), _CHUNK):
            matches, ridge, text = self._halves(fitted, embeddings[start : start + _CHUNK])
            for recipe in recipes:
                parts[recipe].append(combine(recipe, fitted.temperatures, matches, ridge, text))
        return {recipe: joined(found, len(fitted.class_ids)) for recipe, found in parts.items()}

    def predict(
        self,
        fitted: FittedSupport,
        queries: Sequence[QueryImage],
        embeddings: Embeddings,
        *,
        reasoner: Reasoner | None = None,
        on_text: Callable[[str, str], None] | None = None,
    ) -> list[Prediction]:
        """One Prediction a query, in order; ``embeddings[i]`` belongs to ``queries[i]``.

        With ``embeddings.whole_map`` the whole half is drawn on the heatmap; without it, it is one entry of
        its own. Either way contributions add up to the difference of logits. ``reasoner`` is asked instead of
        the pipeline's own; ``on_text`` hears (key of the query, explanation so far) from one that streams.
        """
        asked = reasoner or self.reasoner
        if len(queries) != len(embeddings):
            raise ValueError(f"{len(queries)} queries but {len(embeddings)} embeddings")
        predictions = []
        for start in range(0, len(queries), _CHUNK):
            part = embeddings[start : start + _CHUNK]
            clock = time.perf_counter()
            matches, ridge, text = self._halves(fitted, part)
            scores = combine(self.settings.recipe, fitted.temperatures, matches, ridge, text)
            ms = (time.perf_counter() - clock) * 1000 / len(part)
            found = []
            for row, query in enumerate(queries[start : start + _CHUNK]):
                one = Matches(matches.similarities[row : row + 1], matches.rows[row : row + 1])
                rows = _row(scores, row)
                found.append(self._find(fitted, query, part[row : row + 1], one, rows, ms, on_text))
            clock = time.perf_counter()
            answers = ask(asked, [f.request for f in found])
            reason_ms = (time.perf_counter() - clock) * 1000 / len(found)
            predictions += [self._tell(fitted, f, a, asked, reason_ms) for f, a in zip(found, answers, strict=True)]
        return predictions

    def _halves(self, fitted: FittedSupport, part: Embeddings) -> tuple[Matches, Float64, Float64 | None]:
        """The matches, which evidence needs under every recipe, the ridge's outputs (n, K), and log p_text (n, C)."""
        whole = whole_of(part)
        text = None if fitted.text is None else fitted.text.log_probabilities(whole)
        if not fitted.classes:
            n, (gh, gw) = len(part), part.grid
            shape = (n, gh * gw, 0, fitted.patch.k)
            return Matches(np.zeros(shape, np.float32), np.zeros(shape, np.int64)), np.zeros((n, 0)), text
        matches = fitted.patch.match(project(fitted.basis, part.patches))
        return matches, fitted.whole.scores(fitted.basis.centre(whole)[0]), text

    def _find(
        self,
        fitted: FittedSupport,
        query: QueryImage,
        embedding: Embeddings,
        matches: Matches,
        scores: Scores,
        score_ms: float,
        on_text: Callable[[str, str], None] | None,
    ) -> _Found:
        """Scores, contributions and evidence of one query: all that a reasoner is asked with."""
        ms, clock = {"score": round(score_ms, 3)}, time.perf_counter()
        recipe, grid = self.settings.recipe, embedding.grid
        order = [int(c) for c in np.argsort(-scores.logits[0], kind="stable")]
        part = contributions.cells(fitted, recipe, matches, embedding, scores, order[0], order[1])
        picks = evidence.choose(
            matches,
            part,
            [c for c in order if c < len(fitted.classes)],
            grid=grid,
            support_patches=fitted.patch.z.shape[1],
            per_class=self.settings.max_patches_per_class,
        )
        shown = evidence.build(fitted, matches, part, picks, grid=grid, width=query.width, height=query.height)
        class_scores = _class_scores(fitted, scores)
        ms["evidence"] = round((time.perf_counter() - clock) * 1000, 3)
        request = ReasonRequest(
            query=query,
            classes=fitted.classes + fitted.without_images,
            scores=class_scores,
            evidence=shown,
            support_names=dict(zip(fitted.images, fitted.names, strict=True)),
            calibrated=fitted.calibrated.value,
            load_support=self._load_support,
            on_text=None if on_text is None else partial(on_text, query.key),
        )
        return _Found(request, embedding, matches, scores, order, part, picks, ms)

    def _tell(
        self, fitted: FittedSupport, found: _Found, answer: Answer, reasoner: Reasoner, reason_ms: float
    ) -> Prediction:
        """The prediction, told for the flag that the reasoner answered; the scores stand whatever it said."""
        query, shown, part, order = found.request.query, found.request.evidence, found.part, found.order
        matches, embedding, scores = found.matches, found.embedding, found.scores
        recipe, grid = self.settings.recipe, embedding.grid
        runner_up = order[1]
        if answer.flag is not None and answer.flag != fitted.class_ids[order[0]]:
            # The reasoner disagrees with the scores: everything is told for its flag, numbers stay as cited.
            flag = fitted.class_ids.index(answer.flag)
            runner_up = order[0]
            part = contributions.cells(fitted, recipe, matches, embedding, scores, flag, runner_up)
            size = {"width": query.width, "height": query.height}
            shown = evidence.build(fitted, matches, part, found.picks, grid=grid, **size)
        p = np.sort(scores.probabilities[0])
        return Prediction(
            image=query.key,
            status=answer.status,
            flag=answer.flag,
            runner_up=fitted.class_ids[runner_up],
            margin=float(p[-1] - p[-2]),
            scores=found.request.scores,
            evidence=shown,
            contributions=contributions.summarise(fitted, part, grid),
            explanation=answer.explanation,
            cited_evidence=answer.cited_evidence,
            transcript=answer.transcript,
            encoder=fitted.encoder_id,
            reasoner=reasoner.id,
            recipe=recipe,
            support_version=fitted.version,
            calibrated=fitted.calibrated,
            reason=answer.reason,
            reasoning=_reasoning(reasoner, answer),
            class_probabilities=answer.class_probabilities if is_slow(reasoner) else None,
            dropped_citations=answer.dropped_citations,
            prompt=getattr(reasoner, "prompt_version", ""),
            ms={**found.ms, "reason": round(reason_ms, 3)},
        )


def project(basis: Basis, patches: Float32) -> Float32:
    """(n, gh, gw, d) → whitened (n, gh·gw, m)."""
    n, gh, gw, d = patches.shape
    return basis.project(patches.reshape(n, gh * gw, d))


def _row(scores: Scores, row: int) -> Scores:
    one = slice(row, row + 1)
    return Scores(
        scores.logits[one],
        scores.probabilities[one],
        None if scores.patch is None else scores.patch[one],
        None if scores.whole is None else scores.whole[one],
        None if scores.text is None else scores.text[one],
    )


def _class_scores(fitted: FittedSupport, scores: Scores) -> tuple[ClassScore, ...]:
    def of(part: Float64 | None, c: int) -> float | None:
        return None if part is None or c >= part.shape[1] else float(part[0, c])

    return tuple(
        ClassScore(
            class_id=class_id,
            probability=float(scores.probabilities[0, c]),
            logit=float(scores.logits[0, c]),
            patch=of(scores.patch, c),
            whole=of(scores.whole, c),
            text=of(scores.text, c),
        )
        for c, class_id in enumerate(fitted.class_ids)
    )


def is_slow(reasoner: Reasoner) -> bool:
    """Whether people would wait for it, so that scores and evidence are shown first."""
    return bool(getattr(reasoner, "slow", False))


def _reasoning(reasoner: Reasoner, answer: Answer) -> Reasoning:
    if not is_slow(reasoner):
        return Reasoning.NONE
    return Reasoning.FAILED if answer.status is Status.FAILED else Reasoning.ANSWERED


def _too_few(count: int, names: list[str]) -> str:
    if count == 0:
        return "No class has a support image yet. Add a few example images to at least two classes."
    return f"Only the class {names[0]!r} has support images. Add example images to at least one more class."
