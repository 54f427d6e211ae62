"""A scene graph as a picture: objects are boxes in the colour of their class, predicates are labels on arrows.

Graphviz (bundled with pygraphviz) places nodes and bends arrows; Pillow draws them, so that the picture needs no font
of the system and looks alike on every machine.
"""

import operator
from collections.abc import Callable, Sequence

import pygraphviz
from PIL import Image, ImageDraw

from data_pipelines.drawing import BACKGROUND, INK, Color, class_color, font, text_size, tint
from data_pipelines.scene_graph import SceneGraph

Point = tuple[float, float]

# Graphviz puts the first object of a triple on top. With these predicates the second one is higher in the scene.
_UPWARD = ('below', 'under', 'beneath', 'in front of')
_SCALE = 2  # Pillow's lines are not anti-aliased: draw larger, then reduce
_OBJECT_TEXT, _PREDICATE_TEXT = 16, 13
_PREDICATE_INK = (92, 92, 104)
_ARROW = (150, 150, 162)
_ARROW_WIDTH = 2
_CURVE_STEPS = 16
_MARGIN = 12
_POINTS_PER_INCH = 72  # Graphviz gives positions in points and takes sizes in inches; here a point is a pixel


def draw_graph(graph: SceneGraph) -> Image.Image:
  """Returns an RGB picture, as large as the graph needs."""
  placed = _place(graph)
  left, bottom, right, top = (float(number) for number in placed.graph_attr['bb'].split(','))

  def to_pixels(position: str) -> Point:  # Graphviz's y axis points up
    x, y = (float(number) for number in position.split(','))
    return (x - left + _MARGIN) * _SCALE, (top - y + _MARGIN) * _SCALE

  size = round((right - left + 2 * _MARGIN) * _SCALE), round((top - bottom + 2 * _MARGIN) * _SCALE)
  picture = Image.new('RGB', size, BACKGROUND)
  draw = ImageDraw.Draw(picture)
  for edge in placed.edges():
    _draw_arrow(draw, edge.attr['pos'], to_pixels)
  for index, (_, predicate, _) in enumerate(graph.relationships):
    center = to_pixels(placed.get_node(f'relationship {index}').attr['pos'])
    _draw_node(draw, center, predicate, _predicate_size(predicate), text_height=_PREDICATE_TEXT,
               fill=BACKGROUND, outline=None, ink=_PREDICATE_INK)
  for index, name in enumerate(graph.objects):
    center = to_pixels(placed.get_node(f'object {index}').attr['pos'])
    color = class_color(name)
    _draw_node(draw, center, name, _object_size(name), text_height=_OBJECT_TEXT,
               fill=tint(color, 0.22), outline=color, ink=INK)
  return picture.resize((size[0] // _SCALE, size[1] // _SCALE), Image.Resampling.LANCZOS)


def _object_size(name: str) -> tuple[int, int]:
  width, height = text_size(name, _OBJECT_TEXT)
  return max(width, 24) + 24, height + 12


def _predicate_size(name: str) -> tuple[int, int]:
  width, height = text_size(name, _PREDICATE_TEXT)
  return width + 10, height + 4


def _place(graph: SceneGraph) -> pygraphviz.AGraph:
  """Every predicate is a node of its own between two objects: labels never overlap, and parallel arrows stay apart."""
  placed = pygraphviz.AGraph(directed=True, ranksep=0.2, nodesep=0.25)
  placed.node_attr.update(shape='box', fixedsize='true', label='')
  nodes = [(f'object {index}', _object_size(name)) for index, name in enumerate(graph.objects)]
  nodes += [(f'relationship {index}', _predicate_size(name)) for index, (_, name, _) in enumerate(graph.relationships)]
  for node, (width, height) in nodes:
    placed.add_node(node, width=width / _POINTS_PER_INCH, height=height / _POINTS_PER_INCH)
  for index, (subject, predicate, object_) in enumerate(graph.relationships):
    subject, label, object_ = f'object {subject}', f'relationship {index}', f'object {object_}'
    if predicate in _UPWARD:
      placed.add_edge(object_, label, dir='back')
      placed.add_edge(label, subject, dir='none')
    else:
      placed.add_edge(subject, label, dir='none')
      placed.add_edge(label, object_, dir='forward')
  placed.layout('dot')
  return placed


def _draw_arrow(draw: ImageDraw.ImageDraw, spline: str, to_pixels: Callable[[str], Point]):
  """Draws Graphviz's description of an edge: "[s,x,y] [e,x,y] point (point point point)*", cubic Bezier curves."""
  points = [to_pixels(part) for part in spline.split() if part[0] not in 'se']
  curve = [points[0]]
  for start in range(0, len(points) - 1, 3):
    curve += [_bezier(points[start:start + 4], step / _CURVE_STEPS) for step in range(1, _CURVE_STEPS + 1)]
  draw.line(curve, fill=_ARROW, width=_ARROW_WIDTH * _SCALE, joint='curve')
  for part in spline.split():
    if part[0] in 'se':  # the tip of a head at the start or the end; the curve stops at the head's base
      (tip_x, tip_y), (x, y) = to_pixels(part[2:]), curve[0 if part[0] == 's' else -1]
      side_x, side_y = 0.42 * (tip_y - y), 0.42 * (x - tip_x)
      draw.polygon([(tip_x, tip_y), (x + side_x, y + side_y), (x - side_x, y - side_y)], fill=_ARROW)


def _bezier(points: Sequence[Point], t: float) -> Point:
  weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t ** 2, t ** 3)
  xs, ys = zip(*points, strict=True)
  return sum(map(operator.mul, weights, xs)), sum(map(operator.mul, weights, ys))


def _draw_node(draw: ImageDraw.ImageDraw, center: Point, text: str, size: tuple[int, int], *, text_height: int,
               fill: Color, outline: Color | None, ink: Color):
  (x, y), (width, height) = center, size
  corners = (x - width * _SCALE / 2, y - height * _SCALE / 2, x + width * _SCALE / 2, y + height * _SCALE / 2)
  draw.rounded_rectangle(corners, radius=8 * _SCALE, fill=fill, outline=outline, width=2 * _SCALE)
  draw.text(center, text, fill=ink, font=font(text_height * _SCALE), anchor='mm')
