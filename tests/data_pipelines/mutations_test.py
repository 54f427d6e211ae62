"""Readers of annotation files, with one entry of a sound file changed to something else.

Either the file is refused in one line, or what was changed is named and counted and the other
scenes are those of the sound file.
"""

import functools
import json
import pathlib
import shutil
import tempfile
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import panoptic, stuff
from data_pipelines.own_scenes import scenes_file
from data_pipelines.pipeline.annotation_files import EntryFault
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import parse_scene_graphs
from data_pipelines.visual_genome import annotations as visual_genome_annotations
from tests.data_pipelines import conftest
from tests.data_pipelines.coco import panoptic_test
from tests.data_pipelines.visual_genome import visual_genome_test
from tests.mutations import SEARCH, draw_changed


@pytest.fixture(scope='module')
def folder():
  """A folder for the files of one module, faster where it is in memory."""
  memory = pathlib.Path('/dev/shm')
  root = pathlib.Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
  yield root
  shutil.rmtree(root)


def mutate(data: st.DataObject, path: pathlib.Path, sound: Any) -> tuple:
  """Writes a document with one changed value; returns the place."""
  document, place = draw_changed(data, sound)
  path.write_text(json.dumps(document))
  return place


def one_line(error: UserError):
  assert '\n' not in str(error) and len(str(error)) < 2000


def keys_of_differences(found: dict, expected: dict) -> set:
  """The keys of what one of them lacks or has otherwise."""
  keys = found.keys() | expected.keys()
  return {key for key in keys if found.get(key) != expected.get(key)}


def image_of(place: tuple, document: Any, images: str = 'images') -> Any:
  """The id of the image that a place belongs to; None if it is of all of them."""
  if len(place) < 2 or place[0] not in (images, 'annotations'):
    return None
  entry = document[place[0]][place[1]]
  return entry['id'] if place[0] == images else entry['image_id']


@functools.cache
def sound_coco() -> dict[str, dict]:
  with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    conftest.write_coco_files(root, num_train=4, num_val=1)
    documents = {}
    for kind in ('instances', 'stuff'):
      document = json.loads((root / f'annotations/{kind}_train2017.json').read_text())
      for number, annotation in enumerate(document['annotations'], 1):
        annotation['id'] = number
      documents[kind] = document
  return documents


def read_coco(root: pathlib.Path) -> tuple[dict, dict]:
  """Objects with their masks by image id, and the faults."""
  annotations = coco_annotations.read(
    Source(root), 'instances.json', 'stuff.json', panoptic_test.EVERYTHING, None
  )
  ids = annotations.class_ids(annotations.vocabulary)
  found, faults = {}, dict(annotations.faults)
  for image in annotations.images:
    objects = []
    for object_ in image.objects:
      mask = stuff.mask_or_fault(image, object_)
      if isinstance(mask, EntryFault):
        faults['mask'] = faults.get('mask', 0) + 1
      else:
        name = annotations.vocabulary.object_names[ids[object_.category_id]]
        objects.append((name, object_.box.tolist(), mask.tobytes()))
    found[image.image_id] = (image.file_name, image.width, image.height, objects)
  return found, faults


@pytest.mark.parametrize('kind', ['instances', 'stuff'])
@SEARCH
@hypothesis.given(data=st.data())
def test_coco(folder, kind, data):
  documents = sound_coco()
  for name, document in documents.items():
    (folder / f'{name}.json').write_text(json.dumps(document))
  expected, no_faults = read_coco(folder)
  assert not no_faults and len(expected) == 4
  place = mutate(data, folder / f'{kind}.json', documents[kind])
  try:
    found, faults = read_coco(folder)
  except UserError as error:
    one_line(error)
    return
  image_id = image_of(place, documents[kind])
  if place[0] == 'categories':  # a name may change, or an id that then nothing has
    assert found.keys() <= expected.keys()
    return
  differing = keys_of_differences(found, expected)
  if place[-1] == 'id' and faults:  # perhaps that of another entry, and which is wrong is not known
    assert len(differing) <= 2
  elif faults:
    assert differing <= {image_id, *(set(found) - set(expected))} or image_id is None
  else:  # the value is as good as the old one
    assert len(differing) <= 2


@functools.cache
def sound_panoptic() -> dict:
  with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    panoptic_test.write_panoptic_files(root)
    return json.loads((root / 'annotations/panoptic_train2017.json').read_text())


