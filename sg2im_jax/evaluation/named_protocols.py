"""Published protocols by name, a record each. To add one, add its record to NAMED_PROTOCOLS.

Each record says what the paper and its public code do, where that was read, and where they
contradict each other. The code and the issues of its repository were read. The papers' own text was
not at hand: what a record says of a paper is from notes of it, or from others who cite it. What
somebody asks for beside the name wins, and evaluation.json says so.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.data_settings import DataSettings
from sg2im_jax.evaluation.protocol import Layout, Protocol

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

DEFAULT_BACKBONE = 'efficientnet-lite0'  # where no protocol says otherwise


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedGraphs:
  """What a protocol evaluates of one data set.

  Attributes:
    data: setting data.name.
    split: train, val, test, or several joined by +.
    num_graphs: so many from the start of the split; None for all.
    fewest: graphs that the split must have.
    samples_per_graph: pictures of each graph.
    boxes: where objects are painted.
    masks: in what shape.
    options: of the data set (data.options), where the protocol says them; other values than those
      of the training open, or prepare, other records.
    visit: settings of data likewise, such as the slots of a scene.
    image_ids_sha256: of the sorted ids without leading zeros, one a line, where a list is
      published.
  """

  data: str
  split: str
  num_graphs: int | None
  fewest: int
  samples_per_graph: int
  boxes: Layout
  masks: Layout = 'predicted'
  options: Mapping[str, Any]
  visit: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  image_ids_sha256: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedProtocol:
  """A published protocol.

  Attributes:
    name: of --protocol.
    paper: with its arXiv id.
    sizes: sides of the square pictures that were scored, in pixels.
    stretch: each picture is spread over its own darkest to brightest value.
    backbone: whose features are compared.
    num_splits: of the Inception score.
    scene_crops: objects of a graph that SceneFID compares.
    graphs: of each data set.
    sources: where all this was read.
    contradictions: what paper and code say differently, and what neither says; '' for nothing.
  """

  name: str
  paper: str
  sizes: tuple[int, ...]
  stretch: bool
  backbone: str = 'inception-2015'
  num_splits: int
  scene_crops: int = 8
  graphs: tuple[PublishedGraphs, ...]
  sources: str
  contradictions: str = ''


# Filters of the published readers of annotations: sg2im/data/coco.py and scripts/preprocess_vg.py
# of github.com/google/sg2im, which the other projects have copied. LostGAN's and LayoutDiffusion's
# copies of the former leave out crowds.
_COCO = {
  'include_other': False,
  'keep_crowds': True,
  'min_object_area': 0.02,
  'min_objects': 3,
  'max_objects': 8,
  'num_val': 1024,
}
_COCO_WITHOUT_CROWDS = {**_COCO, 'keep_crowds': False}
_VG = {
  'min_image_size': 200,
  'min_object_instances': 2000,
  'min_object_size': 32,
  'min_predicate_instances': 500,
  'min_objects': 3,
  'max_objects': 30,
  'min_relations': 1,
  'max_relations': 30,
}
# The slots of a visit, with __image__: all 30 objects and 30 relations of an image, or 10 objects,
# as the published readers take by default.
_ALL_OBJECTS = {'max_objects': 31, 'max_triples': 60, 'subsample': False}
_TEN_OBJECTS = {'max_objects': 10, 'max_triples': 39, 'subsample': True}
# Of test.h5 the sources count 5,096 and 5,097 images; the split is taken whole.
_FEWEST_VG = 5000

NAMED_PROTOCOLS = (
  NamedProtocol(
    name='sg2im',
    paper='Johnson et al. 2018, arXiv 1804.01622',
    sizes=(64,),
    stretch=True,
    num_splits=5,
    graphs=(
      PublishedGraphs(
        data='coco_stuff',
        split='test',
        num_graphs=2048,
        fewest=2048,
        samples_per_graph=5,
        boxes='predicted',
        options=_COCO,
        visit={'relations': 'geometric'},
      ),
      PublishedGraphs(
        data='visual_genome',
        split='test',
        num_graphs=None,
        fewest=_FEWEST_VG,
        samples_per_graph=1,
        boxes='predicted',
        options=_VG,
        visit={**_TEN_OBJECTS, 'relations': 'stored'},
      ),
    ),
    sources='github.com/google/sg2im: scripts/sample_images.py, scripts/train.py, sg2im/data/; its '
    'issue 20 (Inception score by the code of Salimans et al.)',
    contradictions='The paper (by notes of it) evaluates the test split, with five random graphs '
    'of each COCO image (here five samples of one graph); sample_images.py draws one picture of '
    'each image of val2017, of Visual Genome of val.h5. The paper has 5 splits, the code of '
    'Salimans et al. 10 by default. The readers take up to 10 objects and __image__, here 10 with '
    'it.',
  ),
  NamedProtocol(
    name='sg2im_gt',
    paper='Johnson et al. 2018, arXiv 1804.01622',
    sizes=(64,),
    stretch=True,
    num_splits=5,
    graphs=(
      PublishedGraphs(
        data='coco_stuff',
        split='test',
        num_graphs=2048,
        fewest=2048,
        samples_per_graph=5,
        boxes='ground_truth',
        masks='ground_truth',
        options=_COCO,
        visit={'relations': 'geometric'},
      ),
      PublishedGraphs(
        data='visual_genome',
        split='test',
        num_graphs=None,
        fewest=_FEWEST_VG,
        samples_per_graph=1,
        boxes='ground_truth',
        options=_VG,
        visit={**_TEN_OBJECTS, 'relations': 'stored'},
      ),
    ),
    sources='as sg2im, with --use_gt_boxes and --use_gt_masks of scripts/sample_images.py',
    contradictions='As sg2im. Visual Genome has no masks.',
  ),
  NamedProtocol(
    name='layout2im',
    paper='Zhao et al. 2019, arXiv 1811.11389',
    sizes=(64,),
    stretch=True,
    num_splits=10,
    graphs=(
      PublishedGraphs(
        data='coco_stuff',
        split='test',
        num_graphs=2048,
        fewest=2048,
        samples_per_graph=1,
        boxes='ground_truth',
        options=_COCO,
      ),
      PublishedGraphs(
        data='visual_genome',
        split='test',
        num_graphs=None,
        fewest=_FEWEST_VG,
        samples_per_graph=1,
        boxes='ground_truth',
        options=_VG,
        visit=_TEN_OBJECTS,
      ),
    ),
    sources='github.com/zhaobozb/layout2im: test.py, data/, utils/data.py (stretch); its issues 2 '
    'and 6 (FID by github.com/bioinf-jku/TTUR) and 20',
    contradictions='The paper (by issue 20) has 1,024 images to validate and 2,048 to test; the '
    'code draws one picture of every image of val2017 that passes the filter. The issue, which '
    'asks how they were split and whether five pictures of each are compared, has no answer.',
  ),
  NamedProtocol(
    name='lostgan',
    paper='Sun and Wu 2019, arXiv 1908.07500; 2020, arXiv 2003.11571',
    sizes=(64, 128, 256),
    stretch=True,
    num_splits=10,
    graphs=(
      PublishedGraphs(
        data='coco_stuff',
        split='val+test',
        num_graphs=3097,
        fewest=3097,
        samples_per_graph=5,
        boxes='ground_truth',
        options=_COCO_WITHOUT_CROWDS,
      ),
      PublishedGraphs(
        data='visual_genome',
        split='val',
        num_graphs=None,
        fewest=_FEWEST_VG,
        samples_per_graph=1,
        boxes='ground_truth',
        options=_VG,
        visit=_ALL_OBJECTS,
      ),
    ),
    sources='github.com/WillSuen/LostGANs: test.py, data/cocostuff_loader.py, data/vg.py; its '
    'issues 3 (FID by TTUR, Inception score by the code of Salimans et al.), 5 (five pictures of '
    'each layout of COCO, one of Visual Genome; 3,097 images) and 13 (scipy.misc.imsave, which '
    'stretches: FID 24.8, without it 30.7)',
    contradictions='test.py draws one picture of each layout, the issues say five. Of Visual '
    "Genome it takes val.h5, Layout2Im's and LayoutDiffusion's code test.h5.",
  ),
  NamedProtocol(
    name='layoutdiffusion-3097x5',
    paper='Zheng et al. 2023, arXiv 2303.17189',
    sizes=(128, 256),
    stretch=False,
    num_splits=10,
    graphs=(
      PublishedGraphs(
        data='coco_stuff',
        split='val+test',
        num_graphs=3097,
        fewest=3097,
        samples_per_graph=5,
        boxes='ground_truth',
        options=_COCO_WITHOUT_CROWDS,
      ),
    ),
    sources='github.com/ZGCTroy/LayoutDiffusion: README.md, bash/sample.bash, '
    'configs/COCO-stuff_256x256/LayoutDiffusion_large.yaml, layout_diffusion/dataset/coco.py',
    contradictions='README.md measures FID by TTUR, sample.bash by pytorch-fid.',
  ),
  NamedProtocol(
    name='layoutdiffusion-2048x1',
    paper='Zheng et al. 2023, arXiv 2303.17189',
    sizes=(256,),
    stretch=False,
    num_splits=10,
    graphs=(
      PublishedGraphs(
        data='coco_stuff',
        split='test',
        num_graphs=2048,
        fewest=2048,
        samples_per_graph=1,
        boxes='ground_truth',
        options=_COCO,
        image_ids_sha256='7c07667d74e4b5df2a66f0344bc69436362d5bebc1976677152bd6b3321020ad',
      ),
    ),
    sources='github.com/ZGCTroy/LayoutDiffusion: README.md, bash/sample.bash, '
    'layout_diffusion/dataset/coco.py (filter_mode SG2Im: the last 2,048) and '
    'image_ids_layout2i_2048.txt beside it',
    contradictions='README.md measures FID by TTUR, sample.bash by pytorch-fid.',
  ),
  NamedProtocol(
    name='layoutdiffusion-vg',
    paper='Zheng et al. 2023, arXiv 2303.17189',
    sizes=(128, 256),
    stretch=False,
    num_splits=10,
    graphs=(
      PublishedGraphs(
        data='visual_genome',
        split='test',
        num_graphs=None,
        fewest=_FEWEST_VG,
        samples_per_graph=1,
        boxes='ground_truth',
        options=_VG,
        visit=_TEN_OBJECTS,
      ),
    ),
    sources='github.com/ZGCTroy/LayoutDiffusion: README.md, bash/sample.bash, '
    'configs/VG_256x256/LayoutDiffusion_large.yaml',
    contradictions='README.md counts 5,097 images of test.h5, sample.bash 5,096.',
  ),
  NamedProtocol(
    name='sgdiff',
    paper='Yang et al. 2022, arXiv 2211.11138',
    sizes=(256,),
    stretch=False,
    num_splits=10,
    graphs=(
      PublishedGraphs(
        data='visual_genome',
        split='test',
        num_graphs=None,
        fewest=_FEWEST_VG,
        samples_per_graph=1,
        boxes='predicted',
        options=_VG,
        visit={**_ALL_OBJECTS, 'relations': 'stored'},
      ),
    ),
    sources='github.com/YangLing0818/SGDiff: testset_ddim_sampler.py, config_vg.yaml; its issue 10',
    contradictions='testset_ddim_sampler.py draws images 2,500 to 3,001 of test.h5 alone. How '
    'COCO-Stuff was evaluated is not in the code. Issue 10, which asks how FID was measured, has '
    'no answer by the authors that was found.',
  ),
)


def find(name: str) -> NamedProtocol:
  """The protocol of that name.

  Raises:
    SettingsError: there is none.
  """
  for named in NAMED_PROTOCOLS:
    if named.name == name:
      return named
  names = ', '.join(named.name for named in NAMED_PROTOCOLS)
  raise SettingsError(Fault('protocol', f'is {name!r}, expected one of {names}'))


@dataclasses.dataclass(frozen=True)
class Resolved:
  """A protocol with everything that its name stands for.

  Attributes:
    protocol: with all values; stretch may be None where no name says it.
    backbone: of the pictures.
    data: the settings of data to evaluate with.
    changed: of settings that are not as published, by name: `published` and `used`.
    graphs: what is published of this data set; None without a name.
  """

  protocol: Protocol
  backbone: str
  data: DataSettings
  changed: Mapping[str, Mapping[str, Any]]
  graphs: PublishedGraphs | None

  def check_records(self, builder: 'tfds.core.DatasetBuilder'):
    """Raises unless the prepared records hold the graphs that are published.

    Settings that were changed are not checked.

    Raises:
      SettingsError: says what is missing.
    """
    if self.graphs is None or self.changed.keys() & {'split', 'num_graphs', 'image_ids'}:
      return
    known = builder.info.splits
    found = sum(
      known[name].num_examples for name in self.protocol.split.split('+') if name in known
    )
    if found < self.graphs.fewest:
      raise SettingsError(
        Fault(
          'protocol',
          f'is {self.protocol.name}, which needs {self.graphs.fewest:,} graphs of split '
          f'{self.protocol.split}, but the prepared records have {found:,}; prepare the whole data '
          'set, or say with num_graphs how many to take instead',
        ),
        str(builder.data_dir),
      )

  def check_ids(self, image_ids: Iterable[str]):
    """Raises unless the images that are evaluated are those of a published list.

    Raises:
      SettingsError: says which list to give.
    """
    wanted = self.graphs and self.graphs.image_ids_sha256
    if not wanted or self.changed.keys() & {'split', 'num_graphs', 'image_ids'}:
      return
    if ids_sha256(image_ids) != wanted:
      raise SettingsError(
        Fault(
          'protocol',
          f'is {self.protocol.name}, but split {self.protocol.split} of these records has other '
          f'images than its list; give the list with image_ids, and split val+test',
        )
      )


def resolved(protocol: Protocol, data: DataSettings, backbone: str | None) -> Resolved:
  """The protocol with what its name stands for, where nothing else was asked for.

  Args:
    protocol: whose given fields win.
    data: settings of the model.
    backbone: as asked for; None for that of the protocol.

  Raises:
    SettingsError: there is no protocol of that name, or it is of other data sets or sizes.
  """
  if protocol.name is None:
    return Resolved(protocol, backbone or DEFAULT_BACKBONE, data, {}, None)
  named = find(protocol.name)
  graphs = _graphs(named, data)
  published = {
    'split': graphs.split,
    'num_graphs': graphs.num_graphs,
    'samples_per_graph': graphs.samples_per_graph,
    'boxes': graphs.boxes,
    'masks': graphs.masks,
    'stretch': named.stretch,
    'num_splits': named.num_splits,
    'scene_crops': named.scene_crops,
  }
  given = {
    name: getattr(protocol, name)
    for name in protocol.model_fields_set
    if getattr(protocol, name) is not None
  }
  used = {**published, **given}
  changed = {
    name: {'published': value, 'used': used[name]}
    for name, value in published.items()
    if used[name] != value
  }
  changed |= _changed_size(named, protocol, data)
  ids = protocol.image_ids
  if ids is not None and ids_sha256(ids) == graphs.image_ids_sha256:
    changed.pop('split', None)  # these images, in whatever split they are
  elif ids is not None:
    changed['image_ids'] = {
      'published': graphs.image_ids_sha256,
      'used': ids_sha256(ids),
    }
  if backbone not in (None, named.backbone):
    changed['backbone'] = {'published': named.backbone, 'used': backbone}
  options = data.options.replace(**graphs.options)
  return Resolved(
    Protocol(**used),
    backbone or named.backbone,
    data.replace(**graphs.visit, options=options),
    changed,
    graphs,
  )


def _graphs(named: NamedProtocol, data: DataSettings) -> PublishedGraphs:
  for graphs in named.graphs:
    if graphs.data == data.name:
      return graphs
  names = ' and '.join(graphs.data for graphs in named.graphs)
  raise SettingsError(
    Fault(
      'protocol',
      f'is {named.name}, which is of {names}, but this model is of {data.name}; leave it out, or '
      'evaluate a model of that data',
    )
  )


def _changed_size(
  named: NamedProtocol, protocol: Protocol, data: DataSettings
) -> dict[str, dict[str, Any]]:
  """The size of the pictures, if it is not as published.

  Raises:
    SettingsError: the model paints another size, and none is asked for.
  """
  published = [[side, side] for side in named.sizes]
  painted, used = list(data.image_size), list(protocol.image_size or data.image_size)
  if painted in published and used == painted:
    return {}
  if protocol.image_size is None:
    sizes = ' or '.join(f'{side} x {side}' for side in named.sizes)
    side = named.sizes[-1]
    raise SettingsError(
      Fault(
        'image_size',
        f'is {painted[0]} x {painted[1]}, which this model paints, but protocol {named.name} '
        f'scores pictures of {sizes}; evaluate a model of that size, or have pictures resized',
        f'{side},{side}',
      )
    )
  return {'image_size': {'published': published, 'used': used, 'painted': painted}}


def ids_sha256(image_ids: Iterable[str]) -> str:
  """A digest of a set of image ids, whatever their order and leading zeros."""
  ids = sorted(name.lstrip('0') or '0' for name in image_ids)
  return hashlib.sha256('\n'.join(ids).encode()).hexdigest()


def rows() -> Sequence[Sequence[str]]:
  """A table of all protocols: a header, and a row for each data set of each.

  IS is the number of splits of the Inception score.
  """
  layouts = {('predicted', 'predicted'): 'predicted', ('ground_truth', 'predicted'): 'true boxes'}
  found = [('protocol', 'data set', 'graphs x samples', 'layout', 'sizes', 'stretch', 'IS')]
  for named in NAMED_PROTOCOLS:
    for graphs in named.graphs:
      count = 'all' if graphs.num_graphs is None else f'{graphs.num_graphs:,}'
      found.append(
        (
          named.name,
          graphs.data,
          f'{count} of {graphs.split} x {graphs.samples_per_graph}',
          layouts.get((graphs.boxes, graphs.masks), 'true'),
          ','.join(map(str, named.sizes)),
          'on' if named.stretch else 'off',
          str(named.num_splits),
        )
      )
  return found
