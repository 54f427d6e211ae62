"""Settings are typed, limited and checked all at once."""

import pydantic
import pytest

from data_pipelines import data_sets
from data_pipelines.coco.options import CocoOptions
from data_pipelines.configs import coco64, debug, scenes, vg64
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.data_settings import DataSettings
from tests.data_pipelines.settings import data_settings, with_options


def faults(config=coco64, *, options=None, **changes) -> dict[str, str]:
  """By name, what is wrong with the settings of a config and these changes."""
  with pytest.raises(SettingsError) as raised:
    data_settings(config.get_config(), options=options, **changes)
  return {fault.setting: fault.problem for fault in raised.value.faults}


def test_settings_are_frozen_and_compare_by_value():
  settings = data_settings(coco64.get_config())
  assert settings == data_settings(coco64.get_config()) != settings.replace(flip=True)
  assert isinstance(settings.options, CocoOptions)
  with pytest.raises(pydantic.ValidationError):
    settings.flip = True
  with pytest.raises(pydantic.ValidationError):
    settings.options.num_val = 3


def test_every_fault_is_told_at_once():
  assert faults(
    relations='all',
    max_objects=1,
    max_triples=0,
    image_size=(64, 0),
    mask_size=8.5,
    flip=1,
    options={'num_val': 0, 'min_object': 3, 'train_images': 'some', 'include_other': 'yes'},
  ) == {
    'data.relations': "is 'all', expected one of geometric, stored, mixed, none",
    'data.max_objects': 'is 1, expected 2 or more',
    'data.max_triples': 'is 0, expected 1 or more',
    'data.image_size': 'is 0, expected 1 or more',
    'data.mask_size': 'is 8.5, expected a whole number',
    'data.flip': 'is 1, expected True or False',
    'data.options.num_val': 'is 0, expected 1 or more',
    'data.options.min_object': 'is unknown; the nearest is min_objects',
    'data.options.train_images': "is 'some', expected one of auto, stuff40k, all",
    'data.options.include_other': "is 'yes', expected True or False",
  }


def test_missing_and_unknown_settings():
  values = debug.get_config().data.to_dict()
  del values['source_dir'], values['options']['scene_seed']
  values['flop'] = False
  with pytest.raises(SettingsError) as raised:
    DataSettings.from_values(values, 'data', data_sets.OPTIONS)
  assert set(raised.value.faults) == {
    Fault('data.source_dir', 'is missing'),
    Fault('data.options.scene_seed', 'is missing'),
    Fault('data.flop', 'is unknown; the nearest is flip'),
  }


@pytest.mark.parametrize(
  ('size', 'problem'),
  [
    ((1, 2, 3), 'is (1, 2, 3), expected 2 values'),
    (('64',), "is '64', expected a whole number"),
    ('64', "is '64', expected a tuple"),
  ],
)
def test_image_size_is_height_and_width(size, problem):
  assert faults(image_size=size) == {'data.image_size': problem}


@pytest.mark.parametrize('size', [64, (64,), [64]])
def test_one_number_is_the_side_of_a_square(size):
  values = debug.get_config().data.to_dict() | {'image_size': size}
  assert DataSettings.from_values(values, 'data', data_sets.OPTIONS).image_size == (64, 64)


def test_directories_are_on_this_machine(monkeypatch):
  monkeypatch.setenv('HOME', '/home/of/somebody')
  values = debug.get_config().data.to_dict() | {'data_dir': '~/prepared'}
  settings = DataSettings.from_values(values, 'data', data_sets.OPTIONS)
  assert settings.data_dir == '/home/of/somebody/prepared'
  assert faults(data_dir='gs://bucket/data') == {
    'data.data_dir': 'is gs://bucket/data, expected a directory on this machine, perhaps a mounted '
    'one'
  }


def test_names_of_data_sets():
  assert faults(name='coco') == {
    'data.name': "is 'coco', expected one of storybook, coco_stuff, coco_panoptic, visual_genome, "
    'scenes'
  }


@pytest.mark.parametrize(
  ('config', 'name', 'value', 'problem'),
  [
    (coco64, 'min_object_area', -0.1, 'is -0.1, expected 0 or more'),
    (coco64, 'min_object_area', 1.1, 'is 1.1, expected 1 or less'),
    (coco64, 'min_objects', -1, 'is -1, expected 0 or more'),
    (coco64, 'max_objects', 2, 'is 2, expected 3 or more, which is min_objects'),
    (vg64, 'min_object_size', -1, 'is -1, expected 0 or more'),
    (vg64, 'max_objects', 2, 'is 2, expected 3 or more, which is min_objects'),
    (vg64, 'max_relations', 0, 'is 0, expected 1 or more'),
    (scenes, 'min_objects', 0, 'is 0, expected 1 or more'),
    (scenes, 'min_object_instances', 0, 'is 0, expected 1 or more'),
    (scenes, 'min_predicate_instances', 0, 'is 0, expected 1 or more'),
    (scenes, 'min_attribute_instances', 0, 'is 0, expected 1 or more'),
    (scenes, 'max_objects', 0, 'is 0, expected 1 or more'),
    (debug, 'num_train', 0, 'is 0, expected 1 or more'),
    (debug, 'num_val', 0, 'is 0, expected 1 or more'),
    (debug, 'scene_seed', -1, 'is -1, expected 0 or more'),
  ],
)
def test_limits_of_the_options(config, name, value, problem):
  assert faults(config, options={name: value}) == {f'data.options.{name}': problem}


def test_limits_between_options_hold_in_changes():
  settings = data_settings(vg64.get_config())
  with pytest.raises(
    SettingsError, match='max_relations is 30, expected 31 or more, which is min_r'
  ):
    with_options(settings, min_relations=31)


def test_a_command_words_settings_as_its_flags():
  error = SettingsError([Fault('a.b', 'is 1', '2'), Fault('c', 'is missing')], 'here')
  assert str(error) == 'here: 2 settings are wrong: a.b is 1; set a.b=2; c is missing'
  assert error.text(lambda name: f'--{name}') == (
    'here: 2 settings are wrong: --a.b is 1; set --a.b=2; --c is missing'
  )
  assert str(SettingsError(Fault('c', 'is missing'))) == 'c is missing'