def read_panoptic(root: pathlib.Path) -> tuple[dict, dict]:
  annotations = panoptic.read(Source(root), 'panoptic.json', panoptic_test.EVERYTHING, None)
  return {
    image.image_id: [
      (object_.category_id, object_.box.tolist(), object_.segmentation) for object_ in image.objects
    ]
    for image in annotations.images
  }, dict(annotations.faults)


@SEARCH
@hypothesis.given(data=st.data())
def test_panoptic(folder, data):
  sound = sound_panoptic()
  (folder / 'panoptic.json').write_text(json.dumps(sound))
  expected, _ = read_panoptic(folder)
  place = mutate(data, folder / 'panoptic.json', sound)
  try:
    found, faults = read_panoptic(folder)
  except UserError as error:
    one_line(error)
    return
  differing = keys_of_differences(found, expected)
  if place[0] != 'categories':
    assert len(differing) <= (1 if faults else 2)


@functools.cache
def sound_visual_genome() -> dict[str, Any]:
  with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    visual_genome_test.write_files(root)
    files = {path.name: path.read_text() for path in root.iterdir() if path.is_file()}
  return {
    name: json.loads(text) if name.endswith('.json') else text for name, text in files.items()
  }


def read_visual_genome(root: pathlib.Path) -> tuple[dict, dict]:
  options = visual_genome_test.make_settings(root, root).options
  annotations = visual_genome_annotations.read(Source(root), options)
  names = annotations.vocabulary.object_names
  predicates = annotations.vocabulary.predicate_names
  return {
    scene.image_id: (
      scene.path,
      scene.width,
      scene.height,
      [(names[one.class_id], one.box) for one in scene.objects],
      [(one.subject, predicates[one.predicate_id], one.object) for one in scene.relations],
    )
    for split in visual_genome_annotations.SPLITS
    for scene in annotations.scenes(split)
  }, dict(annotations.faults)


@pytest.mark.parametrize(
  'file', [*visual_genome_annotations.ANNOTATIONS, visual_genome_annotations.SPLIT_FILES[0]]
)
@SEARCH
@hypothesis.given(data=st.data())
def test_visual_genome(folder, file, data):
  sound = sound_visual_genome()
  for name, content in sound.items():
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
  expected, no_faults = read_visual_genome(folder)
  assert not no_faults and len(expected) == 13
  place = mutate(data, folder / file, sound[file])
  try:
    found, _ = read_visual_genome(folder)
  except UserError as error:
    one_line(error)
    return
  differing = keys_of_differences(found, expected)
  if file == visual_genome_annotations.SPLIT_FILES[0] and len(place) == 1:
    assert found.keys() <= expected.keys()
  else:
    assert len(differing) <= 2


@SEARCH
@hypothesis.given(data=st.data())
def test_own_scenes(folder, data):
  sound = {
    'file': 'a.png',
    'split': 'val',
    'objects': [
      {'name': 'dog', 'box': [1, 2, 30, 35.5], 'mask': [[1, 2, 30, 2, 30, 30]]},
      {
        'name': 'mat',
        'box': [0, 20, 60, 40],
        'attributes': ['red'],
        'mask': {'size': [40, 60], 'counts': [1200, 1200]},
      },
    ],
    'relationships': [[0, 'on', 1]],
  }
  other = {'file': 'b.png', 'objects': [{'name': 'cat', 'box': [0, 0, 10, 10]}]}
  for name in ('a.png', 'b.png'):
    visual_genome_test.PIL.Image.new('RGB', (60, 40)).save(folder / name)
  line = json.dumps(draw_changed(data, sound)[0])
  reading = scenes_file.read(Source(folder), f'{json.dumps(other)}\n{line}\n'.encode())
  assert reading.scenes[0].file == 'b.png'
  assert len(reading.scenes) + len(reading.faults) == 2
  assert all('\n' not in fault for faults in reading.faults.values() for fault in faults)


@SEARCH
@hypothesis.given(data=st.data())
def test_scene_graphs(data):
  sound = [
    {
      'objects': ['sky', 'grass', 'sheep'],
      'relationships': [[2, 'on', 1], [0, 'above', 1]],
      'attributes': [[], [], ['white']],
      'scene': ['day'],
    },
    {'objects': ['sky'], 'relationships': []},
  ]
  try:
    graphs = parse_scene_graphs(json.dumps(draw_changed(data, sound)[0]), 'g')
  except UserError as error:
    one_line(error)
    return
  assert 1 <= len(graphs) <= 2
  for graph in graphs:
    assert all(isinstance(name, str) for name in graph.objects)
    for subject, predicate, other in graph.relationships:
      assert 0 <= subject < len(graph.objects) > other >= 0 and isinstance(predicate, str)
