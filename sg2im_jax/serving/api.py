"""The HTTP API of the studio, and its page.

Everything is JSON but pictures of their own. Arrays are base64 in it: pictures as PNG, masks as
float32[M, M] and latents as float32[L] in little-endian bytes. What is received of a
sample can be given again, in part or whole, and gives the same picture. An answer that is no
success is {"error": "one line"}.
"""

import asyncio
import base64
import collections
import contextlib
import importlib.resources
import io
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

import sg2im_jax
from data_pipelines.drawing import sheets
from data_pipelines.language.parser import parse_text
from data_pipelines.scene_graphs import geometry
from data_pipelines.scene_graphs.completion import Addition, GraphStatistics
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import (
  IN_IMAGE_PREDICATE,
  SceneGraph,
  load_scene_graphs,
  parse_scene_graphs,
)
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, UNUSED_NAME
from sg2im_jax.sampling.graphs import GraphSamples, Pins, check_graphs
from sg2im_jax.sampling.validation_scenes import ValidationScene
from sg2im_jax.serving.engine import (
  MAX_ATTRIBUTES,
  MAX_NEARNESS,
  MAX_OBJECTS,
  MAX_RELATIONSHIPS,
  MAX_SAMPLES,
  Busy,
  Engine,
  resized,
)
from sg2im_jax.serving.security import BUSY_HEADERS, Guard

_EXAMPLES = pathlib.Path(sg2im_jax.__file__).parents[1] / 'examples'  # of a checkout
_STORY = ('Sheep, step by step', 'sheep.json')
_SCENES = 'storybook.json'
_NAMED = 3  # things in the name of an example
_MAX_PIXELS = 25_000_000  # of a picture to encode, as of a large photograph
_MAX_FRAME_PIXELS = 64 * 256 * 256  # of an animation
_MAX_FRAMES = 64
_MAX_LATENT = 1000.0  # those of a picture are about 1
_PICTURES_AT_ONCE = 2  # being read or written, for the sake of memory
_MEDIA_TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

