"""Prepares a data set for training, as the first training with it would do by itself.

  python -m data_pipelines.prepare --dataset=coco_stuff --source=datasets/coco --download
  python -m data_pipelines.prepare --dataset=visual_genome --image_size=128
  python -m data_pipelines.prepare --dataset=coco_stuff --option=min_objects=2 \\
      --option=include_other=true
  python -m data_pipelines.prepare --dataset=scenes --source=my_scenes --check
  python -m data_pipelines.prepare --dataset=coco_stuff --source=gs://bucket/coco \\
      --data_dir=gs://bucket/prepared --beam_runner=DataflowRunner \\
      --beam_options=project=my-project,region=us-central1,temp_location=gs://bucket/temp

The records are those that training with the same settings looks for; the command for it is shown at
the end. Official files may lie in --source unpacked or in their zip archives. --download fetches
those that it lacks, which are about 21 GB for COCO and 16 GB for Visual Genome; an interrupted
download continues where it was when the command is run again. --beam_runner makes the same records
by Apache Beam, in several processes or on many machines.
"""

from typing import Annotated, Literal

import pydantic

from data_pipelines import command_line, data_sets, preparation
from data_pipelines.pipeline import download
from data_pipelines.pipeline.parallel import BeamSettings
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import PositiveInt, Section

_FLAGS = {'data.name': '--dataset', 'data.source_dir': '--source', 'data.options': '--option'}


class PrepareOptions(Section):
  """The flags."""

  dataset: str = pydantic.Field(
    description='Which data set; its settings are those of '
    + ', '.join(f'configs/{one.config}.py ({one.name})' for one in data_sets.DATA_SETS)
    + '.'
  )
  source: str | None = pydantic.Field(
    None,
    description='Directory of the official files, or of your scenes; by default that of the '
    'config, such as datasets/coco.',
  )
  data_dir: str | None = pydantic.Field(
    None,
    description='Where the records are written; by default that of the config, datasets/prepared.',
  )
  image_size: tuple[int, ...] | None = pydantic.Field(
    None, description='Side of the pictures in pixels, or HEIGHT,WIDTH; by default 64.'
  )
  mask_size: PositiveInt | None = pydantic.Field(
    None, description='Side of the object masks; by default 16.'
  )
  option: Annotated[tuple[str, ...], command_line.REPEATED] = pydantic.Field(
    (),
    description='NAME=VALUE: an option of the data set, one of config.data.options; may be given '
    'several times.',
  )
  beam_runner: Literal['DirectRunner', 'DataflowRunner', 'SparkRunner', 'FlinkRunner'] | None = (
    pydantic.Field(
      None,
      description='Makes the records by Apache Beam, in processes or on machines of this runner; '
      'by default by threads of this process. Needs the extra beam.',
    )
  )
  beam_options: Annotated[tuple[str, ...], command_line.REPEATED] = pydantic.Field(
    (),
    description="NAME=VALUE,...: Beam's options of the runner, such as "
    'direct_running_mode=multi_processing,direct_num_workers=4; may be given several times.',
  )
  download: bool = pydantic.Field(
    False, description='First fetch those official files that --source lacks.'
  )
  check: bool = pydantic.Field(
    False,
    description='Only say what is wrong with the scenes in --source; exit status 1 if anything '
    'is. For --dataset=scenes.',
  )


def spell(setting: str) -> str:
  """The flag of a setting: `data.options.min_objects` is --option=min_objects here."""
  if setting.startswith('data.options.'):
    return f'--option={setting.removeprefix("data.options.")}'
  return _FLAGS.get(setting, f'--{setting.removeprefix("data.")}')


def prepare(options: PrepareOptions) -> int:
  """Prepares the records and prints the report, or prints what is wrong with a folder of scenes."""
  data_set = preparation.data_sets.find(options.dataset)
  settings = preparation.data_settings(
    data_set,
    source=options.source,
    data_dir=options.data_dir,
    image_size=options.image_size,
    mask_size=options.mask_size,
    options=options.option,
  )
  if options.check:
    return _check(data_set.name, settings.source_dir)
  if options.download:
    _download(data_set, settings.source_dir)

  print(preparation.report(settings, preparation.prepare(settings, _beam(options))))
  return 0


def _beam(options: PrepareOptions) -> BeamSettings | None:
  if options.beam_runner is None:
    if options.beam_options:
      raise UserError(f'--beam_options={options.beam_options[0]}: only with --beam_runner')
    return None
  names = (name for text in options.beam_options for name in text.split(','))
  return BeamSettings(options.beam_runner, tuple(names))


def _check(name: str, source: str) -> int:
  """Prints all that is wrong with a folder of scenes; 1 if something is, else 0."""
  if name != 'scenes':
    raise UserError(
      f'--check is for --dataset=scenes, not {name}, whose files are checked when they are prepared'
    )
  from data_pipelines.own_scenes import scenes_file

  problems = scenes_file.check(source)
  print('\n'.join(problems) or f'{source}: nothing wrong')
  return 1 if problems else 0


def _download(data_set: data_sets.DataSet, directory: str):
  if data_set.files is None:
    known = ', '.join(one.name for one in data_sets.DATA_SETS if one.files)
    raise UserError(f'--download: {data_set.name} has no official files; it is for {known}')
  download.fetch(data_set.files, directory, listener=command_line.Console())


def main():
  command_line.run(PrepareOptions, prepare, doc=__doc__, spell=spell)


if __name__ == '__main__':
  main()
