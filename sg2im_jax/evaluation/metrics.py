"""What a metric is, to those who compute, log and print it."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
  """A score of layouts, of pictures or of objects.

  Attributes:
    name: in evaluation.json and in the log.
    label: in tables.
    value: computes it from what the metrics of its kind share; None where several metrics come from
      one computation.
    higher_is_better: None where neither direction is.
    is_share: between 0 and 1, shown as a percentage.
  """

  name: str
  label: str
  value: Callable[[Any], float | None] | None = None
  higher_is_better: bool | None
  is_share: bool = False


# Of pictures; `image_metrics` computes them.
KID = Metric(name='kid', label='KID x 1000', higher_is_better=False)
IMAGE_METRICS = (
  Metric(name='inception_score', label='Inception score', higher_is_better=True),
  Metric(name='fid', label='FID', higher_is_better=False),
  KID,
  Metric(name='precision', label='precision', higher_is_better=True, is_share=True),
  Metric(name='recall', label='recall', higher_is_better=True, is_share=True),
  Metric(name='diversity', label='diversity', higher_is_better=None),
)
