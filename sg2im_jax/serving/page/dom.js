// Small helpers for elements.

const SVG = 'http://www.w3.org/2000/svg';

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`, ...) and children. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/**
 * Puts children in place of those that are there, and keeps the focus where it was, by data-key. If
 * nothing there has the key, as while it is drawn, it gets the focus when it comes back, unless
 * something else has it by then.
 */
export function rebuild(parent, children) {
  const { activeElement } = document;
  const isHere = parent.contains(activeElement) && activeElement !== parent;
  if (isHere) parent.dataset.focus = activeElement.dataset.key ?? '';
  else if (activeElement !== document.body) delete parent.dataset.focus;
  parent.replaceChildren(...children);
  if (parent.dataset.focus) focusOn(parent, parent.dataset.focus);
}

/** Gives the focus to what has the data-key. */
export function focusOn(parent, key) {
  const found = [...parent.querySelectorAll('[data-key]')].find((one) => one.dataset.key === String(key));
  found?.focus({ preventScroll: true });
}

export const pictureUrl = (base64) => `data:image/png;base64,${base64}`;

/** The point of an event in the coordinates of an SVG element. */
export function pointIn(node, event) {
  const point = new DOMPoint(event.clientX, event.clientY);
  return point.matrixTransform(node.getScreenCTM().inverse());
}

/**
 * Follows a pointer from a pointerdown to its end. `moved` and `ended` get the pointer's event;
 * `ended` gets null if the browser took the pointer away, as to scroll.
 */
export function follow(event, moved, ended = () => {}) {
  event.preventDefault();
  const target = event.currentTarget.ownerSVGElement ?? event.currentTarget;
  target.setPointerCapture(event.pointerId);
  const end = (last) => {
    target.removeEventListener('pointermove', moved);
    target.removeEventListener('pointerup', end);
    target.removeEventListener('pointercancel', end);
    ended(last.type === 'pointercancel' ? null : last);
  };
  target.addEventListener('pointermove', moved);
  target.addEventListener('pointerup', end);
  target.addEventListener('pointercancel', end);
}

/** Keeps a finger from scrolling the page where something can be dragged, as `held` tells. */
export function holdTouches(node, held) {
  node.addEventListener('touchstart', (event) => {
    if (held(event)) event.preventDefault();
  }, { passive: false });
}

/**
 * Lets keys move the focus among the buttons of a list or a grid: arrows, Home, End, and a letter to
 * the next one that begins with it. In a text field they do what they do there.
 */
export function moveByKeys(list) {
  list.addEventListener('keydown', (event) => {
    if (event.target.matches('input, select') || event.ctrlKey || event.metaKey || event.altKey) return;
    const items = [...list.querySelectorAll('button')].filter((one) => one.offsetParent && !one.disabled);
    const now = items.indexOf(document.activeElement);
    const columns = items.filter((one) => one.offsetTop === items[0].offsetTop).length;
    const step = { ArrowDown: columns, ArrowUp: -columns, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    let next;
    if (step) next = items.at(((now < 0 ? Math.min(0, -step) : now) + step) % items.length);
    else if (event.key === 'Home') [next] = items;
    else if (event.key === 'End') next = items.at(-1);
    else if (event.key.length === 1 && event.key !== ' ') {
      const begins = (one) => one.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase());
      next = [...items.slice(now + 1), ...items].find(begins);
    }
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}

/**
 * A menu at a place of the window; `choose` gets the index, the entry `first` has the focus. Esc and
 * a click elsewhere close it.
 */
export function openMenu(x, y, entries, choose, first = 0) {
  const menu = byId('menu');
  const before = document.activeElement;
  const close = () => {
    menu.hidden = true;
    document.removeEventListener('pointerdown', outside, true);
    before?.focus?.({ preventScroll: true });
  };
  const outside = (event) => menu.contains(event.target) || close();
  menu.replaceChildren(...entries.map(({ text, note }, index) => element('button', {
    role: 'menuitem',
    onclick: () => { close(); choose(index); },
  }, text, note ? element('small', { title: 'share of such pairs in the training data' }, note) : null)));
  menu.onkeydown = (event) => {
    if (event.key === 'Escape') close();
  };
  menu.hidden = false;
  menu.style.left = `${Math.max(4, Math.min(x, innerWidth - menu.offsetWidth - 8)) + scrollX}px`;
  menu.style.top = `${Math.max(4, Math.min(y, innerHeight - menu.offsetHeight - 8)) + scrollY}px`;
  document.addEventListener('pointerdown', outside, true);
  menu.children[first]?.focus({ preventScroll: true });
  menu.children[first]?.scrollIntoView({ block: 'nearest' });
}

/** Attributes of an SVG element that fills a box, in a view box from 0 to 100. */
export const rectOf = ([x0, y0, x1, y1]) => ({
  x: 100 * x0, y: 100 * y0, width: Math.max(0, 100 * (x1 - x0)), height: Math.max(0, 100 * (y1 - y0)),
});

/** A colour for the key of an object; the same in all views. */
export const colourOf = (key) => `hsl(${(key * 137.5 + 67.5) % 360} 62% 48%)`;
