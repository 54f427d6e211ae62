"""What a metric is, to those who compute, log and print it.

The metrics themselves: LAYOUT_METRICS of `layout_metrics`, IMAGE_METRICS of `image_metrics`,
OBJECT_METRICS of `classification`. A record in one of these tuples is all that a metric needs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
  """A score of layouts, of pictures or of objects.

  Attributes:
    name: in evaluation.json and in the log.
    label: in tables.
    value: computes it from what all metrics of its kind share; a number, [mean, standard deviation]
      or None where there is nothing to score.
    higher_is_better: None where neither direction is.
    is_share: between 0 and 1, shown as a percentage.
    factor: of the numbers in tables.
    decimals: of a number in tables; a mean with its standard deviation has one more.
  """

  name: str
  label: str
  value: Callable[[Any], Any]
  higher_is_better: bool | None
  is_share: bool = False
  factor: float = 1.0
  decimals: int = 3

  def text(self, value: int | float | Sequence[float] | None) -> str:
    """The value as tables show it."""
    if value is None:
      return 'none'
    if isinstance(value, Sequence):
      mean, deviation = (f'{self.factor * part:.{self.decimals + 1}f}' for part in value)
      return f'{mean} ± {deviation}'
    return f'{value:.1%}' if self.is_share else f'{self.factor * value:.{self.decimals}f}'


def score_all(metrics: Sequence[Metric], scored: Any) -> dict[str, Any]:
  """The value of each metric by name; `scored` is what the metrics of this kind share."""
  return {metric.name: metric.value(scored) for metric in metrics}
