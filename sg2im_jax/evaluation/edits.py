"""Scores of edits: real scenes, each changed once in every way (`sampling/changes.py`).

As Dhamo et al. ("Semantic image manipulation using scene graphs", CVPR 2020) score reconstruction,
inside the region that a change repaints and outside of it: mean absolute difference, structural
similarity (SSIM, Wang et al. 2004) and a perceptual distance (`Backbone.distance_maps`). Beyond it,
whether a change did what it says: the classifiers of real objects and attributes look at the object
that was changed, and where an object that was moved is seen is measured in pixels.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from data_pipelines.pipeline.prepared import PreparedScene, SplitVisits
from data_pipelines.scene_graphs.graph import SceneGraph
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES
from sg2im_jax.evaluation.attributes import AttributeClassifier, AttributedCrops
from sg2im_jax.evaluation.backbones import Backbone
from sg2im_jax.evaluation.classification import Classifier, Crops, cut
from sg2im_jax.evaluation.pictures import Scenes, resized
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.metrics.image_metrics import (
  FeatureStatistics,
  difference_maps,
  frechet_distance,
  similarity_maps,
)
from sg2im_jax.metrics.layout_metrics import relation_holds
from sg2im_jax.metrics.metric import Metric, score_all
from sg2im_jax.models.warping import object_canvases
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling import editor
from sg2im_jax.sampling.changes import (
  Add,
  Appearance,
  Box,
  Change,
  Describe,
  ImageCrop,
  Move,
  Relate,
  Remove,
  Replace,
)
from sg2im_jax.sampling.editor import EditedScene
from sg2im_jax.sampling.placed_scene import PlacedScene
from sg2im_jax.sampling.scene_objects import (
  LARGEST,
  SMALLEST,
  SceneObject,
  areas,
  most_alike,
  objects_of,
)
from sg2im_jax.sampling.trained_model import TrainedModel

_SEEN = 0.1  # change of a pixel, of the range from black to white, at which an object is seen there
# In the order in which they are made: what is added again was removed. `anew` samples an object's
# appearance in its place; how well the picture is reconstructed is seen from it.
_KINDS = ('anew', 'replace', 'remove', 'add', 'move', 'relate', 'describe', 'appearance')
_OPPOSITES = {'left of': 'right of', 'right of': 'left of'}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoredEdits:
  """Edits of one kind: what the metrics of edits share.

  Attributes:
    kept: of each edit, the share of pixels outside of its region that are as before.
    outside: of each edit, the mean absolute difference there if the whole picture is painted.
    named: how often the changed object is named as it should be; None where it is gone.
    as_asked: how often, or how much, the change did what it says, see AS_ASKED; None for a replaced
      object, of which the name says it.
  """

  kept: Sequence[float]
  outside: Sequence[float]
  named: float | None
  as_asked: float | None


# What `as_asked` is, by kind of change.
AS_ASKED = {
  'remove': 'what is gone is no longer named',
  'add': 'geometric relations kept',
  'move': 'IoU of the pixels where the object is seen and of its mask where it was put',
  'relate': 'the relation holds',
  'describe': 'attributes seen',
  'appearance': 'nearer than before to the object that it was taken from',
}
EDIT_METRICS = (
  Metric(
    name='num_edits',
    label='edits',
    value=lambda scored: len(scored.kept),
    higher_is_better=None,
    decimals=0,
  ),
  Metric(
    name='kept',
    label='pixels kept outside',
    value=lambda scored: float(np.mean(scored.kept)),
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='outside',
    label='MAE outside, all painted',
    value=lambda scored: float(np.mean(scored.outside)),
    higher_is_better=False,
    decimals=4,
  ),
  Metric(
    name='named',
    label='named',
    value=lambda scored: scored.named,
    higher_is_better=True,
    is_share=True,
  ),
  Metric(
    name='as_asked',
    label='as asked',
    value=lambda scored: scored.as_asked,
    higher_is_better=True,
    is_share=True,
  ),
)


def scores(
  model: TrainedModel,
  scenes: Scenes,
  protocol: Protocol,
  backbone: Backbone,
  real_features: Float[np.ndarray, 'R D'],
  of_classes: Classifier,
  of_attributes: AttributeClassifier | None,
) -> dict[str, Any] | None:
  """Changes the first `num_edited` scenes in every way, and looks at what comes out.

  Args:
    model: a token model.
    scenes: that are evaluated.
    protocol: of the evaluation.
    backbone: of its pictures.
    real_features: of the real images of the scenes.
    of_classes: trained on real objects of other images.
    of_attributes: likewise; None for a model that knows none.

  Returns:
    num_scenes, num_pictures: that were changed, and that came out.
    fid: of the pictures `before` and `edited`.
    reconstruction: inside and outside of an object's region, from tokens that are all `encoded` and
      with that object's appearance `sampled`: mae, ssim, distance.
    of: EDIT_METRICS by kind of change.
    None if fewer than two of the scenes have an object.
  """
  prepared = _prepared(scenes, model, protocol.num_edited)
  if len(prepared) < 2:
    return None
  run = _Edits(model, prepared, protocol.seed)
  run.make()
  before, edited = (
    FeatureStatistics.of(backbone(resized(np.stack(pictures), protocol.image_size)).features)
    for pictures in (run.before, run.edited)
  )
  real = FeatureStatistics.of(real_features)
  return {
    'num_scenes': len(run.before),
    'num_pictures': len(run.edited),
    'fid': {
      'before': frechet_distance(before, real),
      'edited': frechet_distance(edited, real),
    },
    'reconstruction': {
      name: _reconstruction(paintings, run.before, run.regions, backbone)
      for name, paintings in run.paintings.items()
    },
    'of': {
      kind: score_all(EDIT_METRICS, scored)
      for kind, scored in run.scored(of_classes, of_attributes).items()
    },
  }


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Made:
  """An edit that was made.

  Attributes:
    picture: after it.
    box: where the changed object is or was.
    name: of its class.
    attributes: that it was asked to have.
    kept, outside: see `ScoredEdits`.
    as_asked: likewise, where no classifier tells it.
  """

  picture: UInt8[np.ndarray, 'H W 3']
  box: Float[np.ndarray, ' 4']
  name: str
  attributes: tuple[str, ...] = ()
  kept: float
  outside: float
  as_asked: float | None = None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Plan:
  """What is changed in a scene.

  Attributes:
    scene: the scene.
    chosen: the object that is changed in most ways.
    changes: one of each of `_KINDS` that can be made.
    donor: of the appearance that the object gets; None if there is none.
  """

  scene: PreparedScene
  chosen: int
  changes: Mapping[str, Change]
  donor: SceneObject | None


class _Edits:
  """Makes the edits of an evaluation.

  Attributes:
    before: the pictures of the scenes.
    edited: the pictures after each edit.
    regions: float32[H, W], of the object of each scene that is changed.
    paintings: of each scene, all `encoded` and with the object's appearance `sampled`.
    made: the edits by kind.
  """

  def __init__(self, model: TrainedModel, scenes: Sequence[PreparedScene], seed: int):
    self._model, self._settings, self._scenes, self._seed = model, model.settings, scenes, seed
    self._random = np.random.default_rng(seed)
    self._objects = objects_of(scenes)
    self.before: list[np.ndarray] = []
    self.edited: list[np.ndarray] = []
    self.regions: list[np.ndarray] = []
    self.paintings: dict[str, list[np.ndarray]] = {'encoded': [], 'sampled': []}
    self.made: dict[str, list[_Made]] = {}

  def make(self):
    """Makes all edits of all scenes, those of one kind together."""
    with tempfile.TemporaryDirectory() as directory:
      plans = [
        self._plan(scene, pathlib.Path(directory, f'{row}.png'))
        for row, scene in enumerate(self._scenes)
      ]
      starts = editor.starts(
        self._model,
        [scene.image for scene in self._scenes],
        [PlacedScene.of_prepared(scene) for scene in self._scenes],
      )
      edited: list[dict[str, EditedScene]] = [{} for _ in plans]
      for kind in reporting.with_progress(
        _KINDS, total=len(_KINDS), noun='kinds of edits', images_each=len(plans)
      ):
        rows = [row for row, plan in enumerate(plans) if kind in plan.changes]
        if rows:
          found = editor.steps(
            self._model,
            [edited[row]['remove'] if kind == 'add' else starts[row] for row in rows],
            [plans[row].changes[kind] for row in rows],
            seeds=[self._seed + row for row in rows],
          )
          for row, after in zip(rows, found):
            edited[row][kind] = after
    for start, plan, of_scene in zip(starts, plans, edited):
      self._collect(start, plan, of_scene)

  def _plan(self, scene: PreparedScene, donor_picture: pathlib.Path) -> _Plan:
    """What is changed in a scene; the picture of the donor of an appearance is written."""
    graph, boxes, chosen = scene.graph, scene.boxes, self._chosen(scene)
    box, name, attributes = boxes[chosen], graph.objects[chosen], graph.attributes_of(chosen)
    changes: dict[str, Change] = {
      'anew': Replace(change='replace', object=chosen, by=name, attributes=attributes)
    }
    other = self._fitting(scene, box, lambda found: found != name)
    if other is not None:
      changes['replace'] = Replace(change='replace', object=chosen, by=other.name)
    if len(graph.objects) > 1:
      changes['remove'] = Remove(change='remove', object=chosen)
      changes['add'] = _add_again(graph, chosen)
      target = self._place_beside(box)
      if target is not None:
        changes['move'] = Move(change='move', object=chosen, box=target)
    turned = [one for one in graph.relationships if can_change_side(one, graph, boxes)]
    if turned:
      subject, predicate, of = turned[self._random.integers(len(turned))]
      changes['relate'] = Relate(
        change='relate', subject=subject, predicate=_OPPOSITES[predicate], object=of
      )
    described = self._attributes_of_another(scene)
    if described is not None:
      changes['describe'] = described
    donor = self._fitting(scene, box, lambda found: found == name)
    if donor is not None:
      Image.fromarray(donor.scene.image).save(donor_picture)
      crop = ImageCrop(image=str(donor_picture), box=tuple(donor.box.astype(float).tolist()))
      changes['appearance'] = Appearance(change='appearance', object=chosen, of=crop)
    return _Plan(scene=scene, chosen=chosen, changes=changes, donor=donor)

  def _place_beside(self, box: Float[np.ndarray, ' 4']) -> Box | None:
    """A box sideways of another one that overlaps it by half at most; None if there is no room."""
    box = box.astype(float)
    width = box[2] - box[0]
    to_left, to_right = box[0] - width / 2, 1 - box[2] - width / 2
    if max(to_left, to_right) <= 0:
      return None
    free = self._random.uniform(-max(to_left, 0), max(to_right, 0))
    shift = free + np.copysign(width / 2, free)
    x0, y0, x1, y1 = np.clip(box + [shift, 0, shift, 0], 0, 1).tolist()
    return x0, y0, x1, y1

  def _attributes_of_another(self, scene: PreparedScene) -> Describe | None:
    """An object gets the attributes of one of its class in another scene."""
    graph, options = scene.graph, []
    if not graph.attributes:
      return None
    for index in np.flatnonzero(areas(scene.boxes) >= SMALLEST):
      own = set(graph.attributes[index])
      options += [
        (int(index), donor)
        for donor in self._objects
        if donor.scene is not scene
        and donor.name == graph.objects[index]
        and donor.attributes
        and set(donor.attributes) != own
      ]
    if not options:
      return None
    index, donor = options[self._random.integers(len(options))]
    return Describe(change='describe', object=index, attributes=donor.attributes)

  def _collect(self, start: EditedScene, plan: _Plan, edited: Mapping[str, EditedScene]):
    """Takes the edits of one scene."""
    anew = edited['anew']
    self.before.append(start.picture)
    self.regions.append(anew.region)
    self.paintings['encoded'].append(start.painting)
    self.paintings['sampled'].append(anew.painting)

    chosen, boxes = plan.chosen, plan.scene.boxes
    name, box = plan.scene.graph.objects[chosen], boxes[chosen]
    for kind, after in edited.items():
      change = plan.changes[kind]
      if kind == 'replace':
        assert isinstance(change, Replace)
        self._add(kind, start, [after], box, change.by)
      elif kind == 'remove':
        self._add(kind, start, [after], box, name)
      elif isinstance(change, Add):
        added = after.scene.boxes[-1]
        self._add(
          kind,
          start,
          [edited['remove'], after],
          added,
          name,
          as_asked=_kept_relations(change, after),
        )
      elif isinstance(change, Move):
        target = np.array(change.box, np.float32)
        iou = self._seen_where_put(start, plan, after, edited['remove'])
        self._add(kind, start, [after], target, name, as_asked=iou)
      elif isinstance(change, Relate):
        subject, other = change.subject, change.object
        found = after.scene.boxes
        holds = float(relation_holds(found[subject], change.predicate, found[other]))
        self._add(
          kind, start, [after], found[subject], plan.scene.graph.objects[subject], as_asked=holds
        )
      elif isinstance(change, Describe):
        index = change.object
        assert index is not None
        self._add(
          kind, start, [after], boxes[index], plan.scene.graph.objects[index], change.attributes
        )
      elif plan.donor is not None and kind == 'appearance':
        nearer = _nearer(plan.donor, box, start.picture, after.picture)
        self._add(kind, start, [after], box, name, as_asked=nearer)

  def _seen_where_put(
    self, start: EditedScene, plan: _Plan, moved: EditedScene, gone: EditedScene
  ) -> float:
    """IoU of the pixels where a moved object is seen and of its mask where it was put."""
    # What differs from the scene without the object is the object.
    seen = difference_maps(moved.painting, gone.painting) > _SEEN
    masks = start.scene.masks if plan.scene.masks is None else plan.scene.masks
    assert masks is not None
    canvas = object_canvases(
      moved.scene.boxes[None, [plan.chosen]],
      masks[None, [plan.chosen]].astype(np.float32),
      seen.shape,
      align_corners=self._settings.model.align_corners,
    )
    there = np.asarray(canvas)[0, ..., 0] > 0.5
    return float((seen & there).sum() / max((seen | there).sum(), 1))

  def _add(
    self,
    kind: str,
    start: EditedScene,
    steps: Sequence[EditedScene],
    box: np.ndarray,
    name: str,
    attributes: tuple[str, ...] = (),
    as_asked: float | None = None,
  ):
    after = steps[-1]
    outside = np.max([one.region for one in steps], 0) == 0
    self.edited.append(after.picture)
    if not outside.any():
      return
    self.made.setdefault(kind, []).append(
      _Made(
        picture=after.picture,
        box=box,
        name=name,
        attributes=attributes,
        kept=float((after.picture == start.picture).all(-1)[outside].mean()),
        outside=float(difference_maps(after.painting, start.picture)[outside].mean()),
        as_asked=as_asked,
      )
    )

  def _chosen(self, scene: PreparedScene) -> int:
    """An object that is neither tiny nor most of the picture; the smallest if there is none."""
    covered = areas(scene.boxes)
    fitting = np.flatnonzero((covered >= SMALLEST) & (covered <= LARGEST))
    return int(self._random.choice(fitting)) if len(fitting) else int(covered.argmin())

  def _fitting(
    self, scene: PreparedScene, box: np.ndarray, accepted: Callable[[str], bool]
  ) -> SceneObject | None:
    """Of the objects of other scenes that whose box is most like this one."""
    return most_alike(
      self._objects, box, lambda found: found.scene is not scene and accepted(found.name)
    )

  def scored(
    self, of_classes: Classifier, of_attributes: AttributeClassifier | None
  ) -> dict[str, ScoredEdits]:
    """What the metrics are of, by kind of change."""
    return {
      kind: ScoredEdits(
        kept=[one.kept for one in made],
        outside=[one.outside for one in made],
        **self._judged(kind, made, of_classes, of_attributes),
      )
      for kind, made in self.made.items()
    }

  def _judged(
    self,
    kind: str,
    made: Sequence[_Made],
    of_classes: Classifier,
    of_attributes: AttributeClassifier | None,
  ) -> dict[str, float | None]:
    vocabulary = self._model.vocabulary
    pixels = np.stack([_crop(one.picture, one.box) for one in made])
    classes = np.array([vocabulary.object_names.index(one.name) for one in made])
    named = of_classes.accuracy(Crops(pixels, classes))
    if kind == 'remove':
      return {'named': None, 'as_asked': 1 - named}
    if kind == 'describe' and of_attributes is not None:
      asked = np.array(
        [[name in one.attributes for name in vocabulary.attribute_names] for one in made]
      )
      sides = np.stack([one.box[2:] - one.box[:2] for one in made])
      seen = of_attributes(
        AttributedCrops(pixels=pixels, object_class=classes, sides=sides, attributes=asked)
      )
      return {'named': named, 'as_asked': float(seen[asked].mean())}
    values = [one.as_asked for one in made if one.as_asked is not None]
    return {'named': named, 'as_asked': float(np.mean(values)) if values else None}


def _prepared(scenes: Scenes, model: TrainedModel, count: int) -> list[PreparedScene]:
  """The first of the scenes, as the model understands their graphs."""
  visits = SplitVisits.of_settings(scenes.builder, scenes.split, model.settings.data, scenes.seed)
  chosen = scenes.numbers[:count]
  found = visits.scenes(int(chosen[-1]) + 1)
  kept = set(chosen.tolist())
  some = [scene for number, scene in enumerate(found) if number in kept and scene.graph.objects]
  graphs = model.understood([scene.graph for scene in some])
  return [dataclasses.replace(scene, graph=graph) for scene, graph in zip(some, graphs)]


def can_change_side(
  relationship: tuple[int, str, int], graph: SceneGraph, boxes: Float[np.ndarray, 'N 4']
) -> bool:
  """Whether a small object has room on the other side of another one, at its height, and no other
  relation says on which side of something it is.
  """
  subject, predicate, other = relationship
  if predicate not in _OPPOSITES or areas(boxes)[subject] > LARGEST:
    return False
  sides = [
    one for one in graph.relationships if one[1] in _OPPOSITES and subject in (one[0], one[2])
  ]
  (_, y), (other_x, other_y) = ((boxes[i, :2] + boxes[i, 2:]) / 2 for i in (subject, other))
  room = other_x if predicate == 'right of' else 1 - other_x
  half = (boxes[subject, 2] - boxes[subject, 0]) / 2
  return len(sides) == 1 and bool(room - half > abs(y - other_y))


def _add_again(graph: SceneGraph, chosen: int) -> Add:
  """Adds an object that was removed, by what the graph says of it alone."""
  last = len(graph.objects) - 1
  reordered = graph.part([*(i for i in range(last + 1) if i != chosen), chosen])
  return Add(
    change='add',
    object=reordered.objects[last],
    attributes=reordered.attributes_of(last),
    relationships=tuple(one for one in reordered.relationships if last in (one[0], one[2])),
  )


def _kept_relations(change: Add, after: EditedScene) -> float | None:
  """The share of the geometric relations of an added object that hold; None if it has none."""
  boxes = after.scene.boxes
  held = [
    relation_holds(boxes[subject], predicate, boxes[other])
    for subject, predicate, other in change.relationships
    if predicate in GEOMETRIC_PREDICATES
  ]
  return float(np.mean(held)) if held else None


def _nearer(
  donor: SceneObject, box: Float[np.ndarray, ' 4'], before: np.ndarray, after: np.ndarray
) -> float:
  """Whether the object in a box is more like the donor after a change than before."""
  source = _crop(donor.scene.image, donor.box)
  of_before, of_after = (
    np.abs(_crop(picture, box).astype(float) - source).mean() for picture in (before, after)
  )
  return float(of_after < of_before)


def _crop(picture: np.ndarray, box: np.ndarray) -> UInt8[np.ndarray, '32 32 3']:
  return np.asarray(cut(picture[None], np.asarray(box, np.float32)[None, None]))[0, 0]


def _reconstruction(
  paintings: Sequence[np.ndarray],
  pictures: Sequence[np.ndarray],
  regions: Sequence[np.ndarray],
  backbone: Backbone,
) -> dict[str, dict[str, float]]:
  """Means over the pixels inside and outside of the regions of all pictures."""
  painted, real = np.stack(paintings), np.stack(pictures)
  maps = {
    'mae': difference_maps(painted, real),
    'ssim': similarity_maps(painted, real),
    'distance': backbone.distance_maps(painted, real),
  }
  inside = np.stack(regions) > 0
  return {
    name: {metric: float(values[where].mean()) for metric, values in maps.items()}
    for name, where in (('inside', inside), ('outside', ~inside))
  }
