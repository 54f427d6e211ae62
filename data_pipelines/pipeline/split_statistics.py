"""Statistics of a split: objects, relations, areas, and the share of padding in a batch."""

import collections
import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from data_pipelines.pipeline.prepared import PreparedScene, SplitVisits, whole_slots
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT
from data_pipelines.scene_graphs.vocabulary import UNUSED_NAME

_MAX_BARS = 10  # of a histogram
_BAR_WIDTH = 40  # characters
_NAMES_SHOWN = 8  # of the most and of the least common
_AREA_PERCENTILES = (1, 10, 25, 50, 75, 90, 99)


@dataclasses.dataclass(frozen=True, eq=False)
class SplitStatistics:
  """Counts over S scenes with K objects in all; `__image__` and `__in_image__` are not among them.

  Attributes:
    num_objects: int64[S].
    num_relations: int64[S], of the visit that was counted.
    class_counts: objects by class name.
    predicate_counts: relations by predicate name.
    areas: float32[K], of the boxes, as a share of the image.
    num_with_masks: how many scenes have a mask that is not empty.
    num_empty_masks: how many objects have a mask that is empty.
  """

  num_objects: np.ndarray
  num_relations: np.ndarray
  class_counts: collections.Counter[str]
  predicate_counts: collections.Counter[str]
  areas: np.ndarray
  num_with_masks: int
  num_empty_masks: int

  @property
  def object_slots(self) -> np.ndarray:
    """int64[S]: how many object slots a scene needs, `__image__` among them."""
    return self.num_objects + 1

  @property
  def triple_slots(self) -> np.ndarray:
    """int64[S]: how many triple slots a scene needs, with one `__in_image__` for each object."""
    return self.num_objects + self.num_relations


def count(scenes: Iterable[PreparedScene]) -> SplitStatistics:
  """Goes through the scenes once; there must be at least one."""
  num_objects, num_relations, areas = [], [], []
  class_counts, predicate_counts = collections.Counter(), collections.Counter()
  num_with_masks = num_empty_masks = 0
  for scene in scenes:
    num_objects.append(len(scene.graph.objects))
    num_relations.append(len(scene.graph.relationships))
    class_counts.update(scene.graph.objects)
    predicate_counts.update(predicate for _, predicate, _ in scene.graph.relationships)
    areas.append(np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1))
    if scene.masks is not None:
      is_empty = ~scene.masks.any((1, 2))
      num_with_masks += not is_empty.all()
      num_empty_masks += is_empty.sum()
  return SplitStatistics(
    np.array(num_objects),
    np.array(num_relations),
    class_counts,
    predicate_counts,
    np.concatenate(areas),
    num_with_masks,
    int(num_empty_masks),
  )


def smallest_slots(needed: np.ndarray, share: float) -> int:
  """The fewest slots that hold at least `share` of the scenes.

  Args:
    needed: int[S], the slots that each scene needs.
    share: in (0, 1].
  """
  return int(np.sort(needed)[math.ceil(share * len(needed)) - 1])


def padding_share(needed: np.ndarray, num_slots: int) -> float:
  """The mean share of padding among `num_slots` slots; larger scenes are cut to them."""
  return 1 - float(np.minimum(needed, num_slots).mean()) / num_slots


def report(statistics: SplitStatistics, visits: SplitVisits) -> str:
  """The statistics of these visits as text of many lines."""
  vocabulary = visits.vocabulary
  num_scenes, num_objects = len(statistics.num_objects), len(statistics.areas)
  num_classes = len(set(vocabulary.object_names) - {UNUSED_NAME, IMAGE_OBJECT})
  percentiles = np.percentile(statistics.areas, _AREA_PERCENTILES)
  lines = [
    f'{num_scenes} scenes, {num_objects} objects, {statistics.num_relations.sum()} relations',
    f'scenes with masks: {_percent(statistics.num_with_masks / num_scenes)}; '
    f'objects with an empty mask: {_percent(statistics.num_empty_masks / num_objects)}',
    '',
    f'objects a scene: {statistics.num_objects.mean():.2f} on average',
    *_histogram(statistics.num_objects),
    '',
    f'relations a scene: {statistics.num_relations.mean():.2f} on average',
    *_histogram(statistics.num_relations),
    '',
    "area of the objects' boxes, as a share of the image",
    '  percentile ' + ''.join(f'{percentile:9d}' for percentile in _AREA_PERCENTILES),
    '  area       ' + ''.join(f'{_percent(area):>9}' for area in percentiles),
    '',
    f'classes: {len(statistics.class_counts)} of {num_classes} occur',
    *_common(statistics.class_counts),
    '',
    f'predicates: {len(statistics.predicate_counts)} of {vocabulary.num_predicates - 1} occur',
    *_common(statistics.predicate_counts),
    '',
    *_slots_table(statistics, visits),
  ]
  return '\n'.join(lines) + '\n'


def _percent(share: float) -> str:
  return f'{100 * share:.1f} %'


def _histogram(values: np.ndarray) -> list[str]:
  """A bar for each value, or for each range of values where there are many."""
  least, most = int(values.min()), int(values.max())
  width = math.ceil((most - least + 1) / _MAX_BARS)
  shares = np.bincount((values - least) // width) / len(values)
  lines = []
  for start, share in zip(range(least, most + 1, width), shares, strict=True):
    end = min(start + width - 1, most)
    label = str(start) if start == end else f'{start}-{end}'
    bar = '#' * round(_BAR_WIDTH * share / shares.max())
    lines.append(f'  {label:>7} {bar:{_BAR_WIDTH}} {_percent(share):>7}')
  return lines


def _common(counts: collections.Counter[str]) -> list[str]:
  """Names and counts in two columns, the most and the least common; in one if they are few."""
  ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
  total = counts.total()
  entries = [f'{name:24} {number:8d} {_percent(number / total):>7}' for name, number in ordered]
  if len(entries) <= 2 * _NAMES_SHOWN:
    return [f'  {entry}' for entry in entries]
  pairs = zip(entries[:_NAMES_SHOWN], reversed(entries[-_NAMES_SHOWN:]), strict=True)
  return [f'  {"most common":44}least common', *(f'  {most}   {least}' for most, least in pairs)]


def _slots_table(statistics: SplitStatistics, visits: SplitVisits) -> list[str]:
  needed = statistics.object_slots, statistics.triple_slots
  in_use, whole = (
    (visits.max_objects, visits.max_triples),
    whole_slots(visits.builder, visits.relations),
  )
  lines = [
    'slots, with __image__ and its triples, and the share of them that is padding',
    f'  {"":38}{"max_objects":>15}{"max_triples":>18}',
  ]
  rows = [('in use', in_use)]
  is_whole = all(slots >= least for slots, least in zip(in_use, whole, strict=True))
  if is_whole:
    rows.append(('enough for every scene of every split', whole))
    rows += [
      (text, [smallest_slots(values, share) for values in needed])
      for text, share in (
        ('enough for every scene of this split', 1),
        ('enough for 99 % of its scenes', 0.99),
      )
    ]
  for text, slots in rows:
    cells = [
      f'{number} ({_percent(padding_share(values, number))})'
      for values, number in zip(needed, slots, strict=True)
    ]
    lines.append(f'  {text:38}{cells[0]:>15}{cells[1]:>18}')
  if is_whole:
    lines.append(
      f'recommended: data.max_objects={whole[0]} data.max_triples={whole[1]}; fewer need '
      'data.subsample=True, which cuts larger scenes'
    )
  else:
    lines.append(
      'scenes that need more are cut to these slots and counted so; for recommendations, leave out '
      'max_objects and max_triples'
    )
  return lines
