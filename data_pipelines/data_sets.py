"""The data sets that there are, a record each. To add one, add its record here."""

import dataclasses
import importlib
from typing import TYPE_CHECKING

from data_pipelines.coco.official_files import PANOPTIC_FILES, STUFF_FILES
from data_pipelines.coco.options import CocoOptions
from data_pipelines.own_scenes.options import OwnScenesOptions
from data_pipelines.pipeline.download import DataSetFiles
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.section import Section
from data_pipelines.storybook.options import StorybookOptions
from data_pipelines.visual_genome import official_files
from data_pipelines.visual_genome.options import VisualGenomeOptions

if TYPE_CHECKING:
  from data_pipelines.pipeline.scene_builder import SceneBuilder
  from data_pipelines.settings.data_settings import DataSettings


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A data set of scenes.

  Attributes:
    name: as in config.data.name and `prepare --dataset`.
    config: the file in configs/ that trains with it.
    options: the class of config.data.options.
    module: has `make_builder(settings: DataSettings)`; imports TensorFlow, so it is imported late.
    files: the official files; None where there are none to download.
  """

  name: str
  config: str
  options: type[Section]
  module: str
  files: DataSetFiles | None = None

  def make_builder(self, settings: 'DataSettings') -> 'SceneBuilder':
    """Its tensorflow-datasets builder for these settings, prepared or not.

    Raises:
      UserError: there are neither prepared records nor the files that they are made from.
    """
    return importlib.import_module(self.module).make_builder(settings)


DATA_SETS = (
  DataSet('storybook', 'storybook', StorybookOptions, 'data_pipelines.storybook.builder'),
  DataSet('coco_stuff', 'coco64', CocoOptions, 'data_pipelines.coco.stuff', STUFF_FILES),
  DataSet(
    'coco_panoptic',
    'coco_panoptic64',
    CocoOptions,
    'data_pipelines.coco.panoptic',
    PANOPTIC_FILES,
  ),
  DataSet(
    'visual_genome',
    'vg64',
    VisualGenomeOptions,
    'data_pipelines.visual_genome.builder',
    official_files.FILES,
  ),
  DataSet('scenes', 'scenes', OwnScenesOptions, 'data_pipelines.own_scenes.builder'),
)


# The class of config.data.options by the name of the data set: the context that `DataSettings` are
# validated in.
OPTIONS = {data_set.name: data_set.options for data_set in DATA_SETS}


def find(name: str) -> DataSet:
  """The data set of that name.

  Raises:
    SettingsError: there is none.
  """
  for data_set in DATA_SETS:
    if data_set.name == name:
      return data_set
  raise SettingsError(Fault('data.name', f'is {name!r}, expected one of {", ".join(OPTIONS)}'))
