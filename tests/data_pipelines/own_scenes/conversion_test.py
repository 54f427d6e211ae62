"""Small files in the formats of PSG and LAION-SG, converted to folders of scenes."""

import json
import pathlib
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import pytest

from data_pipelines import convert_scenes
from data_pipelines.own_scenes import scenes_file
from data_pipelines.pipeline import masks
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import UserError

WIDTH, HEIGHT = 40, 30
PERSON, SKY = 3648962, 70  # ids of segments


def write_images(root: pathlib.Path, *names: str):
  for name in names:
    path = root / 'images' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new('RGB', (WIDTH, HEIGHT), (9, 8, 7)).save(path)


def write_segments(root: pathlib.Path, name: str):
  """A PNG with the sky in its upper half, and a person in front of all of it."""
  ids = np.zeros((HEIGHT, WIDTH), np.int64)
  ids[:15] = SKY
  ids[5:25, 10:20] = PERSON
  path = root / 'images' / name
  path.parent.mkdir(parents=True, exist_ok=True)
  channels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
  PIL.Image.fromarray(channels).save(path)


def psg_entry(number: int, **changes: Any) -> dict[str, Any]:
  return {
    'image_id': str(number),
    'file_name': f'train2017/{number}.png',
    'pan_seg_file_name': f'panoptic_train2017/{number}.png',
    'width': WIDTH,
    'height': HEIGHT,
    'segments_info': [
      {'id': PERSON, 'category_id': 0, 'iscrowd': 0, 'isthing': 1, 'area': 200},
      {'id': SKY, 'category_id': 2, 'iscrowd': 0, 'isthing': 0, 'area': 500},
    ],
    'annotations': [
      {'bbox': [10.0, 5.0, 20.0, 25.0], 'bbox_mode': 0, 'category_id': 0},
      {'bbox': [0.0, 0.0, 40.0, 15.0], 'bbox_mode': 0, 'category_id': 2},
    ],
    'relations': [[0, 1, 1]],
  } | changes


def write_psg(root: pathlib.Path, entries: Sequence[Any], test_image_ids: Sequence[Any] = ()):
  """psg.json, with images and PNGs of ten entries."""
  for number in range(10):
    write_images(root, f'train2017/{number}.png')
    write_segments(root, f'panoptic_train2017/{number}.png')
  document = {
    'data': entries,  # before the names, which its entries need
    'thing_classes': ['person', 'car'],
    'stuff_classes': ['sky-other-merged'],
    'predicate_classes': ['over', 'in front of'],
    'test_image_ids': test_image_ids,
  }
  (root / 'annotations.json').write_text(json.dumps(document))


def run(root: pathlib.Path, format_: str, **options: Any):
  values = {
    'format': format_,
    'annotations': (str(root / 'annotations.json'),),
    'images': str(root / 'images'),
    'output': str(root / 'scenes'),
  } | options
  convert_scenes.convert_scenes(convert_scenes.ConvertScenesOptions.from_values(values))


def convert(root: pathlib.Path, format_: str, **options: Any) -> list[dict[str, Any]]:
  """The lines that the command writes."""
  run(root, format_, **options)
  return [json.loads(line) for line in (root / 'scenes/scenes.jsonl').read_text().splitlines()]


def is_good(root: pathlib.Path) -> bool:
  source = Source(root / 'scenes')
  return not scenes_file.read(source, scenes_file.read_content(source)).faults


def test_psg(tmp_path, capsys):
  write_psg(tmp_path, [psg_entry(number) for number in range(5)], test_image_ids=['1', 3, '4'])
  lines = convert(tmp_path, 'psg', num_val=2)
  assert [line['split'] for line in lines] == ['train', 'val', 'train', 'val', 'test']
  assert lines[0]['file'] == 'images/train2017/0.png'
  person, sky = lines[0]['objects']
  assert (person['name'], person['box']) == ('person', [10, 5, 20, 25])
  assert (sky['name'], sky['box']) == ('sky-other-merged', [0, 0, 40, 15])
  assert lines[0]['relationships'] == [[0, 'in front of', 1]]
  mask = masks.run_length_mask(person['mask'], WIDTH, HEIGHT)
  assert mask[5:25, 10:20].all() and mask.sum() == 200
  assert masks.run_length_mask(sky['mask'], WIDTH, HEIGHT).sum() == 15 * 40 - 10 * 10
  assert is_good(tmp_path)
  assert capsys.readouterr().out.startswith('scenes: train 2, val 2, test 1\nprepare with: ')


