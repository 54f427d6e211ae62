"""A headless Chromium that shows the studio, for tests of its page."""

import base64
import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
DRIVER = shutil.which('chromedriver')
SECONDS = 120  # that anything may take on a busy machine

needs_browser = pytest.mark.skipif(
  not (CHROMIUM and DRIVER), reason='chromium and chromedriver are not installed'
)


class Page:
  """A browser that shows the studio."""

  def __init__(self, address, width=1440, height=1000, *, phone=False):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ''
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run'):
      options.add_argument(argument)
    for argument in ('--disable-background-networking', '--disable-component-update'):
      options.add_argument(argument)
    options.add_argument(f'--window-size={width},{height}')
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    service = webdriver.ChromeService(DRIVER)
    self.driver = webdriver.Chrome(options=options, service=service)
    self.driver.set_script_timeout(SECONDS)
    if phone:
      screen = {'width': width, 'height': height, 'deviceScaleFactor': 2, 'mobile': True}
      self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', screen)
      self.driver.execute_cdp_cmd('Emulation.setTouchEmulationEnabled', {'enabled': True})
    self.open(address)

  def open(self, address):
    self.driver.get(address)
    self.wait("return 'ready' in document.body.dataset")
    self.idle()

  def run(self, script, *arguments):
    return self.driver.execute_script(script, *arguments)

  def wait(self, script, *arguments):
    """Until a script returns something true, which is returned."""
    end = time.monotonic() + SECONDS
    while not (found := self.run(script, *arguments)):
      assert time.monotonic() < end, f'{script}: {self.text("#status")}'
      time.sleep(0.02)
    return found

  def idle(self):
    """Until nothing is being drawn."""
    self.wait("return !document.body.hasAttribute('aria-busy')")

  def rest(self):
    """Until nothing is being drawn or scrolled."""
    self.idle()
    before = None
    while before != (before := self.run('return scrollY')):
      time.sleep(0.2)

  def find(self, selector):
    from selenium.webdriver.common.by import By

    return self.driver.find_elements(By.CSS_SELECTOR, selector)

  def one(self, selector):
    return self.find(selector)[0]

  def text(self, selector):
    return self.run('return document.querySelector(arguments[0]).textContent', selector)

  def type(self, *keys):
    from selenium.webdriver import ActionChains

    ActionChains(self.driver).send_keys(*keys).perform()

  def drag(self, start, end):
    """With the mouse from one place of the window to another, in a few steps."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    actions = ActionBuilder(self.driver, duration=30)
    pointing = actions.pointer_action
    pointing.move_to_location(*map(round, start)).pointer_down()
    for place in np.linspace(start, end, 4)[1:].round().astype(int).tolist():
      pointing.move_to_location(*place)
    pointing.pointer_up()
    actions.perform()

  def swipe(self, start, end):
    """Likewise with a finger."""
    for kind, place in (('Start', start), ('Move', np.add(start, end) / 2), ('Move', end)):
      self.touch(kind, [{'x': float(place[0]), 'y': float(place[1])}])
    self.touch('End', [])

  def tap(self, place):
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    actions = ActionBuilder(self.driver, mouse=PointerInput('touch', 'finger'))
    actions.pointer_action.move_to_location(*map(round, place)).pointer_down().pointer_up()
    actions.perform()

  def touch(self, kind, points):
    event = {'type': f'touch{kind}', 'touchPoints': points}
    self.driver.execute_cdp_cmd('Input.dispatchTouchEvent', event)

  def place(self, selector, number=0, x=0.5, y=0.5):
    """A place in an element, in the window's pixels."""
    return self.run(
      'const element = document.querySelectorAll(arguments[0])[arguments[1]];'
      "element.scrollIntoView({block: 'nearest'});"
      'const box = element.getBoundingClientRect();'
      'return [box.x + box.width * arguments[2], box.y + box.height * arguments[3]];',
      selector,
      number,
      x,
      y,
    )

  def pixels(self):
    """float[H, W, 3] of the picture; None where there is none."""
    source = self.run("return document.querySelector('#picture:not([hidden])')?.src")
    if not source:
      return None
    content = base64.b64decode(source.split(',')[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB'), float)

  def names(self):
    return [label.rsplit(',', 1)[0] for label in self.labels('#nodes .node')]

  def labels(self, selector):
    return self.run(
      'return [...document.querySelectorAll(arguments[0])]'
      ".map((node) => node.getAttribute('aria-label'))",
      selector,
    )

  def box(self, name):
    """x0, y0, x1, y1 of the first object of that name in the layout, the picture being [0, 1]."""
    x, y, width, height = self.run(
      "const boxes = [...document.querySelectorAll('#layout .box')];"
      "const named = boxes.find((one) => one.matches(`[aria-label*=' ${arguments[0]},']`));"
      "const frame = named.querySelector('.frame');"
      "return ['x', 'y', 'width', 'height'].map((side) => Number(frame.getAttribute(side)) / 100);",
      name,
    )
    return np.array([x, y, x + width, y + height])

  def choose(self, selector, number):
    """An entry of the menu that a button opens."""
    self.one(selector).click()
    self.wait("return !document.getElementById('menu').hidden")
    self.find('#menu button')[number].click()

  def add(self, name):
    self.run("document.getElementById('add-name').focus()")
    self.type(name, '\ue007')
    self.idle()

  def paste(self, text, selector='body'):
    """Text into an element, until what comes of it is drawn."""
    self.run(
      'const clipboardData = new DataTransfer();'
      "clipboardData.setData('text/plain', arguments[0]);"
      'document.querySelector(arguments[1]).dispatchEvent('
      "new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));",
      text,
      selector,
    )
    self.idle()

  def complaints(self):
    """What the browser logged: errors of scripts, and what the security policy has blocked."""
    return [entry['message'] for entry in self.driver.get_log('browser')]
