// A picture from a file: boxes are drawn on it, and it becomes the scene, or gives looks to objects.

import * as api from './api.js';
import { byId, element, follow, pointIn, rectOf, shape } from './dom.js';
import * as scenes from './scene.js';

const MOST_SIDE = 1024;
const LEAST_SIDE = 0.03;

export class Photo {
  #studio;
  #picture = '';
  #boxes = [];

  constructor(studio) {
    this.#studio = studio;
    byId('photo-boxes').addEventListener('pointerdown', (event) => this.#draw(event));
    byId('photo-scene').addEventListener('click', () => this.#makeScene());
    byId('photo-look').addEventListener('click', () => this.#giveLook());
  }

  /** Shows a picture file, to draw boxes on it. */
  async open(file) {
    const bitmap = await createImageBitmap(file).catch(() => null);
    if (!bitmap) return this.#studio.fail(`${file.name} is no picture that can be opened`);
    const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = element('canvas', {
      width: Math.max(1, Math.round(bitmap.width * scale)),
      height: Math.max(1, Math.round(bitmap.height * scale)),
    });
    canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const url = canvas.toDataURL('image/png');
    this.#picture = url.slice(url.indexOf(',') + 1);
    this.#boxes = [];
    byId('photo-picture').src = url;
    byId('photo-boxes').setAttribute('preserveAspectRatio', 'none');
    this.#show();
    return byId('photo').showModal();
  }

  #draw(event) {
    const svg = byId('photo-boxes');
    const start = pointIn(svg, event);
    const boxTo = (later) => {
      const end = pointIn(svg, later);
      const sorted = (a, b) => [a, b].map((v) => Math.min(Math.max(v / 100, 0), 1)).sort((p, q) => p - q);
      const [[x0, x1], [y0, y1]] = [sorted(start.x, end.x), sorted(start.y, end.y)];
      return [x0, y0, x1, y1];
    };
    follow(event, (later) => this.#show(boxTo(later)), (last) => {
      const box = boxTo(last);
      if (box[2] - box[0] > LEAST_SIDE && box[3] - box[1] > LEAST_SIDE) {
        this.#boxes.push({ box, name: this.#studio.model.objects[0] });
      }
      this.#show();
      byId('photo-objects').lastElementChild?.querySelector('select')?.focus();
    });
  }

  #show(unfinished) {
    const all = [...this.#boxes.map((one) => one.box), ...(unfinished ? [unfinished] : [])];
    byId('photo-boxes').replaceChildren(...all.map((box) => shape('rect', rectOf(box))));
    if (unfinished) return;
    byId('photo-objects').replaceChildren(...this.#boxes.map((one, index) => element('li', {},
      this.#names(one, index),
      element('button', {
        onclick: () => { this.#boxes.splice(index, 1); this.#show(); },
      }, 'Remove'))));
    const selected = scenes.find(this.#studio.scene, this.#studio.selected);
    byId('photo-scene').disabled = !this.#boxes.length;
    byId('photo-look').hidden = !selected;
    byId('photo-look').disabled = !this.#boxes.length;
    if (selected) byId('photo-look').textContent = `Give the last box's look to ${selected.name}`;
  }

  #names(one, index) {
    const select = element('select', {
      'aria-label': `Name of box ${index + 1}`,
      onchange: (event) => { one.name = event.target.value; },
    }, ...this.#studio.model.objects.map((name) => element('option', {}, name)));
    select.value = one.name;
    return select;
  }

  async #makeScene() {
    const boxes = this.#boxes.map((one) => one.box);
    const encoded = await this.#studio.attempt(() => api.encode(this.#picture, boxes));
    if (!encoded) return;
    byId('photo').close();
    let scene = { ...scenes.EMPTY, imageLatent: encoded.image_latents };
    this.#boxes.forEach(({ box, name }, index) => {
      scene = scenes.add(scene, name, { box, pinned: true, latent: encoded.latents[index] });
    });
    this.#studio.open('a picture', scene);
  }

  async #giveLook() {
    const { selected } = this.#studio;
    const encoded = await this.#studio.attempt(
      () => api.encode(this.#picture, [this.#boxes.at(-1).box]));
    if (!encoded) return;
    byId('photo').close();
    this.#studio.change('a look from a picture',
      scenes.wear(this.#studio.scene, selected, encoded.latents[0]));
  }
}