def test_what_is_wrong_in_psg_is_named_and_counted(tmp_path, caplog):
  segments, annotations = psg_entry(0)['segments_info'], psg_entry(0)['annotations']
  entries = [
    psg_entry(0, annotations=[annotations[0], annotations[1] | {'bbox': [0, 0, 40.5, 15]}]),
    psg_entry(1, annotations=[annotations[0] | {'bbox': [50, 5, 60, 25]}, annotations[1]]),
    psg_entry(2, annotations=[annotations[0] | {'bbox_mode': 1}, annotations[1]]),
    psg_entry(3, segments_info=[segments[0] | {'category_id': 3}, segments[1]]),
    psg_entry(4, relations=[[0, 2, 0], [0, 1, 2], [0, 0, 1], [0, 1], [[], 1, 0], [1, 0, 0]]),
    psg_entry(5, pan_seg_file_name='panoptic_train2017/nowhere.png'),
    psg_entry(6, segments_info=segments[:1]),
    psg_entry(7, width='wide'),
    psg_entry(8, annotations=[{}, None]),
    'no entry',
  ]
  write_psg(tmp_path, entries)
  lines = convert(tmp_path, 'psg')
  assert [line['file'][-5] for line in lines] == list('012345')
  assert [len(line['objects']) for line in lines] == [2, 1, 1, 1, 2, 2]
  assert lines[0]['objects'][1]['box'] == [0, 0, 40, 15]
  assert lines[1]['relationships'] == [] and lines[4]['relationships'] == [[1, 'over', 0]]
  assert ['mask' in one for one in lines[5]['objects']] == [False, False]
  assert is_good(tmp_path)
  said = caplog.text
  for text in (
    'objects that are not usable, left out: 5 (object 0 of image 1: "bbox" [50, 5, 60, 25] has no',
    'object 0 of image 2: "bbox_mode" is 1, expected 0',
    'object 0 of image 3: "category_id" is 3, expected a number from 0 to 2',
    'boxes that leave the frame, clipped to it: 1 (object 1 of image 0)',
    'relations that are not usable, left out: 4 ([0, 2, 0] of image 4: names object 2',
    'relations of objects that are left out, or of an object to itself, left out: 5 (',
    'whose objects have no masks: 1 (panoptic_train2017/nowhere.png: No such file',
    'scenes that are not usable, left out: 4 (image 6: "segments_info" has 1 entries',
    'image 7: "width" is "wide"',
    'image 8: none of its objects is usable',
    '"no entry": found "no entry", expected an entry of PSG',
  ):
    assert text in said, (text, said)


def laion_entry(number: int, **changes: Any) -> dict[str, Any]:
  return {
    'img_id': str(number),
    'name': f'{number}.jpg',
    'caption_ori': 'Mountains',
    'score': '6.6',
    'url': 'http://localhost/a.jpg',
    'items': [
      {
        'item_id': 0,
        'label': 'mountains ',
        'attributes': ['rocky', 'tall'],
        'global_item_id': 3201429,
        'bbox': [0, 2.5, 40, 20],
      },
      {'item_id': 7, 'label': 'tree', 'attributes': [], 'bbox': [3, 10, 9, 45]},
      {'item_id': 8, 'label': 'fog', 'attributes': []},
    ],
    'relations': [
      {'triple_id': 0, 'item1': 7, 'relation': 'in front of', 'item2': 0},
      {'triple_id': 1, 'item1': 8, 'relation': 'around', 'item2': 0},
    ],
  } | changes


