"""config.data.options of the storybook."""

from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section

LEAST_SIZE = 32  # pixels of a picture's side; below, small things vanish


class StorybookOptions(Section):
  """Which scenes of the storybook there are.

  Attributes:
    num_train: scenes of split `train`.
    num_val: scenes of split `val`.
    scene_seed: of everything random in the scenes; each is a function of it and of its number.
  """

  num_train: PositiveInt
  num_val: PositiveInt
  scene_seed: NonNegativeInt
