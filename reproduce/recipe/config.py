"""A whole recipe, and what follows from it: updates, images, epochs of evaluation. Imports neither torch nor NumPy."""

import dataclasses
import math
import types
from dataclasses import dataclass

from reproduce.recipe.schema import (
    RECIPE,
    SECTIONS,
    Batch,
    Communication,
    Data,
    Evaluation,
    Model,
    Optimizer,
    Precision,
    Run,
    Schedule,
    digest,
)


@dataclass(frozen=True)
class Config:
    run: Run
    data: Data
    model: Model
    batch: Batch
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    evaluation: Evaluation
    communication: Communication
    sources: types.MappingProxyType  # "section.key" -> Source
    path: str  # as given; for messages only

    def recipe(self) -> dict:
        """Everything that determines the run's mathematics, as plain JSON values."""
        return {name: dataclasses.asdict(getattr(self, name)) for name in RECIPE}

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON of `recipe`; the seed is not part of it.

        Values equal to their field's default are left out, so that a new optional field, which leaves the runs of all
        existing files as they were, leaves their hashes and published logs valid too.
        """
        return digest(self.recipe())

    # ---- derived values -------------------------------------------------------------------------------------------

    def local_batch(self, epoch: int) -> int:
        """Images per worker and update in a zero-based epoch."""
        return [batch for first, batch in self.batch.local_batch if first <= epoch][-1]

    def global_batch(self, epoch: int = 0) -> int:
        return self.batch.workers * self.local_batch(epoch)

    @property
    def optimizer_name(self) -> str:
        """As MLPerf's opt_name: lars for whatever has a trust ratio, otherwise the preset's."""
        return "lars" if self.optimizer.trust_coefficient is not None else self.optimizer.preset

    @property
    def bn_span(self) -> int:
        """Images over which batch norm's statistics are taken in the first epoch: MLPerf's model_bn_span."""
        return self.local_batch(0) * self.batch.bn_workers

    @property
    def shard_size(self) -> int:
        """Images a worker sees per epoch: rounded up, or down as the team's iterator did (facts h)."""
        per_worker = self.data.train_images / self.batch.workers
        return math.ceil(per_worker) if self.batch.epoch_rule == "ceil" else math.floor(per_worker)

    def nominal_updates(self, epoch: int) -> int:
        """Updates of a zero-based epoch as the schedules count them."""
        return math.ceil(self.shard_size / self.local_batch(epoch))

    def epoch_updates(self) -> list[int]:
        """Updates executed in each epoch.

        With "carry", the last batch of an epoch is filled from the next one and the over-run shortens a later epoch:
        86,016 at 2,048 workers gives 14 updates in ten epochs and 15 in the others, 1,340 in all (facts h). The
        un-augmented tail has an iterator, so a counter, of its own.
        """
        if self.batch.epoch_rule == "ceil":
            return [self.nominal_updates(epoch) for epoch in range(self.schedule.epochs)]
        updates, seen = [], 0
        for epoch in range(self.schedule.epochs):
            if epoch == self.first_unaugmented_epoch:
                seen = 0
            batch = self.local_batch(epoch)
            updates.append(math.ceil((self.shard_size - seen) / batch))
            seen += updates[-1] * batch - self.shard_size
        return updates

    @property
    def total_updates(self) -> int:
        return sum(self.epoch_updates())

    @property
    def total_images(self) -> int:
        """Trained on in all updates."""
        return sum(updates * self.global_batch(epoch) for epoch, updates in enumerate(self.epoch_updates()))

    def updates_at(self, epochs: float) -> int:
        """Nominal updates in the first `epochs` epochs (may be fractional), rounded to the nearest update."""
        whole = min(int(epochs), self.schedule.epochs)  # a log's recipe may name any; beyond the last all are alike
        count = sum(self.nominal_updates(epoch) for epoch in range(whole))
        return round(count + (epochs - whole) * self.nominal_updates(min(whole, self.schedule.epochs - 1)))

    @property
    def first_unaugmented_epoch(self) -> int:
        return self.schedule.epochs - self.data.unaugmented_epochs

    def evaluates_after(self, epoch: int) -> bool:
        """Whether an evaluation follows this one-based epoch; the last epoch is always evaluated."""
        due = epoch >= self.evaluation.offset and (epoch - self.evaluation.offset) % self.evaluation.every == 0
        return due or epoch == self.schedule.epochs


def of_recipe(recipe: dict) -> Config:
    """The config of a recipe read from a log, for its derived values. Raises `TypeError` for other keys than ours."""
    sections = {name: SECTIONS[name](**recipe.get(name, {})) for name in RECIPE}
    return Config(run=Run("", "", "quick"), **sections, sources=types.MappingProxyType({}), path="")
