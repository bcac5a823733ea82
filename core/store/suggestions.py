"""What suggestions are made with and what came of it: settings, bases, runs and predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.prompts import PromptTemplate
from core.settings import Settings
from core.store import predictions, preferences, prompts, runs
from core.store.access import Access
from core.store.records import FailedImage, PromptRecord, RunRecord, StoredPrediction
from core.types import Prediction


class Suggestions(Access):
    """The settings, runs and predictions of a project. Every method is one transaction."""

    # ------------------------------------------------------------------ settings and bases
    def settings(self) -> Settings:
        """The saved settings, or the defaults."""
        with self._pool.read() as db:
            return preferences.settings(db)

    def save_settings(self, value: Settings) -> None:
        """Replaces the saved settings."""
        with self._pool.write() as db:
            preferences.save_settings(db, value, self._clock())

    def save_basis(self, id: str, encoder: str, blob: bytes, support_version: str) -> None:
        """Stores a fitted basis as the newest of its encoder."""
        with self._pool.write() as db:
            preferences.save_basis(db, id, encoder, blob, support_version, self._clock())

    def basis(self, encoder: str) -> tuple[str, bytes, str] | None:
        """(id, blob, support version) of the encoder's newest basis."""
        with self._pool.read() as db:
            return preferences.basis(db, encoder)

    # ------------------------------------------------------------------ prompts
    def save_prompt(self, name: str, template: PromptTemplate, author: str) -> PromptRecord:
        """The version of these words, saved under ``name`` unless they were saved before.

        InvalidSettings for a placeholder that there is not; InvalidInput for the name.
        """
        with self._pool.write() as db:
            return prompts.save(db, name, template, author, self._clock())

    def prompts(self) -> list[PromptRecord]:
        """Every saved version, the newest first."""
        with self._pool.read() as db:
            return prompts.every(db)

    def prompt(self, version: str) -> PromptRecord:
        """One version; NotFound."""
        with self._pool.read() as db:
            return prompts.get(db, version)

    def prompt_title(self, version: str) -> str:
        """What people call a version; empty where it was never saved."""
        with self._pool.read() as db:
            return prompts.title(db, version)

    def prompt_titles(self) -> dict[str, str]:
        """Version → what people call it (``vehicle clean/dirty v2``), the built-in one included."""
        with self._pool.read() as db:
            return prompts.titles(db)

    # ------------------------------------------------------------------ runs and predictions
    def start_run(
        self, encoder: str, reasoner: str, recipe: str, settings_json: str, support_version: str, code_version: str
    ) -> int:
        """Makes the run of this configuration the current one, a new run where there is none; returns its id."""
        with self._pool.write() as db:
            return runs.start(
                db,
                encoder=encoder,
                reasoner=reasoner,
                recipe=recipe,
                settings_json=settings_json,
                support_version=support_version,
                code_version=code_version,
                now=self._clock(),
            )

    def current_run(self) -> RunRecord | None:
        """The run that was started or resumed last."""
        with self._pool.read() as db:
            return runs.current(db)

    def run(self, run_id: int) -> RunRecord:
        """One run; NotFound."""
        with self._pool.read() as db:
            return runs.get(db, run_id)

    def runs(self) -> list[RunRecord]:
        """Runs, the current one first."""
        with self._pool.read() as db:
            return runs.every(db)

    def finish_run(self, run_id: int) -> RunRecord:
        """Marks a run as finished; NotFound."""
        with self._pool.write() as db:
            return runs.finish(db, run_id, self._clock())

    def save_predictions(self, run_id: int, values: Sequence[Prediction]) -> list[int]:
        """Stores predictions in one transaction; returns their ids in order; NotFound for the run or an image."""
        with self._pool.write() as db:
            return predictions.save(db, run_id, values, self._clock())

    def prediction(self, run_id: int, image: str) -> tuple[int, Prediction] | None:
        """(id, prediction) of an image in a run, None where it is not predicted yet."""
        with self._pool.read() as db:
            return predictions.of_image(db, run_id, image)

    def predictions(self, run_id: int, shas: Iterable[str]) -> dict[str, tuple[int, Prediction]]:
        """Image → (id, prediction) in a run, for those that are predicted."""
        with self._pool.read() as db:
            return predictions.of_images(db, run_id, shas)

    def prediction_by_id(self, prediction_id: int) -> Prediction:
        """One prediction, also one that was computed again since; NotFound."""
        with self._pool.read() as db:
            return predictions.get(db, prediction_id)

    def latest_prediction(self, image: str) -> StoredPrediction | None:
        """The image's prediction in the newest run that has one (complete before merely scored); None without."""
        with self._pool.read() as db:
            return predictions.latest(db, image)

    def predicted_images(self, run_id: int, *, complete: bool = True) -> set[str]:
        """Ids of the images that have a prediction in the run; with ``complete`` False also those merely scored."""
        with self._pool.read() as db:
            return predictions.predicted_images(db, run_id, complete=complete)

    def unreasoned(self, run_id: int) -> list[str]:
        """Images of the run whose reasoner has still to answer, or failed to, the least certain first."""
        with self._pool.read() as db:
            return predictions.unreasoned(db, run_id)

    def margins(self, run_id: int) -> dict[str, float]:
        """Image → margin in the run, for those that have one."""
        with self._pool.read() as db:
            return predictions.margins(db, run_id)

    def open_images(self, run_id: int, flag: int, limit: int = 4000) -> list[str]:
        """Undecided images that the run gave this flag, in order of import."""
        with self._pool.read() as db:
            return predictions.open_images(db, run_id, flag, limit)

    def count_predictions(self, run_id: int) -> int:
        """Number of images that have a prediction in the run."""
        with self._pool.read() as db:
            return predictions.count(db, run_id)

    def failed_images(self, run_id: int | None = None) -> list[FailedImage]:
        """Images that a run (the current one) could not predict, in order of import."""
        with self._pool.read() as db:
            current = runs.current(db)
            chosen = run_id if run_id is not None else (current.id if current else None)
            return [] if chosen is None else predictions.failed(db, chosen)

    def recent_milliseconds(self, run_id: int, step: str, limit: int = 40) -> list[float]:
        """How long a step (``reason``, ``score`` …) took for the last complete predictions of a run, newest first."""
        with self._pool.read() as db:
            return predictions.recent_milliseconds(db, run_id, step, limit)

    def prune_predictions(self, keep_runs: int = 3) -> int:
        """Deletes predictions of older runs, except those that an event names; returns how many."""
        with self._pool.write() as db:
            return predictions.prune(db, keep_runs)
