// The layout: boxes and masks that can be moved and resized. A box that was set by hand is pinned.

import { byId, colourOf, element, follow, pointIn, rebuild, shape } from './dom.js';
import * as scenes from './scene.js';

const LEAST_SIDE = 0.03;
const STEP = 1 / 64;
const PIN = 'M-1.2 -2h2.4v2l.8 .8h-4l.8 -.8zM0 .8v2';
const CORNERS = [[0, 1], [2, 1], [0, 3], [2, 3]]; // which of x0, y0, x1, y1 a corner moves

export class LayoutView {
  #studio;
  #masks = new Map(); // data URLs, by mask and colour

  constructor(studio) {
    this.#studio = studio;
  }

  show(scene) {
    const area = (object) => (object.box[2] - object.box[0]) * (object.box[3] - object.box[1]);
    const placed = scene.objects.filter((one) => one.box).sort((a, b) => area(b) - area(a));
    rebuild(byId('layout'), placed.map((one) => this.#box(scene, one)));
    this.#showNotices(scene);
  }

  #box(scene, object) {
    const studio = this.#studio;
    const number = scenes.numberOf(scene, object.key);
    const colour = colourOf(number);
    const [x0, y0, x1, y1] = object.box.map((value) => 100 * value);
    const frame = { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
    return shape('g', {
      class: `box${object.pinned ? ' pinned' : ''}${studio.selected === object.key ? ' selected' : ''}`,
      tabindex: 0,
      role: 'button',
      'aria-label': `${object.name}, ${object.pinned ? 'pinned' : 'placed by the model'}; arrow keys `
        + 'move it, with Shift they resize it',
      'data-key': object.key,
      onpointerdown: (event) => this.#drag(event, object, null),
      onkeydown: (event) => this.#keys(event, object),
      onpointerenter: () => studio.point(object.key),
      onpointerleave: () => studio.point(null),
    },
    object.mask ? shape('image', {
      ...frame, href: this.#maskUrl(object.mask, number), preserveAspectRatio: 'none', opacity: 0.6,
    }) : null,
    shape('rect', { class: 'frame', ...frame, fill: colour, stroke: colour }),
    shape('text', { x: Math.min(x0 + (object.pinned ? 5 : 1.2), 88), y: Math.min(y0 + 4.6, 99) },
      object.name),
    object.pinned ? shape('path', {
      class: 'pin', d: PIN, transform: `translate(${x0 + 2.6} ${Math.min(y0 + 3, 97)})`,
    }) : null,
    ...CORNERS.map((corner) => shape('circle', {
      class: 'corner', cx: 100 * object.box[corner[0]], cy: 100 * object.box[corner[1]], r: 2.4,
      stroke: colour,
      onpointerdown: (event) => this.#drag(event, object, corner),
    })));
  }

  #drag(event, object, corner) {
    event.stopPropagation();
    const studio = this.#studio;
    const before = studio.scene;
    const start = pointIn(byId('layout'), event);
    const moved = (later) => {
      const point = pointIn(byId('layout'), later);
      const [dx, dy] = [(point.x - start.x) / 100, (point.y - start.y) / 100];
      return Math.hypot(dx, dy) < 0.008 ? null : shifted(object.box, dx, dy, corner);
    };
    follow(event, (later) => {
      const box = moved(later);
      if (box) studio.preview(scenes.move(before, object.key, box));
    }, (last) => {
      const box = moved(last);
      studio.endPreview(before);
      if (box) studio.change(`move ${object.name}`, scenes.move(before, object.key, box), { moved: object.key });
      else if (object.pinned && !corner) this.#release(object);
    });
    studio.select(object.key); // after it: the element that was pressed is built anew
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
      return element('p', {}, `${names[0]} is now ${found} ${names[1]}, not ${predicate} it. `,
        element('button', {
          onclick: () => this.#studio.change(`${names[0]} ${found} ${names[1]}`,
            scenes.setPredicate(this.#studio.scene, index, found, { place: false }), { moved }),
        }, `Say "${found}"`));
    });
    byId('notices').replaceChildren(...lines);
  }

  /** A mask in the colour of its object, as a picture. */
  #maskUrl(mask, number) {
    const name = `${number} ${mask}`;
    if (!this.#masks.has(name)) {
      const bytes = Uint8Array.from(atob(mask), (letter) => letter.charCodeAt(0));
      const values = new Float32Array(bytes.buffer);
      const side = Math.sqrt(values.length);
      const canvas = element('canvas', { width: side, height: side });
      const context = canvas.getContext('2d');
      context.fillStyle = colourOf(number);
      context.fillRect(0, 0, side, side);
      const image = context.getImageData(0, 0, side, side);
      values.forEach((value, index) => { image.data[4 * index + 3] = 255 * value; });
      context.putImageData(image, 0, 0);
      if (this.#masks.size > 400) this.#masks.clear();
      this.#masks.set(name, canvas.toDataURL());
    }
    return this.#masks.get(name);
  }
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