@pytest.mark.parametrize('as_lines', [False, True], ids=['list', 'lines'])
def test_laion_sg(tmp_path, caplog, as_lines):
  write_images(tmp_path, '0.jpg', '1.jpg', '2.jpg')
  for name, entries in (
    ('annotations.json', [laion_entry(0), laion_entry(5), laion_entry(1, items=[{}])]),
    ('val.json', [laion_entry(2)]),
  ):
    text = '\n'.join(map(json.dumps, entries)) if as_lines else json.dumps(entries)
    (tmp_path / name).write_text(f'{text}\n')
  paths = (f'train={tmp_path}/annotations.json', f'val={tmp_path}/val.json')
  lines = convert(tmp_path, 'laion_sg', annotations=paths)
  assert [(line['file'], line['split']) for line in lines] == [
    ('images/0.jpg', 'train'),
    ('images/2.jpg', 'val'),
  ]
  assert lines[0]['objects'] == [
    {'name': 'mountains', 'box': [0, 2.5, 40, 20], 'attributes': ['rocky', 'tall']},
    {'name': 'tree', 'box': [3, 10, 9, 30]},
  ]
  assert lines[0]['relationships'] == [[1, 'in front of', 0]]
  assert is_good(tmp_path)
  for text in (
    'scenes that are not usable, left out: 2 (5.jpg: its image cannot be read (No such file',
    '1.jpg: "item_id" is missing, expected an id',
    'objects that are not usable, left out: 1 (object 8 of 0.jpg: "bbox" is missing, expected',
    'objects that are left out, or of an object to itself, left out: 1 (8 around 0 of 0.jpg)',
  ):
    assert text in caplog.text, (text, caplog.text)


def test_laion_sg_as_it_is_published_has_no_boxes(tmp_path):
  write_images(tmp_path, '0.jpg')
  entry = laion_entry(0)
  for item in entry['items']:
    item.pop('bbox', None)
  (tmp_path / 'annotations.json').write_text(json.dumps([entry]))
  with pytest.raises(UserError) as raised:
    convert(tmp_path, 'laion_sg')
  assert str(raised.value) == (
    f'{tmp_path}/annotations.json: no entry is usable (0.jpg: none of its objects is usable); '
    'expected entries of LAION-SG, with "name", "items", each with "label" and "bbox", and '
    '"relations"'
  )
  assert not (tmp_path / 'scenes').exists()


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'annotations': ('nowhere.json',)},
      'nowhere.json: cannot be read (No such file or directory)',
    ),
    ({'images': 'nowhere'}, '--images=nowhere: no such directory; expected that of the images'),
    (
      {'annotations': ('all=a.json',)},
      "--annotations=all=a.json: the split is 'all', expected one",
    ),
    ({'text': '{"data": ['}, 'not whole JSON ('),
    ({'text': '{"images": []}'}, 'no entry is usable (no entry); expected psg.json of PSG, with'),
  ],
  ids=lambda value: '' if isinstance(value, Mapping) else None,
)
def test_mistakes_are_one_line(tmp_path, changes, message):
  write_psg(tmp_path, [psg_entry(0)])
  if 'text' in changes:
    (tmp_path / 'annotations.json').write_text(changes.pop('text'))
  with pytest.raises(UserError) as raised:
    convert(tmp_path, 'psg', **changes)
  assert message in str(raised.value) and '\n' not in str(raised.value)
  assert not (tmp_path / 'scenes').exists()


def test_a_folder_of_other_images_is_kept(tmp_path):
  write_psg(tmp_path, [psg_entry(0)])
  convert(tmp_path, 'psg')
  convert(tmp_path, 'psg')  # again is fine
  (tmp_path / 'other').mkdir()
  with pytest.raises(UserError, match='is there already, and is not .*; choose another --output'):
    convert(tmp_path, 'psg', images=str(tmp_path / 'other'))


def test_memory_does_not_grow_with_the_file(tmp_path):
  write_images(tmp_path, '0.jpg')
  entry = json.dumps(laion_entry(0))
  peaks = []
  for number in (200, 200, 2000):  # the first one also fills caches
    (tmp_path / 'annotations.json').write_text(f'[{",".join([entry] * number)}]')
    tracemalloc.start()
    run(tmp_path, 'laion_sg')
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
  assert peaks[2] < 1.2 * peaks[1], peaks
