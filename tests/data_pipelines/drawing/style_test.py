import numpy as np
import pytest

from data_pipelines.drawing import style


def test_a_class_keeps_its_color():
  assert style.class_color('sheep') == (223, 136, 58)
  assert style.class_color('sky') != style.class_color('grass')


@pytest.mark.parametrize(
  'name', ['sky', 'grass', 'sheep', 'person', 'sea', 'boat', 'tree', 'traffic light']
)
def test_names_are_legible_on_their_color(name):
  def luminance(color):
    return np.dot((np.array(color) / 255) ** 2.2, (0.2126, 0.7152, 0.0722))

  color = style.class_color(name)
  low, high = sorted([luminance(color), luminance(style.ink_on(color))])
  assert (high + 0.05) / (low + 0.05) > 3
