// The picture, its other drawings, and the attributes of the whole of it.

import * as api from './api.js';
import { byId, element, pictureUrl, shape } from './dom.js';
import * as scenes from './scene.js';

export class PictureView {
  #studio;

  constructor(studio) {
    this.#studio = studio;
    byId('anew').addEventListener('click', () => (
      studio.change('draw anew', scenes.drawAnew(studio.scene))));
    byId('wall-open').addEventListener('click', () => this.#openWall());
    byId('real-layout').addEventListener('click', () => {
      const { boxes } = this.#real(studio.scene);
      studio.change('the real layout', scenes.likeReal(studio.scene, boxes));
    });
    byId('real-looks').addEventListener('click', () => this.#takeLooks());
    byId('stage').addEventListener('pointermove', (event) => studio.point(this.#objectAt(event)));
    byId('stage').addEventListener('pointerleave', () => studio.point(null));
    byId('stage').addEventListener('click', (event) => {
      const key = this.#objectAt(event);
      if (key !== null) studio.select(key);
    });
  }

  show(scene) {
    const drawn = scenes.drawing(scene);
    byId('picture').hidden = !drawn;
    byId('empty').hidden = Boolean(drawn);
    if (drawn) byId('picture').src = pictureUrl(drawn.picture);
    byId('picture').alt = drawn
      ? `The picture: ${scene.objects.map((one) => one.name).join(', ')}` : '';
    const samples = scene.drawn?.samples ?? [];
    byId('choices').replaceChildren(...(samples.length > 1 ? samples.slice(0, 16) : []).map(
      (sample, index) => element('button', {
        role: 'option',
        'aria-selected': String(index === scene.drawn.chosen),
        'aria-label': `drawing ${index + 1} of ${samples.length}`,
        onclick: () => this.#studio.change(`drawing ${index + 1}`,
          scenes.choose(this.#studio.scene, index), { paint: false }),
      }, element('img', { src: pictureUrl(sample.picture), alt: '' }))));
    this.#showWhole(scene);
    const real = this.#real(scene);
    byId('real').hidden = !real;
    if (real) byId('real-picture').src = pictureUrl(real.picture);
    byId('real-looks').hidden = !this.#studio.model.is_token_model;
    for (const id of ['anew', 'wall-open']) byId(id).disabled = !scene.objects.length;
    this.showPointed(scene);
  }

  /** Where the object under the pointer is. */
  showPointed(scene) {
    const object = scenes.find(scene, this.#studio.pointed);
    byId('pointed').textContent = object
      ? scenes.labelOf(object) : '\u00a0';
    byId('outline').replaceChildren(...(object?.box ? [shape('rect', {
      x: 100 * object.box[0],
      y: 100 * object.box[1],
      width: 100 * (object.box[2] - object.box[0]),
      height: 100 * (object.box[3] - object.box[1]),
    })] : []));
  }

  /** The real scene that a scene began as, or undefined. */
  #real(scene) {
    return this.#studio.realScenes[scene.real];
  }

  async #takeLooks() {
    const studio = this.#studio;
    const { boxes, picture } = this.#real(studio.scene);
    const looks = await studio.attempt(() => api.encode(picture, boxes));
    if (looks) studio.change('the real looks', scenes.likeReal(studio.scene, boxes, looks));
  }

  #showWhole(scene) {
    const names = this.#studio.model.scene_attributes;
    byId('whole').hidden = !names.length || !scene.objects.length;
    const legend = byId('whole').firstElementChild;
    byId('whole').replaceChildren(legend, ...names.map((name) => element('button', {
      class: 'chip',
      'aria-pressed': String(scene.scene.includes(name)),
      onclick: () => this.#studio.change(`the whole: ${name}`,
        scenes.describeWhole(this.#studio.scene, toggled(this.#studio.scene.scene, name))),
    }, name)));
  }

  /** The key of the smallest object under the pointer; null where there is none. */
  #objectAt(event) {
    const place = byId('stage').getBoundingClientRect();
    const [x, y] = [(event.clientX - place.x) / place.width, (event.clientY - place.y) / place.height];
    let best = null;
    for (const { key, box } of this.#studio.scene.objects) {
      const inside = box && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
      const area = inside && (box[2] - box[0]) * (box[3] - box[1]);
      if (inside && (!best || area < best.area)) best = { key, area };
    }
    return best?.key ?? null;
  }

  async #openWall() {
    const studio = this.#studio;
    byId('drawings').replaceChildren(element('p', {}, 'Drawing …'));
    byId('wall').showModal();
    const open = scenes.drawAnew(studio.scene);
    const asked = scenes.toRequest(open, 16);
    const answer = await studio.attempt(() => api.generate(asked));
    if (!answer) return byId('wall').close();
    const keys = open.objects.map((one) => one.key);
    byId('drawings').replaceChildren(...answer.samples.map((sample, index) => element('button', {
      'aria-label': `drawing ${index + 1} of 16`,
      onclick: () => {
        byId('wall').close();
        studio.change(`another drawing, ${index + 1}`,
          scenes.withDrawings(open, asked, answer, keys, index), { paint: false });
      },
    }, element('img', { src: pictureUrl(sample.picture), alt: '' }))));
    return byId('drawings').firstElementChild.focus();
  }
}

/** The names with this one, or without it if it is there. */
export function toggled(names, name) {
  return names.includes(name) ? names.filter((one) => one !== name) : [...names, name];
}
