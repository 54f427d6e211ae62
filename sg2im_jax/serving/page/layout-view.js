// The layout: boxes and masks that can be moved and resized. A box that was set by hand is pinned.

import { byId, colourOf, element, focusOn, follow, holdTouches, pointIn, rebuild,
  rectOf, shape } from './dom.js';
import * as scenes from './scene.js';

const LEAST_SIDE = 0.03;
const STEP = 1 / 64;
const [LETTER, LINE] = [2.3, 4.6]; // of labels
const PIN = 'M-1.2 -2h2.4v2l.8 .8h-4l.8 -.8zM0 .8v2';
const CORNERS = [[0, 1], [2, 1], [0, 3], [2, 3]]; // which of x0, y0, x1, y1 a corner moves

export class LayoutView {
  #studio;
  #masks = new Map(); // data URLs, by mask and colour

  constructor(studio) {
    this.#studio = studio;
    holdTouches(byId('layout'), ({ target }) => (
      target.closest('.box.selected') && !target.closest('.pin')));
    const scale = () => byId('layout').style.setProperty('--scale', byId('layout').clientWidth / 100);
    new ResizeObserver(scale).observe(byId('layout'));
  }

  show(scene) {
    const placed = scene.objects.filter((one) => one.box)
      .sort((one, other) => scenes.areaOf(other.box) - scenes.areaOf(one.box));
    rebuild(byId('layout'), [
      ...placed.map((one) => this.#box(scene, one)), shape('g', { class: 'labels' }, ...labels(placed))]);
    this.#showNotices(scene);
  }

  #box(scene, object) {
    const studio = this.#studio;
    const colour = colourOf(object.key);
    const [right, middle] = [100 * object.box[2], 50 * (object.box[1] + object.box[3])];
    const frame = rectOf(object.box);
    const corners = (attributes) => CORNERS.map((corner) => shape('circle', {
      cx: 100 * object.box[corner[0]], cy: 100 * object.box[corner[1]], ...attributes,
      onpointerdown: (event) => this.drag(event, object, corner),
    }));
    const box = shape('g', {
      class: `box${object.pinned ? ' pinned' : ''}${studio.selected === object.key ? ' selected' : ''}`,
      tabindex: 0,
      role: 'button',
      'aria-label': `${scenes.numberOf(scene, object.key) + 1} ${object.name}, `
        + `${object.pinned ? 'pinned; Escape lets it go' : 'placed by the model'}; arrow keys move it, `
        + 'with Shift they resize it',
      'data-key': object.key,
      onpointerdown: (event) => this.drag(event, object),
      onclick: () => studio.select(object.key),
      onkeydown: (event) => this.#keys(event, object),
      onpointerenter: () => studio.point(object.key),
      onpointerleave: () => studio.point(null),
    },
    object.mask ? shape('image', {
      ...frame, href: this.#maskUrl(object.mask, colour), preserveAspectRatio: 'none', opacity: 0.6,
    }) : null,
    ...corners({ class: 'corner target' }), // outside of the box; a small one is to be moved, too
    shape('rect', { class: 'frame', ...frame, fill: colour, stroke: colour }),
    ...corners({ class: 'corner target inner' }),
    ...corners({ class: 'corner', r: 2.4, stroke: colour }),
    object.pinned ? shape('g', {
      class: 'pin',
      transform: `translate(${Math.min(right - 3.4, 96)} ${middle})`,
      onpointerdown: (event) => event.stopPropagation(),
      onclick: () => this.#release(object),
    },
    shape('title', {}, 'pinned; click to let the box go'),
    shape('circle', { r: 3.2 }),
    shape('path', { d: PIN }),
    shape('circle', { class: 'target' })) : null);
    box.style.setProperty('--inner', `${Math.min(frame.width, frame.height) / 4}px`);
    return box;
  }

  /**
   * Moves an object's box with a pointer, or one of its corners. A finger moves what is selected
   * already, so that others can be touched to scroll the page.
   *
   * `within` is the SVG element whose view box, 0 to 100, the picture fills.
   */
  drag(event, object, corner = null, within = byId('layout')) {
    event.stopPropagation();
    const studio = this.#studio;
    if (event.pointerType === 'touch' && studio.selected !== object.key) return;
    const before = studio.scene;
    const start = pointIn(within, event);
    const moved = (later) => {
      const point = later && pointIn(within, later);
      if (!point) return null;
      const [dx, dy] = [(point.x - start.x) / 100, (point.y - start.y) / 100];
      return Math.hypot(dx, dy) < 0.008 ? null : shifted(object.box, dx, dy, corner);
    };
    follow(event, (later) => {
      const box = moved(later);
      if (box) studio.preview(scenes.move(before, object.key, box));
    }, (last) => {
      const box = moved(last);
      studio.endPreview();
      if (box) studio.change(`move ${object.name}`, scenes.move(before, object.key, box), { moved: object.key });
    });
    studio.select(object.key); // after it: the element that was pressed is built anew
    focusOn(within, object.key);
  }

  #release(object) {
    this.#studio.change(
      `let ${object.name} go`, scenes.release(this.#studio.scene, object.key));
  }

  #keys(event, object) {
    const [dx, dy] = {
      ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
    }[event.key] ?? [];
    if (dx !== undefined) {
      const box = shifted(object.box, dx, dy, event.shiftKey ? [2, 3] : null);
      this.#studio.change(`move ${object.name}`,
        scenes.move(this.#studio.scene, object.key, box), { moved: object.key });
    } else if (event.key === 'Enter') this.#studio.select(object.key);
    else if (event.key === 'Escape' && object.pinned) this.#release(object);
    else if (event.key === 'Delete') this.#studio.remove(object.key);
    else return;
    event.preventDefault();
  }

  /** Relations that the box which was moved last now breaks, and how to write what holds. */
  #showNotices(scene) {
    const { moved } = this.#studio;
    const broken = scenes.verdicts(scene).flatMap((verdict, index) => {
      const { subject, other } = scene.relations[index];
      const concerns = moved !== null && [subject, other].includes(moved);
      return concerns && verdict?.kept === false ? [{ index, found: verdict.found }] : [];
    });
    const lines = broken.map(({ index, found }) => {
      const { subject, predicate, other } = scene.relations[index];
      const names = [subject, other].map((key) => scenes.find(scene, key).name);
      return element('p', {}, `${names[0]} is ${found} ${names[1]}, not ${predicate} it. `,
        element('button', {
          onclick: () => this.#studio.change(`${names[0]} ${found} ${names[1]}`,
            scenes.setPredicate(this.#studio.scene, index, found, { place: false }), { moved }),
        }, `Say "${found}"`));
    });
    byId('notices').replaceChildren(...lines);
  }

  /** A mask in the colour of its object, as a picture. */
  #maskUrl(mask, colour) {
    const name = `${colour} ${mask}`;
    if (!this.#masks.has(name)) {
      const values = scenes.bytesOf(mask);
      const side = Math.sqrt(values.length);
      const canvas = element('canvas', { width: side, height: side });
      const context = canvas.getContext('2d');
      context.fillStyle = colour;
      context.fillRect(0, 0, side, side);
      const image = context.getImageData(0, 0, side, side);
      values.forEach((value, index) => { image.data[4 * index + 3] = value; });
      context.putImageData(image, 0, 0);
      if (this.#masks.size > 400) this.#masks.clear();
      this.#masks.set(name, canvas.toDataURL());
    }
    return this.#masks.get(name);
  }
}

/** The names of objects in the corners of their boxes, above all boxes and beside each other. */
function labels(objects) {
  const taken = [];
  return objects.map(({ box, name, key }) => {
    const place = { x: Math.min(100 * box[0] + 1.2, 99 - LETTER * name.length), y: 100 * box[1] + 4.6 };
    const meets = (one) => (
      Math.abs(one.y - place.y) < LINE && place.x < one.end && one.x < place.x + LETTER * name.length);
    while (taken.some(meets) && place.y < 96) place.y += LINE / 2;
    place.y = Math.min(place.y, 99);
    taken.push({ ...place, end: place.x + LETTER * name.length });
    return shape('text', { ...place, 'data-of': key }, name);
  });
}

/** A box moved as a whole, or at a corner; it stays in the picture. */
function shifted(box, dx, dy, corner) {
  if (!corner) {
    const [x, y] = [
      Math.min(Math.max(dx, -box[0]), 1 - box[2]), Math.min(Math.max(dy, -box[1]), 1 - box[3])];
    return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
  }
  const changed = [...box];
  changed[corner[0]] += dx;
  changed[corner[1]] += dy;
  const [x0, y0, x1, y1] = changed.map((value) => Math.min(Math.max(value, 0), 1));
  const fits = x1 - x0 >= LEAST_SIDE && y1 - y0 >= LEAST_SIDE;
  return fits ? [x0, y0, x1, y1] : box;
}
