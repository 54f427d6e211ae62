"""Which metric of validation tells the best checkpoint: settings.best_metric."""

import math
from collections.abc import Iterator, Mapping

from data_pipelines.scene_graphs.errors import Fault
from sg2im_jax.losses import GENERATOR_TERMS
from sg2im_jax.metrics.image_metrics import KID
from sg2im_jax.metrics.layout_metrics import LAYOUT_METRICS

# Of every metric that can tell it: whether higher is better. Spreads have no better direction.
HIGHER_IS_BETTER: dict[str, bool] = {
  **{
    metric.name: metric.higher_is_better
    for metric in (*LAYOUT_METRICS, KID)
    if metric.higher_is_better is not None
  },
  **{term.name: False for term in GENERATOR_TERMS if term.validated},
}


def faults(name: str, *, has_backbone: bool, has_masks: bool) -> Iterator[Fault]:
  """The fault of a best_metric that validation will not give.

  Args:
    name: settings.best_metric.
    has_backbone: validation computes KID.
    has_masks: the model predicts masks.
  """
  if name not in HIGHER_IS_BETTER:
    yield Fault('best_metric', f'is {name!r}, expected one of {", ".join(HIGHER_IS_BETTER)}')
  if name == KID.name and not has_backbone:
    yield Fault('best_metric', 'is kid, which needs an eval_backbone, such as efficientnet-lite0')
  if name == 'mask' and not has_masks:
    yield Fault('best_metric', 'is mask, but this model predicts no masks; choose another')


def quality(name: str, metrics: Mapping[str, float]) -> float:
  """How good metrics are by the metric `name`: higher is better, -inf if it is missing or nan."""
  value = metrics.get(name, float('nan'))
  if not math.isfinite(value):
    return float('-inf')
  return value if HIGHER_IS_BETTER[name] else -value