Result = TypeVar('Result')
Name = Annotated[str, Field(min_length=1, max_length=100)]
Names = Annotated[list[Name], Field(max_length=MAX_ATTRIBUTES)]
Place = Annotated[int, Field(ge=0, lt=MAX_OBJECTS)]
# JSON has no tuples: a list is one here, while all else is taken as it is.
Relationship = Annotated[tuple[Place, Name, Place], Field(strict=False)]
Coordinate = Annotated[float, Field(ge=-10, le=10)]
Box = Annotated[list[Coordinate], Field(min_length=4, max_length=4)]
Base64 = Annotated[str, Field(description='base64', max_length=8 * 2**20)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Body(BaseModel):
  """JSON that is taken as it is: no number from text, no key that is unknown."""

  model_config = ConfigDict(extra='forbid', strict=True)


class Error(Body):
  """What went wrong."""

  error: str


class Graph(Body):
  """A scene graph, as `sample` reads it."""

  objects: Annotated[list[Name], Field(min_length=1, max_length=MAX_OBJECTS)]
  relationships: Annotated[list[Relationship], Field(max_length=MAX_RELATIONSHIPS)]
  attributes: Annotated[list[Names], Field(max_length=MAX_OBJECTS)] = []
  scene: Names = []

  @classmethod
  def of(cls, graph: SceneGraph) -> 'Graph':
    """A graph for JSON."""
    return cls.model_validate_json(json.dumps(graph.to_dict()))

  def parsed(self) -> SceneGraph:
    """The graph; UserError if it is broken."""
    (graph,) = parse_scene_graphs(self.model_dump_json(), 'graph')
    return graph


class Health(Body):
  """That the server answers, and by which model."""

  status: Literal['ok']
  step: int
  fingerprint: str


class Model(Body):
  """What the model knows and can do."""

  name: str
  step: int
  fingerprint: str
  image_size: Annotated[list[int], Field(description='height, width')]
  mask_size: Annotated[int, Field(description='M; 0 for a model without masks')]
  is_token_model: bool
  objects: list[str]
  predicates: list[str]
  attributes: list[str]
  scene_attributes: list[str]
  usual_scene: Annotated[list[str], Field(description='those that most scenes have')]
  attributes_of: Annotated[
    dict[str, list[str]], Field(description='by class, those that its objects may have')
  ]
  excluding_attributes: Annotated[
    list[list[str]], Field(description='pairs of attributes that nothing there has both of')
  ]
  counterparts: Annotated[
    dict[str, dict[str, str]],
    Field(description='by attribute of a scene, classes that it excludes, and what is there then'),
  ]
  max_objects: int
  max_relationships: int
  max_samples: int
  limits: list[str]
  can_complete: bool


Given = Annotated[list[Base64 | None], Field(max_length=MAX_OBJECTS)]


class GenerateRequest(Body):
  """A graph, and what is given of its objects: a value or null for each of them."""

  graph: Graph
  seed: Seed = 0
  samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 4
  boxes: Annotated[list[Box | None], Field(max_length=MAX_OBJECTS)] | None = None
  latents: Given | None = None
  image_latents: Base64 | None = None
  masks: Given | None = None
  nearness: Annotated[
    list[Annotated[float, Field(ge=0, le=MAX_NEARNESS)]] | None,
    Field(
      max_length=MAX_OBJECTS,
      description='of each object, see SceneBatch; 5 more than another is seen before it',
    ),
  ] = None


class FoundRelation(Body):
  """Whether a relationship holds in a sample; null where boxes cannot tell."""

  kept: bool | None
  found: Annotated[str | None, Field(description='the geometric predicate that holds')]


class Sample(Body):
  """A picture and where everything is in it."""

  picture: Base64
  boxes: list[list[float]]
  masks: list[Base64] | None
  latents: list[Base64] | None
  image_latents: Base64 | None
  relations: list[FoundRelation]


class Generated(Body):
  """Samples of a graph."""

  fingerprint: str
  seed: int
  graph: Graph
  samples: list[Sample]


class EncodeRequest(Body):
  """A picture (PNG, JPEG or WebP) and the boxes of its objects."""

  picture: Base64
  boxes: Annotated[list[Box], Field(min_length=1, max_length=MAX_OBJECTS)]


class Encoded(Body):
  """The picture at the model's size, and its appearances."""

  picture: Base64
  latents: list[Base64]
  image_latents: Base64


class PredicateShare(Body):
  """How common a predicate is among the relations of two classes."""

  name: str
  share: float


class Relations(Body):
  """All predicates, the most common first."""

  predicates: list[PredicateShare]


class TextRequest(Body):
  """English text."""

  text: Annotated[str, Field(min_length=1, max_length=2000)]


class ReadText(Body):
  """The graph of a text, and what most scenes like it have besides."""

  graph: Graph
  not_understood: list[str]
  implied: 'Completed | None'


class CompleteRequest(Body):
  """A graph, and how many objects to add."""

  graph: Graph
  objects: Annotated[int, Field(ge=1, le=10)]
  seed: Seed = 0


class Added(Body):
  """An object that was added."""

  name: str
  relationship: Relationship | None


class Completed(Body):
  """The graph with the objects that were added."""

  graph: Graph
  added: list[Added]


class Example(Body):
  """A graph to begin with, or several that tell a story."""

  name: str
  graphs: list[Graph]


class Examples(Body):
  """Graphs to begin with."""

  examples: list[Example]


class RealScene(Body):
  """A scene of the validation data, its boxes and its picture."""

  image_id: str
  graph: Graph
  boxes: list[Box]
  picture: Base64


class RealScenes(Body):
  """Scenes that training has not seen."""

  scenes: list[RealScene]


class AnimationRequest(Body):
  """Pictures (PNG) of one size, and how long each is shown."""

  pictures: Annotated[list[Base64], Field(min_length=1, max_length=_MAX_FRAMES)]
  milliseconds: Annotated[int, Field(ge=100, le=5000)]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
  return {status: {'model': Error} for status in statuses}


_OF_GET = _refusals(403, 503)
_OF_POST = _refusals(400, 403, 413, 503)


def make_app(
  engine: Engine, hosts: Sequence[str], scenes: Sequence[ValidationScene] = ()
) -> FastAPI:
  """The app for a model.

  Args:
    engine: computes.
    hosts: allowed in the header Host, such as "localhost:8300".
    scenes: of the validation data, to compare with.
  """
  app = FastAPI(
    title='sg2im_jax studio',
    version='1',
    description='Pictures of scene graphs.',
    docs_url=None,  # these pages load scripts from elsewhere
    redoc_url=None,
    redirect_slashes=False,
    separate_input_output_schemas=False,
  )
  _add_error_handlers(app)
  _add_page(app)
  _add_knowledge(app, engine)
  _add_scenes(app, scenes)
  _add_pictures(app, engine)
  described = app.openapi()  # is kept by the app
  for operations in described['paths'].values():
    for operation in operations.values():
      operation['responses'].pop('422', None)  # such a request is answered by 400
  schemas = described['components']['schemas']
  for name in ('HTTPValidationError', 'ValidationError'):
    schemas.pop(name, None)
  _describe_names(schemas['Graph']['properties'], engine)
  posts = [path for path, operations in described['paths'].items() if 'post' in operations]
  app.add_middleware(Guard, hosts=hosts, posts=posts)
  return app


def _describe_names(graph: dict[str, Any], engine: Engine):
  """Adds the names that the model knows to the JSON schema of graphs."""
  graph['objects']['items']['enum'] = list(engine.objects)
  graph['relationships']['items']['prefixItems'][1]['enum'] = _predicates(engine)
  attributes = list(engine.model.vocabulary.attribute_names)
  if attributes:
    graph['attributes']['items']['items']['enum'] = graph['scene']['items']['enum'] = attributes


def _predicates(engine: Engine) -> list[str]:
  """Names of the predicates that graphs may have."""
  names = engine.model.vocabulary.predicate_names
  return [name for name in names if name not in (IN_IMAGE_PREDICATE, UNUSED_NAME)]


def _add_error_handlers(app: FastAPI):
  def refuse(status: int, text: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({'error': ' '.join(text.split())[:500]}, status, headers)

  @app.exception_handler(RequestValidationError)
  async def of_validation(request: Request, error: RequestValidationError) -> JSONResponse:
    del request
    first = error.errors()[0]
    where = '.'.join(str(part) for part in first['loc'][1:]) or 'the body'
    return refuse(400, f'{where}: {first["msg"]}')

  @app.exception_handler(UserError)
  async def of_user(request: Request, error: UserError) -> JSONResponse:
    del request
    return refuse(400, str(error))

  @app.exception_handler(Busy)
  async def of_queue(request: Request, error: Busy) -> JSONResponse:
    del request, error
    return refuse(503, 'busy: many requests wait; try again', BUSY_HEADERS)

  @app.exception_handler(HTTPException)
  async def of_http(request: Request, error: HTTPException) -> JSONResponse:
    path = request.url.path
    texts = {404: f'there is no {path}', 405: f'{path} does not know {request.method}'}
    return refuse(error.status_code, texts.get(error.status_code, error.detail), error.headers)


def _add_page(app: FastAPI):
  """Serves the files of the page, which are read once."""
  folder = importlib.resources.files('sg2im_jax.serving') / 'page'
  files = {
    entry.name: entry.read_bytes()
    for entry in folder.iterdir()
    if pathlib.PurePath(entry.name).suffix in _MEDIA_TYPES
  }

  def answer(name: str) -> Response:
    if name not in files:
      raise HTTPException(404)
    kind = _MEDIA_TYPES[pathlib.PurePath(name).suffix]
    return Response(files[name], media_type=kind, headers={'Cache-Control': 'no-cache'})

  @app.get('/', include_in_schema=False)
  async def page() -> Response:
    return answer('index.html')

  @app.get('/page/{name}', include_in_schema=False)
  async def file(name: str) -> Response:
    return answer(name)


def describe(engine: Engine) -> Model:
  """What the model knows and can do."""
  model, settings, vocabulary = engine.model, engine.model.settings, engine.model.vocabulary
  statistics = model.statistics or GraphStatistics.of_graphs(())
  return Model(
    name=settings.data.name,
    step=model.step,
    fingerprint=model.fingerprint,
    image_size=list(settings.data.image_size),
    mask_size=settings.model.mask_size,
    is_token_model=settings.tokens is not None,
    objects=list(engine.objects),
    predicates=_predicates(engine),
    attributes=list(vocabulary.attribute_names),
    scene_attributes=[name for name in vocabulary.attribute_names if name in statistics.scene],
    usual_scene=list(statistics.usual_scene()),
    attributes_of=_attributes_of(engine, statistics),
    excluding_attributes=list(map(list, statistics.excluding_attributes())),
    counterparts=statistics.counterparts(),
    max_objects=MAX_OBJECTS,
    max_relationships=MAX_RELATIONSHIPS,
    max_samples=MAX_SAMPLES,
    limits=model.limits,
    can_complete=statistics.num_scenes > 0,
  )


def relations_between(engine: Engine, subject: str, object_: str) -> list[PredicateShare]:
  """How common each predicate is between two classes in the training data, most common first."""
  known = {} if engine.model.statistics is None else engine.model.statistics.relations
  counts = collections.Counter(
    {predicate: known.get((subject, predicate, object_), 0) for predicate in _predicates(engine)}
  )
  total = max(counts.total(), 1)
  return [PredicateShare(name=name, share=count / total) for name, count in counts.most_common()]


def _add_knowledge(app: FastAPI, engine: Engine):
  """What the model knows: names, relations, texts, completions, examples."""
  model, vocabulary = engine.model, engine.model.vocabulary
  statistics = model.statistics or GraphStatistics.of_graphs(())
  described, found_examples = describe(engine), Examples(examples=examples(engine))

  @app.get('/api/health', responses=_OF_GET)
  async def health() -> Health:
    """Whether the server answers."""
    return Health(status='ok', step=model.step, fingerprint=model.fingerprint)

  @app.get('/api/model', responses=_OF_GET)
  async def get_model() -> Model:
    """What the model knows and can do."""
    return described

  @app.get('/api/relations', responses=_refusals(400, 403, 503))
  async def relations(
    subject: Annotated[str, Query(max_length=100)],
    object_: Annotated[str, Query(alias='object', max_length=100)],
  ) -> Relations:
    """Which relations two classes have in the training data."""
    for role, name in (('subject', subject), ('object', object_)):
      if name not in engine.objects:
        vocabulary.object_id(name, role)  # raises, with the nearest names, but for reserved ones
        raise UserError(f'{role}: {json.dumps(name)} is no object of a graph')
    return Relations(predicates=relations_between(engine, subject, object_))

  @app.post('/api/text', responses=_OF_POST)
  async def text(request: TextRequest) -> ReadText:
    """The graph of an English text."""
    parsed = await anyio.to_thread.run_sync(parse_text, request.text, vocabulary)
    graph = engine.check(parsed.graph)
    implied, (found, added) = None, statistics.implied(graph)
    if added:
      with contextlib.suppress(UserError):  # it is too large then
        implied = _completed(engine, found, added)
    return ReadText(
      graph=Graph.of(graph),
      not_understood=list(map(str, parsed.not_understood)),
      implied=implied,
    )

  @app.post('/api/complete', responses=_OF_POST)
  async def complete(request: CompleteRequest) -> Completed:
    """A graph with more objects, as likely as in the training data."""
    graph = engine.check(request.graph.parsed())
    found, added = await anyio.to_thread.run_sync(
      lambda: model.complete(graph, request.objects, seed=request.seed)
    )
    return _completed(engine, found, added)

  @app.get('/api/examples', responses=_OF_GET)
  async def get_examples() -> Examples:
    """Graphs to begin with."""
    return found_examples


def _attributes_of(engine: Engine, statistics: GraphStatistics) -> dict[str, list[str]]:
  """By class, what its objects may be: what they are in the training data, if that is known."""
  if statistics.described:
    return {name: list(statistics.attributes_of(name)) for name in engine.objects}
  names = engine.model.vocabulary.attribute_names
  of_objects = [name for name in names if name not in statistics.scene]
  return {name: of_objects for name in engine.objects}


def _completed(engine: Engine, graph: SceneGraph, added: Sequence[Addition]) -> Completed:
  """A graph with what was added; UserError if it is too large then."""
  return Completed(
    graph=Graph.of(engine.check(graph)),
    added=[Added(name=one.name, relationship=one.relationship) for one in added],
  )


def real_scenes(scenes: Sequence[ValidationScene]) -> list[RealScene]:
  """Scenes for JSON."""
  return [
    RealScene(
      image_id=one.image_id,
      graph=Graph.of(one.scene.graph),
      boxes=one.scene.boxes.astype(float).tolist(),
      picture=_text(_png(one.picture)),
    )
    for one in scenes
  ]


def _add_scenes(app: FastAPI, scenes: Sequence[ValidationScene]):
  """Scenes that are real."""
  found = RealScenes(scenes=real_scenes(scenes))

  @app.get('/api/scenes', responses=_OF_GET)
  async def get_scenes() -> RealScenes:
    """Scenes of the validation data, with their real pictures."""
    return found


def _add_pictures(app: FastAPI, engine: Engine):
  """What is computed by the model or of pictures."""
  model, settings = engine.model, engine.model.settings
  limiter = anyio.CapacityLimiter(_PICTURES_AT_ONCE)

  async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    return await anyio.to_thread.run_sync(function, *arguments, limiter=limiter)

  @app.get(
    '/api/objects/{index}.png',
    responses={200: {'content': {'image/png': {}}}, **_refusals(400, 403, 404, 503)},
    response_class=Response,
  )
  async def example_picture(index: int) -> Response:
    """An example picture of a class."""
    if not 0 <= index < len(engine.objects):
      raise HTTPException(404)
    future = engine.example(index)
    picture = await asyncio.shield(asyncio.wrap_future(future))
    headers = {'Cache-Control': 'private, max-age=600'}
    return Response(_png(picture), media_type='image/png', headers=headers)

  @app.post('/api/generate', responses=_OF_POST)
  async def generate(request: GenerateRequest) -> Generated:
    """Pictures of a graph."""
    graph = engine.check(request.graph.parsed())
    pins = _pins(engine, graph, request)
    samples = await asyncio.wrap_future(
      engine.sample(graph, samples=request.samples, seed=request.seed, pins=pins)
    )
    return Generated(
      fingerprint=model.fingerprint,
      seed=request.seed,
      graph=Graph.of(graph),
      samples=await in_thread(_samples, samples),
    )

  @app.post('/api/encode', responses=_OF_POST)
  async def encode(request: EncodeRequest) -> Encoded:
    """The appearances of objects in a picture."""
    boxes = _checked_boxes(request.boxes)
    data = _decoded(request.picture, 'picture')
    picture = await in_thread(
      lambda: resized(_picture(data, 'picture', _MAX_PIXELS), settings.data.image_size)
    )
    latents = await asyncio.wrap_future(engine.encode(picture, boxes))
    image_latents, *of_objects = map(_encoded, latents)
    return Encoded(picture=_text(_png(picture)), latents=of_objects, image_latents=image_latents)

  @app.post(
    '/api/animation',
    responses={200: {'content': {'image/webp': {}}}, **_OF_POST},
    response_class=Response,
  )
  async def animation(request: AnimationRequest) -> Response:
    """The pictures one after the other, endlessly."""
    frames = [_decoded(one, f'picture {index}') for index, one in enumerate(request.pictures)]
    animated = await in_thread(_animation, frames, request.milliseconds)
    return Response(animated, media_type='image/webp')


def _pins(engine: Engine, graph: SceneGraph, request: GenerateRequest) -> Pins:
  """What a request gives of the objects of its graph.

  Raises:
    UserError: names what is wrong.
  """
  settings, count = engine.model.settings, len(graph.objects)
  for name in ('boxes', 'latents', 'masks', 'nearness'):
    values = getattr(request, name)
    if values is not None and len(values) != count:
      raise UserError(f'{name} are {len(values)}, expected {count}, for each object one')
  boxes = masks = latents = image_latents = None
  if request.boxes is not None:
    # A published model may predict boxes without extent; what it predicts can be given again.
    is_strict = settings.tokens is not None
    boxes = _checked_boxes([box or [np.nan] * 4 for box in request.boxes], is_strict)
  if request.masks is not None:
    size = settings.model.mask_size
    masks = np.full((count, size, size), np.nan, np.float32)
    for index, mask in enumerate(request.masks):
      if mask is not None:
        masks[index] = _floats(mask, size * size, f'mask {index}', 0, 1).reshape(size, size)
  if request.latents is not None or request.image_latents is not None:
    if settings.tokens is None:
      raise UserError('this model has no appearances of objects: it is not a token model')
    size = settings.tokens.latent_dim
    latents = np.full((count, size), np.nan, np.float32)
    for index, latent in enumerate(request.latents or ()):
      if latent is not None:
        latents[index] = _floats(latent, size, f'latents {index}', -_MAX_LATENT, _MAX_LATENT)
    if request.image_latents is not None:
      image_latents = _floats(
        request.image_latents, size, 'image_latents', -_MAX_LATENT, _MAX_LATENT
      )
  nearness = None if request.nearness is None else np.array(request.nearness, np.float32)
  return Pins(boxes, masks, latents, image_latents, nearness)


def _checked_boxes(boxes: Sequence[Sequence[float]], is_strict: bool = True) -> np.ndarray:
  """float32[N, 4]; UserError if one ends before it begins and that matters."""
  found = np.array(boxes, np.float32)
  for index, (x0, y0, x1, y1) in enumerate(found):
    if is_strict and (x1 <= x0 or y1 <= y0):
      raise UserError(f'box {index} is {boxes[index]}; expected x0, y0, x1, y1, x0 < x1, y0 < y1')
  return found


def _floats(text: str, count: int, where: str, least: float, most: float) -> np.ndarray:
  """float32[count] of base64; UserError unless each is in these limits."""
  data = _decoded(text, where)
  if len(data) != 4 * count:
    raise UserError(f'{where}: {len(data)} bytes, expected {4 * count}: {count} numbers float32')
  found = np.frombuffer(data, '<f4')
  if not ((least <= found) & (found <= most)).all():  # also where one is nan
    raise UserError(f'{where}: expected numbers from {least:.0f} to {most:.0f}')
  return found


def _decoded(text: str, where: str) -> bytes:
  try:
    return base64.b64decode(text, validate=True)
  except ValueError as error:
    raise UserError(f'{where}: not base64 ({error})') from None


def _text(data: bytes) -> str:
  return base64.b64encode(data).decode()


def _encoded(array: np.ndarray) -> str:
  return _text(np.asarray(array, '<f4').tobytes())


def _samples(samples: GraphSamples) -> list[Sample]:
  """The samples for JSON."""
  found = []
  for index, picture in enumerate(samples.pictures):
    boxes, masks = samples.layout(index)
    latents, of_image = samples.latents, samples.image_latents
    found.append(
      Sample(
        picture=_text(_png(picture)),
        boxes=boxes.astype(float).tolist(),
        masks=None if masks is None else [_encoded(mask) for mask in masks],
        latents=None if latents is None else [_encoded(latent) for latent in latents[index]],
        image_latents=None if of_image is None else _encoded(of_image[index]),
        relations=_relations(samples.graph, boxes, masks),
      )
    )
  return found


def _relations(
  graph: SceneGraph, boxes: np.ndarray, masks: np.ndarray | None
) -> list[FoundRelation]:
  """Which relationships hold in a layout."""
  if not graph.relationships:
    return []
  shapes = np.zeros((len(boxes), 1, 1)) if masks is None else masks > 0.5
  centres = geometry.mask_centres(boxes, shapes)
  subjects = [subject for subject, _, _ in graph.relationships]
  objects = [object_ for _, _, object_ in graph.relationships]
  found = geometry.geometric_predicate(
    boxes[subjects], boxes[objects], centres[subjects], centres[objects]
  )
  relations = []
  for (subject, predicate, object_), place in zip(graph.relationships, found):
    holds = None if subject == object_ else GEOMETRIC_PREDICATES[place]
    is_told = holds is not None and predicate in GEOMETRIC_PREDICATES
    relations.append(FoundRelation(kept=holds == predicate if is_told else None, found=holds))
  return relations


def _png(picture: np.ndarray) -> bytes:
  return sheets.png(Image.fromarray(picture))


def _picture(
  data: bytes, where: str, most: int, formats: tuple[str, ...] = ('PNG', 'JPEG', 'WEBP')
) -> np.ndarray:
  """uint8[h, w, 3]: a picture of a file's bytes, upright.

  Args:
    data: of the file.
    where: what error messages begin with.
    most: pixels; a larger picture is not decoded.
    formats: that are read.

  Raises:
    UserError: it is no such picture.
  """
  try:
    with Image.open(io.BytesIO(data), formats=formats) as image:
      pixels = image.width * image.height
      if pixels <= most:
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
  except Exception:  # Pillow's readers raise many kinds of errors
    raise UserError(f'{where}: cannot be read; expected {" or ".join(formats)}') from None
  raise UserError(f'{where}: has {pixels} pixels, expected at most {most}')


def _animation(files: Sequence[bytes], milliseconds: int) -> bytes:
  """An animated WebP of PNG files."""
  most = _MAX_FRAME_PIXELS // len(files)
  pictures = [
    _picture(data, f'picture {index}', most, ('PNG',)) for index, data in enumerate(files)
  ]
  if len({picture.shape for picture in pictures}) > 1:
    raise UserError('the pictures have several sizes; expected one size')
  first, *others = map(Image.fromarray, pictures)
  stream = io.BytesIO()
  first.save(
    stream,
    'WEBP',
    save_all=True,
    append_images=others,
    duration=milliseconds,
    loop=0,
    lossless=True,
  )
  return stream.getvalue()


def examples(engine: Engine) -> list[Example]:
  """The examples of the checkout whose names the model knows."""
  title, story = _STORY
  graphs = _known_graphs(engine, _EXAMPLES / story)
  found = [Example(name=title, graphs=graphs)] if graphs else []
  for graph in _known_graphs(engine, _EXAMPLES / _SCENES, each=True):
    names = list(dict.fromkeys(graph.objects))[:_NAMED]
    found.append(Example(name=', '.join(names).capitalize(), graphs=[graph]))
  return found


def _known_graphs(engine: Engine, path: pathlib.Path, *, each: bool = False) -> list[Graph]:
  """The graphs of a file: all or none of them, or each that the model knows."""
  try:
    graphs = load_scene_graphs(path)
  except UserError:  # a wheel has no examples
    return []
  known = []
  for graph in graphs:
    try:
      check_graphs([graph], engine.model.vocabulary, path.name)
    except UserError:
      if not each:
        return []
    else:
      known.append(Graph.of(graph))
  return known
