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

/** Puts children in place of those that are there, and keeps the focus where it was, by data-key. */
export function rebuild(parent, children) {
  const key = parent.contains(document.activeElement) && document.activeElement.dataset.key;
  parent.replaceChildren(...children);
  if (key) {
    [...parent.querySelectorAll('[data-key]')].find((node) => node.dataset.key === key)?.focus();
  }
}

export const pictureUrl = (base64) => `data:image/png;base64,${base64}`;

/** The point of an event in the coordinates of an SVG element. */
export function pointIn(node, event) {
  const point = new DOMPoint(event.clientX, event.clientY);
  return point.matrixTransform(node.getScreenCTM().inverse());
}

/** Follows a pointer from a pointerdown to its end. `moved` and `ended` get the pointer's event. */
export function follow(event, moved, ended = () => {}) {
  event.preventDefault();
  const target = event.currentTarget.ownerSVGElement ?? event.currentTarget;
  target.setPointerCapture(event.pointerId);
  const end = (last) => {
    target.removeEventListener('pointermove', moved);
    target.removeEventListener('pointerup', end);
    target.removeEventListener('pointercancel', end);
    ended(last);
  };
  target.addEventListener('pointermove', moved);
  target.addEventListener('pointerup', end);
  target.addEventListener('pointercancel', end);
}

/** A menu at a place of the window; `choose` gets the index. Esc and a click elsewhere close it. */
export function openMenu(x, y, entries, choose) {
  const menu = byId('menu');
  const before = document.activeElement;
  const close = () => {
    menu.hidden = true;
    document.removeEventListener('pointerdown', outside, true);
    before?.focus?.();
  };
  const outside = (event) => menu.contains(event.target) || close();
  menu.replaceChildren(...entries.map(({ text, note }, index) => element('button', {
    role: 'menuitem',
    onclick: () => { close(); choose(index); },
  }, text, note ? element('small', {}, note) : null)));
  menu.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Escape') close();
    else if (step) {
      event.preventDefault();
      const items = [...menu.children];
      const next = items.indexOf(document.activeElement) + step;
      items[(next + items.length) % items.length].focus();
    }
  };
  menu.hidden = false;
  menu.style.left = `${Math.max(4, Math.min(x, innerWidth - menu.offsetWidth - 8)) + scrollX}px`;
  menu.style.top = `${Math.max(4, Math.min(y, innerHeight - menu.offsetHeight - 8)) + scrollY}px`;
  document.addEventListener('pointerdown', outside, true);
  menu.firstElementChild?.focus();
}

/** A colour for the number of an object; the same in all views. */
export const colourOf = (number) => `hsl(${(number * 137.5 + 205) % 360} 62% 48%)`;
