// The graph: nodes that can be dragged and connected, edges that say whether the layout keeps them.

import * as api from './api.js';
import { byId, colourOf, element, focusOn, follow, holdTouches, openMenu, pointIn,
  rebuild, shape } from './dom.js';
import * as scenes from './scene.js';

const HEIGHT = 34;
const LABEL = 20; // height of an edge's label
const PLACES = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8]; // of a label on its edge, by preference
// A padlock, and a die with three dots.
const LOCK = 'M-4 -1h8v6h-8zM-2.5 -1v-2a2.5 2.5 0 0 1 5 0v2';
const DIE = 'M-4.5 -4.5h9v9h-9zM-2 -2h.1M0 0h.1M2 2h.1';
const { labelOf, widthOf } = scenes;

export class GraphView {
  #studio;
  #svg = byId('graph');
  #view = { x: 0, y: 0, scale: 1 };
  #frame = null; // of all nodes; it stays while one is dragged
  #dragging = false;
  #subject = null; // that was selected when the form was shown last
  #wanted = null; // predicate that was chosen in the form, whatever the objects

  constructor(studio) {
    this.#studio = studio;
    this.#svg.addEventListener('wheel', (event) => this.#zoom(event), { passive: false });
    this.#svg.addEventListener('pointerdown', (event) => {
      if (event.target === this.#svg && event.pointerType !== 'touch') this.#pan(event);
    });
    holdTouches(this.#svg, ({ target }) => target.closest('.node') && !target.closest('.lock'));
    byId('tidy').addEventListener('click', () => {
      this.#view = { x: 0, y: 0, scale: 1 };
      studio.change('tidy', scenes.tidy(studio.scene), { paint: false });
    });
    byId('relate').addEventListener('submit', (event) => {
      event.preventDefault();
      const [subject, other] = ['subject', 'other'].map((id) => Number(byId(id).value));
      if (subject === other) return studio.fail('an object is not related to itself; choose another one');
      return byId('predicate').disabled || this.#relate(subject, byId('predicate').value, other);
    });
    for (const id of ['subject', 'other']) {
      byId(id).addEventListener('change', () => this.#rankPredicates());
    }
    byId('predicate').addEventListener('change', () => { this.#wanted = byId('predicate').value; });
    new ResizeObserver(() => this.show(studio.scene)).observe(this.#svg);
  }

  show(scene) {
    this.#fit(scene);
    const verdicts = scenes.verdicts(scene);
    const curves = labelled(scene);
    byId('edges').replaceChildren(...scene.relations.map((relation, index) => (
      this.#edge(scene, relation, index, verdicts[index], curves[index]))));
    rebuild(byId('nodes'), scene.objects.map((object, index) => this.#node(object, index)));
    this.#showChoices(scene);
  }

  /** Shows all nodes, as far as they were not zoomed or dragged. */
  #fit(scene) {
    const { width, height } = this.#svg.getBoundingClientRect();
    if (!width) return;
    if (!this.#dragging || !this.#frame) this.#frame = frameOf(scene.objects);
    const { left, right, top, bottom } = this.#frame;
    const fit = Math.min(width / (right - left), height / (bottom - top), 1.3);
    const shift = [(width - (right - left) * fit) / 2, (height - (bottom - top) * fit) / 2];
    const { x, y, scale } = this.#view;
    byId('view').setAttribute('transform', `translate(${x + shift[0] - left * fit} `
      + `${y + shift[1] - top * fit}) scale(${fit * scale})`);
    byId('view').style.setProperty('--scale', fit * scale);
  }

  #zoom(event) {
    event.preventDefault();
    this.#view.scale = Math.min(3, Math.max(0.4, this.#view.scale * 0.999 ** event.deltaY));
    this.show(this.#studio.scene);
  }

  #pan(event) {
    const start = { ...this.#view, clientX: event.clientX, clientY: event.clientY };
    follow(event, (moved) => {
      const { width, height } = this.#svg.getBoundingClientRect();
      const within = (value, most) => Math.min(Math.max(value, -most), most); // something stays in sight
      this.#view.x = within(start.x + moved.clientX - start.clientX, width / 2);
      this.#view.y = within(start.y + moved.clientY - start.clientY, height / 2);
      this.#fit(this.#studio.scene);
    });
  }

  #node(object, index) {
    const studio = this.#studio;
    const width = widthOf(object);
    const selected = studio.selected === object.key;
    const node = shape('g', {
      class: `node${selected ? ' selected' : ''}`,
      transform: `translate(${object.x} ${object.y})`,
      tabindex: 0,
      role: 'button',
      'aria-pressed': String(selected),
      'aria-label': `${labelOf(object)}, object ${index + 1}`,
      'data-key': object.key,
      onclick: () => studio.select(object.key),
      onkeydown: (event) => this.#keys(event, object),
      onpointerdown: (event) => this.#drag(event, object),
      onpointerenter: () => studio.point(object.key),
      onpointerleave: () => studio.point(null),
    },
    shape('circle', { class: 'target' }),
    shape('rect', {
      class: 'frame', x: -width / 2, y: -HEIGHT / 2, width, height: HEIGHT, stroke: colourOf(object.key),
    }),
    shape('text', {}, labelOf(object)),
    shape('g', {
      class: 'lock',
      transform: `translate(${-width / 2 + 2} ${-HEIGHT / 2 + 1})`,
      onpointerdown: (event) => event.stopPropagation(),
      onclick: (event) => { event.stopPropagation(); studio.setFree(object.key, !object.free); },
    },
    shape('title', {}, object.free
      ? 'drawn anew at each change; click to keep it'
      : 'kept as it is; click to draw it anew at each change'),
    shape('circle', { r: 9 }),
    shape('path', { d: object.free ? DIE : LOCK }),
    shape('circle', { class: 'target' })),
    shape('g', {
      class: 'handle',
      transform: `translate(${width / 2} 0)`,
      onpointerdown: (event) => this.#connect(event, object),
    },
    shape('title', {}, 'drag to another object to relate them'),
    shape('circle', { r: 7 }),
    shape('circle', { class: 'target' })));
    return node;
  }

  #keys(event, object) {
    const { key } = event;
    if (key === 'Enter' || key === ' ') this.#studio.select(object.key);
    else if (key === 'Delete' || key === 'Backspace') this.#studio.remove(object.key);
    else if (key.startsWith('Arrow')) {
      const [dx, dy] = { ArrowLeft: [-15, 0], ArrowRight: [15, 0], ArrowUp: [0, -15] }[key] ?? [0, 15];
      const placed = scenes.placeNode(this.#studio.scene, object.key, object.x + dx, object.y + dy);
      this.#studio.amend(placed);
    } else return;
    event.preventDefault();
  }

  #drag(event, object) {
    const start = pointIn(byId('view'), event);
    follow(event, (moved) => {
      const point = pointIn(byId('view'), moved);
      if (Math.hypot(point.x - start.x, point.y - start.y) < 3) return;
      const x = object.x + point.x - start.x;
      const y = object.y + point.y - start.y;
      this.#studio.amend(scenes.placeNode(this.#studio.scene, object.key, x, y));
    }, () => { this.#dragging = false; });
    this.#dragging = true;
    this.#studio.select(object.key);
    focusOn(byId('nodes'), object.key);
  }

  #connect(event, object) {
    event.stopPropagation();
    const line = byId('new-edge');
    const start = { x: object.x + widthOf(object) / 2, y: object.y };
    const target = (moved) => moved && this.#nodeAt(pointIn(byId('view'), moved), object.key);
    follow(event, (moved) => {
      const point = pointIn(byId('view'), moved);
      line.removeAttribute('hidden');
      line.setAttribute('d', `M${start.x} ${start.y}L${point.x} ${point.y}`);
      for (const node of byId('nodes').children) {
        node.classList.toggle('other', Number(node.dataset.key) === target(moved)?.key);
      }
    }, (last) => {
      line.setAttribute('hidden', '');
      const other = target(last);
      this.show(this.#studio.scene);
      if (other) this.#choosePredicate(last, object, other);
      else this.#studio.select(object.key);
    });
  }

  #nodeAt(point, except) {
    return this.#studio.scene.objects.find((one) => one.key !== except
      && Math.abs(one.x - point.x) < widthOf(one) / 2 + 8
      && Math.abs(one.y - point.y) < HEIGHT / 2 + 8);
  }

  async #choosePredicate(event, subject, other) {
    const ranked = await this.#studio.attempt(() => api.relations(subject.name, other.name));
    if (!ranked) return;
    openMenu(event.clientX, event.clientY, ranked.map(entryOf), (index) => (
      this.#relate(subject.key, ranked[index].name, other.key)));
  }

  #relate(subject, predicate, other) {
    const { scene } = this.#studio;
    const names = [subject, other].map((key) => scenes.find(scene, key).name);
    this.#wanted = null;
    this.#studio.change(`${names[0]} ${predicate} ${names[1]}`,
      scenes.relate(scene, subject, predicate, other), { moved: subject });
  }

  #edge(scene, relation, index, verdict, { path, x, y, width }) {
    const [from, to] = [relation.subject, relation.other].map((key) => scenes.find(scene, key));
    const state = { true: 'kept', false: 'broken' }[verdict?.kept] ?? 'untold';
    const said = { kept: ', kept by the layout', broken: `, but ${verdict?.found} in the layout` }[state];
    const open = (event) => this.#editEdge(event, relation, index);
    return shape('g', {
      class: `edge ${state}`,
      tabindex: 0,
      role: 'button',
      'aria-label': `${scenes.numberOf(scene, from.key) + 1} ${from.name} ${relation.predicate} `
        + `${scenes.numberOf(scene, to.key) + 1} ${to.name}${said ?? ''}`,
      onclick: open,
      onkeydown: (event) => {
        if (event.key === 'Enter') open(event);
        if (event.key === 'Delete' || event.key === 'Backspace') this.#unrelate(index);
      },
    },
    shape('title', {}, `${from.name} ${relation.predicate} ${to.name}${said ?? ''}`),
    shape('path', { d: path }),
    shape('circle', { class: 'target', cx: x, cy: y }),
    shape('rect', { class: 'frame', x: x - width / 2, y: y - LABEL / 2, width, height: LABEL }),
    shape('text', { x, y }, relation.predicate));
  }

  async #editEdge(event, relation, index) {
    const place = event.currentTarget.getBoundingClientRect();
    const { scene } = this.#studio;
    const names = [relation.subject, relation.other].map((key) => scenes.find(scene, key).name);
    const ranked = await this.#studio.attempt(() => api.relations(...names));
    if (!ranked) return;
    const entries = [{ text: 'Remove this relation' }, ...ranked.map(entryOf)];
    const now = 1 + ranked.findIndex((one) => one.name === relation.predicate);
    openMenu(place.x + place.width / 2, place.y + place.height / 2, entries, (chosen) => {
      if (chosen === 0) this.#unrelate(index);
      else {
        const { name } = ranked[chosen - 1];
        this.#studio.change(`${names[0]} ${name} ${names[1]}`,
          scenes.setPredicate(this.#studio.scene, index, name), { moved: relation.subject });
      }
    }, now);
  }

  #unrelate(index) {
    this.#studio.change('remove a relation', scenes.unrelate(this.#studio.scene, index));
  }

  /** The form that relates two objects without a pointer. */
  #showChoices(scene) {
    const { selected } = this.#studio;
    const isNew = selected !== this.#subject && selected !== null;
    this.#subject = selected;
    for (const [id, fallback] of [['subject', 0], ['other', 1]]) {
      const select = byId(id);
      const before = select.value;
      select.replaceChildren(...scene.objects.map((one, index) => (
        element('option', { value: one.key }, `${index + 1} ${one.name}`))));
      const kept = scene.objects.some((one) => String(one.key) === before);
      select.value = kept ? before : scene.objects[Math.min(fallback, scene.objects.length - 1)]?.key;
    }
    if (isNew) byId('subject').value = selected;
    if (byId('other').value === byId('subject').value) {
      byId('other').value = scene.objects.find((one) => String(one.key) !== byId('subject').value)?.key;
    }
    byId('relate').hidden = scene.objects.length < 2;
    this.#rankPredicates();
  }

  async #rankPredicates() {
    const names = ['subject', 'other'].map(
      (id) => scenes.find(this.#studio.scene, Number(byId(id).value))?.name);
    const select = byId('predicate');
    if (names.includes(undefined) || select.dataset.of === names.join()) return;
    select.dataset.of = names.join();
    select.disabled = true; // so that no choice is replaced
    const ranked = await this.#studio.attempt(() => api.relations(...names));
    if (select.dataset.of !== names.join()) return; // of another pair by now
    select.disabled = false;
    if (ranked) {
      select.replaceChildren(...ranked.map((one) => element('option', { value: one.name }, one.name)));
      if (ranked.some((one) => one.name === this.#wanted)) select.value = this.#wanted;
    }
  }
}

const entryOf = ({ name, share }) => (
  { text: name, note: share > 0.005 ? `${Math.round(100 * share)} %` : '' });

/** The part of the plane that holds all nodes, and is not too small. */
function frameOf(objects) {
  const sides = objects.map((one) => widthOf(one) / 2 + 20);
  const left = Math.min(...objects.map((one, index) => one.x - sides[index]));
  const right = Math.max(...objects.map((one, index) => one.x + sides[index]));
  const top = Math.min(...objects.map((one) => one.y - 30));
  const bottom = Math.max(...objects.map((one) => one.y + 30));
  if (!objects.length) return { left: 0, right: 400, top: 0, bottom: 250 };
  const [dx, dy] = [Math.max(0, 400 - right + left) / 2, Math.max(0, 250 - bottom + top) / 2];
  return { left: left - dx, right: right + dx, top: top - dy, bottom: bottom + dy };
}

/** The edges of a scene, with labels where they cover no node and no other label, if they can. */
function labelled(scene) {
  const taken = scene.objects.map((one) => ({ x: one.x, y: one.y, width: widthOf(one), height: HEIGHT }));
  return scene.relations.map(({ subject, predicate, other }) => {
    const { path, at } = curve(...[subject, other].map((key) => scenes.find(scene, key)));
    const size = { width: 7 * predicate.length + 14, height: LABEL };
    const covered = (place) => taken.filter((one) => (
      2 * Math.abs(one.x - place.x) < one.width + size.width
      && 2 * Math.abs(one.y - place.y) < one.height + size.height)).length;
    const places = PLACES.map(at);
    const fewest = Math.min(...places.map(covered));
    const label = { ...places.find((place) => covered(place) === fewest), ...size };
    taken.push(label);
    return { path, ...label };
  });
}

/** An edge between two nodes, bent a little: its path, and its points from 0 to 1. */
function curve(from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const bend = { x: (from.x + to.x) / 2 - 16 * dy / length, y: (from.y + to.y) / 2 + 16 * dx / length };
  const start = border(from, bend);
  const end = border(to, bend);
  return {
    path: `M${start.x} ${start.y}Q${bend.x} ${bend.y} ${end.x} ${end.y}`,
    at: (t) => Object.fromEntries(['x', 'y'].map((axis) => [axis,
      (1 - t) ** 2 * start[axis] + 2 * t * (1 - t) * bend[axis] + t ** 2 * end[axis]])),
  };
}

/** Where the line from a node to a point leaves the node. */
function border(node, point) {
  const [dx, dy] = [point.x - node.x, point.y - node.y];
  const scale = Math.min(
    1, (widthOf(node) / 2 + 3) / Math.abs(dx || 1e-6), (HEIGHT / 2 + 3) / Math.abs(dy || 1e-6));
  return { x: node.x + dx * scale, y: node.y + dy * scale };
}
