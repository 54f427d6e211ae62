"""A sheet and statistics of a split."""

import itertools
from collections.abc import Iterator

from data_pipelines.drawing import sheets
from data_pipelines.drawing.scene_sheet import draw_scenes
from data_pipelines.pipeline import split_statistics
from data_pipelines.pipeline.prepared import SplitVisits


def browse(visits: SplitVisits, output: str, num_scenes: int) -> Iterator[str]:
  """Writes the sheet of the first scenes, then counts all scenes.

  Args:
    visits: to the scenes.
    output: path of the sheet.
    num_scenes: rows of the sheet.

  Yields:
    What there is now, as text: the sheet, then the statistics.

  Raises:
    SettingsError: the sheet cannot be written.
  """
  scenes = visits.scenes()
  shown = list(itertools.islice(scenes, num_scenes))
  sheets.save(draw_scenes(shown), output)
  yield f'{output}: {len(shown)} scenes of {visits}\n'
  statistics = split_statistics.count(itertools.chain(shown, scenes))
  yield split_statistics.report(statistics, visits).removesuffix('\n')
