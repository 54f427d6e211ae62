"""The studio's page, driven in a headless Chromium, with the model that the repository ships."""

import base64
import contextlib
import importlib.resources
import io
import json
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests import environment
from tests.browser import SECONDS, Page, needs_browser
from tests.training_runs import ROOT

pytestmark = [pytest.mark.slow, needs_browser]
SHEEP = ('sky', 'grass', 'sheep', 'sheep', 'tree', 'sea', 'boat')
RELATIONS = ((2, 'standing on', 1), (3, 'standing on', 1), (6, 'in', 5), (4, 'behind', 3))


@pytest.fixture(scope='module')
def address():
  with contextlib.closing(socket.socket()) as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  process = subprocess.Popen(
    [sys.executable, '-m', 'sg2im_jax.studio', '--nobrowser', f'--port={port}'],
    cwd=ROOT,
    env=environment.with_devices(1),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  assert process.stdout is not None
  lines = []
  for line in process.stdout:
    lines.append(line)
    if 'http://' in line:
      break
  else:
    pytest.fail(f'the studio ended: {"".join(lines)}')
  yield f'http://127.0.0.1:{port}/'
  process.terminate()
  process.wait(30)


@pytest.fixture
def open_page(address):
  with contextlib.ExitStack() as stack:

    def opened(**options):
      page = Page(address, **options)
      stack.callback(page.driver.quit)
      return page

    yield opened


def say_two_sheep(page):
  """A scene by a sentence: two sheep, grass, a tree, and the sky that such scenes have."""
  page.one('#text').send_keys('two sheep on grass, a tree behind them', '\ue007')
  page.wait("return document.querySelectorAll('.box').length === 5")
  page.idle()


def draw_sheep(page):
  """The sheep scene by keyboard: names are typed, relations chosen in the form."""
  for name in SHEEP:
    page.add(name)
  for subject, predicate, other in RELATIONS:
    page.run(
      'const choose = (id, value) => { const select = document.getElementById(id);'
      "select.value = value; select.dispatchEvent(new Event('change')); };"
      "choose('subject', arguments[0]); choose('other', arguments[1]);",
      str(subject + 1),
      str(other + 1),
    )
    page.wait(
      "const select = document.getElementById('predicate');"
      'if (select.disabled) return false;'
      'select.value = arguments[0]; return select.value === arguments[0];',
      predicate,
    )
    page.run("document.querySelector('#relate button').focus()")
    page.type('\ue007')
    page.idle()


def test_a_scene_from_nothing_by_mouse(open_page):
  page = open_page()
  assert page.pixels() is None
  before = None
  for name in ('sky', 'grass', 'sheep', 'sea', 'boat'):
    page.one('#add-name').send_keys(name)
    page.one('#add button').click()
    page.idle()
    assert before is None or not np.array_equal(page.pixels(), before)
    before = page.pixels()
  assert page.names() == ['sky', 'grass', 'sheep', 'sea', 'boat']
  for subject, predicate, other in ((2, 'standing on', 1), (4, 'in', 3)):
    page.drag(page.place('.node .handle', subject), page.place('.node .frame', other))
    page.wait("return !document.getElementById('menu').hidden")
    names = [entry.text.split('\n')[0] for entry in page.find('#menu button')]
    assert names[0].startswith(predicate)  # the most common one comes first
    page.find('#menu button')[0].click()
    page.idle()
  assert page.labels('.edge')[0].startswith('3 sheep standing on 2 grass')
  assert not np.array_equal(page.pixels(), before)
  page.one('#palette-open').click()
  page.wait(
    "return [...document.querySelectorAll('#kinds img')].slice(0, 3).every("
    '(one) => one.complete && one.naturalWidth)'
  )
  page.find('#kinds button')[5].click()
  page.idle()
  assert len(page.names()) == 6
  assert page.complaints() == []


def test_what_is_put_before_or_behind_others_is_no_ghost(open_page):
  page = open_page()
  say_two_sheep(page)
  plain, names = page.pixels(), page.names()

  def after(name, label):
    page.find('.node')[names.index(name)].click()
    page.one(f'#inspector [data-name="{label}"]').click()
    page.idle()
    found = page.pixels()
    page.one('#undo').click()
    assert np.array_equal(page.pixels(), plain)
    return np.abs(found - plain).max(-1)

  assert after('tree', 'To front').max() > 60
  x0, y0, x1, y1 = 64 * page.box('sheep')
  middle = np.s_[int(y0 + (y1 - y0) / 3) : int(y1 - (y1 - y0) / 3), int(x0 + 4) : int(x1 - 4)]
  for name, label in (('sheep', 'To back'), ('grass', 'To front')):
    assert np.median(after(name, label)[middle]) < 20, (name, label)


def test_a_moved_boat_changes_nothing_else_and_its_link_opens_it(open_page):
  page = open_page()
  draw_sheep(page)
  assert page.names() == list(SHEEP)
  before, old_box = page.pixels(), page.box('boat')
  layout = page.place('#layout', x=0, y=0), page.place('#layout', x=1, y=1)
  size = np.subtract(layout[1], layout[0])

  def at(box):
    return np.array(layout[0]) + size * (box[:2] + box[2:]) / 2

  target = np.array([0.5, 0.78])
  page.drag(at(old_box), np.array(layout[0]) + size * target)
  page.idle()
  after, new_box = page.pixels(), page.box('boat')
  assert np.abs((new_box[:2] + new_box[2:]) / 2 - target).max() < 0.2
  outside = np.ones(before.shape[:2], bool)
  for box in (old_box, new_box):
    x0, y0, x1, y1 = (np.array(box) * before.shape[0]).round().astype(int)
    outside[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False
  difference = np.abs(after - before).max(-1)
  assert np.median(difference[outside]) <= 2
  assert np.median(difference[~outside]) > np.median(difference[outside])
  assert 'pinned' in next(label for label in page.labels('.box') if ' boat,' in label)

  link = page.run('return location.href')
  page.driver.get('about:blank')
  page.open(link)
  assert np.array_equal(page.pixels(), after)


def test_undo_and_redo(open_page):
  page = open_page()
  pictures = [None]
  for name in ('sky', 'grass', 'sheep'):
    page.add(name)
    pictures.append(page.pixels())
  page.one('#nodes .node').click()
  page.run('document.activeElement.blur()')
  for expected in reversed(pictures[:-1]):
    page.one('#undo').click()
    found = page.pixels()
    assert found is expected is None or np.array_equal(found, expected)
  assert page.names() == [] and not page.one('#undo').is_enabled()
  for expected in pictures[1:]:
    page.one('#redo').click()
    assert np.array_equal(page.pixels(), expected)


def test_keyboard_alone(open_page):
  page = open_page()
  draw_sheep(page)
  assert [label.split(',')[0] for label in page.labels('.edge')] == [
    '3 sheep standing on 2 grass',
    '4 sheep standing on 2 grass',
    '7 boat in 6 sea',
    '5 tree behind 4 sheep',
  ]
  boat, picture = page.box('boat'), page.pixels()
  page.run(
    "[...document.querySelectorAll('#layout .box')]"
    '.find((one) => one.matches(\'[aria-label*=" boat,"]\')).focus()'
  )
  page.type('\ue012' if boat[0] > 0.2 else '\ue014')  # an arrow key
  page.idle()
  assert abs(page.box('boat')[0] - boat[0]) == pytest.approx(1 / 64, abs=1e-3)
  assert not np.array_equal(page.pixels(), picture)
  page.run("document.querySelector('#nodes .node').focus()")
  page.type('\ue017')  # Delete
  page.idle()
  assert page.names() == list(SHEEP[1:])


def test_lists_by_keyboard(open_page):
  page = open_page()
  up, down, left, right, home, end = '\ue013\ue015\ue012\ue014\ue011\ue010'

  def focused(*keys):
    page.type(*keys)
    return page.run('return document.activeElement.textContent.trim()')

  page.run("document.getElementById('examples').focus()")
  first = focused('\ue007')
  names = page.run(
    "return [...document.querySelectorAll('#menu button')].map((one) => one.textContent)"
  )
  assert first == names[0]
  assert focused(end) == names[-1] and focused(down) == names[0] and focused(up) == names[-1]
  assert focused(home) == names[0]
  assert focused(names[-1][0].lower()) == next(one for one in names[1:] if one[0] == names[-1][0])
  assert focused('\ue00c') == 'Examples'  # Esc
  page.run("document.querySelector('#files summary').focus()")
  assert focused('\ue007', down) == 'Save picture (PNG)'
  assert focused('o').startswith('Open graph') and focused('o').startswith('Open picture')
  assert focused(home) == 'Save picture (PNG)' and focused('\ue00c') == 'File'
  page.run("document.getElementById('palette-open').focus()")
  page.type('\ue007')
  page.run("document.querySelector('#kinds button').focus()")
  assert focused(right) == 'night sky' and focused(left) == 'sky' and focused('l') == 'lighthouse'
  assert focused(end) == 'fish' and focused(home) == 'sky'
  columns = page.run(
    "const { gridTemplateColumns } = getComputedStyle(document.getElementById('kinds'));"
    "return gridTemplateColumns.split(' ').length"
  )
  assert focused(down) == page.run(
    "return document.querySelectorAll('#kinds button')[arguments[0]].textContent", columns
  )
  assert page.complaints() == []


def test_words_examples_and_completion(open_page):
  page = open_page()
  page.one('#text').send_keys('a red boat in the sea at night, and a dragon')
  page.one('#say button').click()
  page.wait("return document.querySelectorAll('.node').length === 3")
  page.idle()
  assert 'dragon' in page.text('#status') and 'Added night sky' in page.text('#status')
  assert page.names() == ['red boat', 'sea', 'night sky']  # as in nearly all such scenes
  page.one('#undo').click()
  assert page.names() == ['red boat', 'sea']
  page.one('#redo').click()
  page.one('#complete').click()
  page.wait("return document.querySelectorAll('.node').length === 6")
  page.idle()
  assert 'Added' in page.text('#status')
  page.choose('#examples', 0)
  page.wait("return document.querySelectorAll('.node').length === 7")
  page.idle()
  assert page.names() == list(SHEEP)
  assert page.complaints() == []


def real_scene(page, number):
  """A real scene as the server has it, and its picture as an array."""
  scene = page.run(
    'return fetch("/api/scenes").then((answer) => answer.json())'
    '.then(({ scenes }) => scenes[arguments[0]]);',
    number,
  )
  content = base64.b64decode(scene['picture'])
  return scene, np.asarray(Image.open(io.BytesIO(content)).convert('RGB'), float)


def test_a_real_scene_beside_its_picture(open_page):
  page = open_page()
  scene, real = real_scene(page, 3)
  page.choose('#examples', -1)
  page.find('#real-scenes button')[3].click()
  page.idle()
  shown = page.run("return document.getElementById('real-picture').src").split(',')[1]
  assert shown == scene['picture']
  assert [label.split(',')[0].split()[-1] for label in page.labels('.node')] == (
    scene['graph']['objects']
  )
  distances = [np.abs(page.pixels() - real).mean()]
  for button in ('#copy-layout', '#copy-appearance'):
    page.one(button).click()
    page.idle()
    distances.append(np.abs(page.pixels() - real).mean())
    for name, box in zip(scene['graph']['objects'], scene['boxes']):
      if scene['graph']['objects'].count(name) == 1:
        np.testing.assert_allclose(page.box(name), box, atol=1e-3)
  assert distances[2] < min(distances[:2])  # with all that is real it is nearest
  page.one('#undo').click()
  page.driver.refresh()
  page.wait("return 'ready' in document.body.dataset")
  page.idle()
  assert page.one('#real').is_displayed()
  page.one('#clear').click()
  assert not page.one('#real').is_displayed()
  assert page.complaints() == []


def drop(page, target: str, content: bytes, name: str, kind: str):
  """Drops a file on an element, as far as a script can; whether the browser would leave for it."""
  return page.run(
    'const [target, content, name, type] = arguments;'
    'const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));'
    'const dataTransfer = new DataTransfer();'
    'dataTransfer.items.add(new File([bytes], name, { type }));'
    'const options = { dataTransfer, bubbles: true, cancelable: true };'
    "return document.querySelector(target).dispatchEvent(new DragEvent('drop', options));",
    target,
    base64.b64encode(content).decode(),
    name,
    kind,
  )


def test_a_dropped_graph_opens_wherever_it_falls(open_page):
  page = open_page()
  for target, objects in (('#stage', ['sky', 'grass', 'sheep']), ('#graph', ['sky', 'sea'])):
    graph = json.dumps({'objects': objects, 'relationships': [[0, 'above', 1]]}).encode()
    assert not drop(page, target, graph, 'mine.json', 'application/json')
    page.wait("return document.querySelector('#told').textContent.includes('Opened mine.json')")
    page.idle()
    assert page.names() == objects
  assert not drop(page, '#stage', b'no graph', 'letter.txt', 'text/plain')
  page.wait("return document.body.textContent.includes('Cannot open letter.txt')")
  assert page.names() == objects


def test_a_dropped_picture_becomes_a_scene(open_page):
  page = open_page()
  scene, real = real_scene(page, 7)
  drop(page, '#stage', base64.b64decode(scene['picture']), 'picture.png', 'image/png')
  page.wait("return document.getElementById('photo').open")
  page.wait("return document.getElementById('photo-picture').complete")
  for number, (name, box) in enumerate(zip(scene['graph']['objects'], scene['boxes'])):
    inner = np.clip(box, 0.01, 0.99)
    corners = [page.place('#photo-boxes', x=x, y=y) for x, y in (inner[:2], inner[2:])]
    page.drag(*corners)
    select = page.find('#photo-objects select')[number]
    page.run(
      "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'));",
      select,
      name,
    )
  page.one('#photo-scene').click()
  page.wait("return document.querySelectorAll('.node').length === arguments[0]", number + 1)
  page.idle()
  assert page.names() == scene['graph']['objects']
  assert all('pinned' in label for label in page.labels('.box'))
  _, other = real_scene(page, 3)
  drawn = page.pixels()
  assert np.abs(drawn - real).mean() < 0.5 * np.abs(drawn - other).mean()
  assert page.complaints() == []


def test_the_exported_graph_is_that_of_sample(open_page, tmp_path):
  from data_pipelines.scene_graphs.graph import parse_scene_graphs

  page = open_page()
  draw_sheep(page)
  folder = {'behavior': 'allow', 'downloadPath': str(tmp_path)}
  page.driver.execute_cdp_cmd('Browser.setDownloadBehavior', folder)
  page.one('#files summary').click()
  page.one('[data-save=graph]').click()
  end = time.monotonic() + SECONDS
  while not (tmp_path / 'graph.json').exists():
    assert time.monotonic() < end
    time.sleep(0.05)
  (graph,) = parse_scene_graphs((tmp_path / 'graph.json').read_text(), 'graph.json')
  assert graph.objects == SHEEP
  assert sorted(graph.relationships) == sorted(RELATIONS)


def test_a_graph_is_pasted_and_one_that_is_not_usable_changes_nothing(open_page):
  page = open_page()
  say_two_sheep(page)
  names, picture = page.names(), page.pixels()

  for text, found in (
    ('a sheep', 'no JSON; expected a scene graph like {'),
    ('{"objects": ["sky"]}', '"relationships" is missing; expected'),
    ('{"objects": ["sky"], "relationships": [[0, "on", 1]]}', 'relationship 0 is [0,"on",1]'),
    ('{"objects": ["sky"], "relationships": [], "scene": 3}', '"scene" is 3; expected'),
    ('{"objects": ["sky", "shep"], "relationships": []}', 'name "shep"; the nearest known names'),
  ):
    page.paste(text)
    message = page.text('#failure')
    assert found in message and 'the scene stays as it is' in message and '\n' not in message
    assert page.names() == names and np.array_equal(page.pixels(), picture)
  page.find('.node')[0].click()
  assert page.text('#failure') == message  # until something goes well
  page.paste('{"objects": ["sea"], "relationships": []}', '#text')  # where text is written
  assert page.names() == names
  page.paste('[{"objects": ["sea", "boat"], "relationships": [[1, "in", 0]]}]', '#nodes .node')
  assert page.names() == ['sea', 'boat'] and page.text('#failure') == ''
  assert 'Opened the pasted text' in page.text('#told')
  page.one('#undo').click()
  assert page.names() == names and np.array_equal(page.pixels(), picture)


def test_errors_stay_until_they_are_dismissed_or_something_goes_well(open_page):
  page = open_page()
  assert page.run("return document.getElementById('failure').role") == 'alert'
  page.add('unicorn')
  message = page.text('#failure')
  assert 'unicorn' in message and page.one('#dismiss').is_displayed()
  page.one('#dismiss').click()
  assert page.text('#failure') == '' and not page.one('#dismiss').is_displayed()
  page.run("document.getElementById('add-name').value = ''")
  page.add('unicorn')
  assert page.text('#failure') == message
  page.run("document.getElementById('add-name').value = ''")
  page.add('sheep')
  page.wait("return document.getElementById('failure').textContent === ''")


def test_a_phone_by_touch(open_page):
  page = open_page(width=390, height=844, phone=True)
  page.one('#text').send_keys('a boat in the sea, sky above')
  page.one('#say button').click()
  page.wait("return document.querySelectorAll('.box').length === 3")
  page.idle()
  assert page.run('return document.documentElement.scrollWidth') <= 390
  box, before = page.box('boat'), page.pixels()
  middle = {'x': (box[0] + box[2]) / 2, 'y': (box[1] + box[3]) / 2}
  start = page.place('#layout', **middle)
  page.swipe(start, np.add(start, [0, -200]))  # which scrolls
  page.rest()
  assert np.array_equal(page.box('boat'), box) and np.array_equal(page.pixels(), before)
  start = page.place('#layout', **middle)
  page.tap(start)
  page.wait("return document.querySelector('.box.selected')")
  page.swipe(start, np.add(start, [-60 if box[0] > 0.3 else 60, 0]))
  page.idle()
  assert abs(page.box('boat')[0] - box[0]) > 0.05
  assert not np.array_equal(page.pixels(), before)


@pytest.mark.parametrize('phone', [False, True])
def test_what_is_pressed_is_large_enough(open_page, phone):
  page = open_page(width=390 if phone else 1280, height=844 if phone else 800, phone=phone)
  page.one('#text').send_keys('a boat in the sea, sky above', '\ue007')
  page.wait("return document.querySelectorAll('.box').length === 3")
  page.idle()
  page.run("document.querySelector('.node').dispatchEvent(new MouseEvent('click'))")
  page.one('#files summary').click()
  sizes = page.run(
    "return [...document.querySelectorAll('button, input, select, summary, svg .target')]"
    ".filter((one) => one.checkVisibility() && !one.matches('.inner'))"
    '.map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])'
    '.map(([name, { width, height }]) => [name, Math.min(width, height)]);'
  )
  assert any('circle' in name for name, _ in sizes)
  least = 44 if phone else 24  # CSS pixels: WCAG 2.2, 2.5.5 and 2.5.8
  assert [one for one in sizes if one[1] < least - 0.01] == []
  if phone:
    picture, graph = page.run(
      'scrollTo(0, 0);'
      "return ['stage', 'graph'].map((id) => document.getElementById(id).getBoundingClientRect())"
    )
    assert picture['top'] > 0 and graph['bottom'] < 844
    page.run("document.getElementById('layout').scrollIntoView()")
    assert page.run("return document.getElementById('stage').getBoundingClientRect().top") >= 0


def test_night_falls(open_page):
  page = open_page()
  page.one('#text').send_keys('a sheep on grass, the sun in the sky', '\ue007')
  page.wait("return document.querySelectorAll('.node').length === 4")
  page.idle()

  def press(name):
    page.run(
      "[...document.querySelectorAll('#whole .chip')]"
      '.find((one) => one.textContent === arguments[0]).click()',
      name,
    )
    page.idle()
    return page.pixels(), page.run(
      "return [...document.querySelectorAll('#whole [aria-pressed=true]')]"
      '.map((one) => one.textContent)'
    )

  page.one('#text').clear()
  page.one('#text').send_keys('make it evening', '\ue007')
  page.wait("return document.querySelectorAll('#whole [aria-pressed=true]').length === 1")
  page.idle()
  assert 'sun' in page.names()
  day, pressed = press('day')
  assert pressed == ['day'] and {'sun', 'sky'} < set(page.names())
  night, pressed = press('night')
  assert pressed == ['night'] and {'moon', 'night sky'} < set(page.names())
  assert night.mean() < 0.6 * day.mean()


def test_a_thing_is_dragged_in_the_picture_and_let_go(open_page):
  page = open_page()
  page.one('#text').send_keys('a boat in the sea, sky above', '\ue007')
  page.wait("return document.querySelectorAll('.box').length === 3")
  page.idle()
  box = page.box('boat')
  x, y = (box[:2] + box[2:]) / 2
  start = page.place('#stage', x=x, y=y)
  page.drag(start, np.add(start, [-50 if x > 0.5 else 50, 0]))
  page.idle()
  assert abs(page.box('boat')[0] - box[0]) > 0.05
  assert any('boat, pinned' in label for label in page.labels('.box'))
  moved, (x, y) = page.box('boat'), (page.box('boat')[:2] + page.box('boat')[2:]) / 2
  page.run("document.querySelector('#layout').scrollIntoView({block: 'center'})")
  page.drag(*[page.place('#layout', x=x, y=y)] * 2)  # a click selects, and leaves it
  assert np.array_equal(page.box('boat'), moved)
  page.one('.box .pin .target').click()
  page.wait(
    "return !document.querySelector('.pin') && document.querySelectorAll('.box').length === 3"
  )
  page.idle()
  assert not np.array_equal(page.box('boat'), moved)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_accessible(open_page, scheme):
  page = open_page()
  features = [{'name': 'prefers-color-scheme', 'value': scheme}]
  page.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': features})
  draw_sheep(page)
  page.find('.node')[2].click()
  axe = importlib.resources.files('axe_core_python').joinpath('axe.min.js').read_text()
  page.run(axe)
  found = page.driver.execute_async_script(
    'const done = arguments[arguments.length - 1]; axe.run().then(done);'
  )
  faults = {
    fault['id']: [node['html'][:120] for node in fault['nodes']]
    for fault in found['violations']
    if fault['impact'] in ('serious', 'critical')
  }
  assert faults == {}, json.dumps(faults, indent=1)
