// The picture, its other drawings, and the attributes of the whole of it.

import * as api from './api.js';
import { byId, element, holdTouches, pictureUrl, rebuild, rectOf, shape } from './dom.js';
import * as scenes from './scene.js';

export class PictureView {
  #studio;

  constructor(studio, layout) {
    this.#studio = studio;
    byId('anew').addEventListener('click', () => (
      studio.change('draw anew', scenes.drawAnew(studio.scene))));
    byId('wall-open').addEventListener('click', () => this.#openWall());
    byId('copy-layout').addEventListener('click', () => {
      const { boxes } = this.#real(studio.scene);
      studio.change('copy the real layout', scenes.likeReal(studio.scene, boxes));
    });
    byId('copy-appearance').addEventListener('click', () => this.#copyAppearance());
    byId('stage').addEventListener('pointermove', (event) => studio.point(this.#objectAt(event)));
    byId('stage').addEventListener('pointerleave', () => studio.point(null));
    const thingAt = (event) => { // grounds are moved in the layout
      const object = scenes.find(studio.scene, this.#objectAt(event));
      return object && scenes.areaOf(object.box) < scenes.LARGEST_THING ? object : undefined;
    };
    holdTouches(byId('outline'), ({ touches: [touch] }) => (
      studio.selected !== null && thingAt(touch)?.key === studio.selected));
    byId('outline').addEventListener('pointerdown', (event) => {
      const object = thingAt(event);
      if (object) layout.drag(event, object, null, byId('outline'));
    });
    byId('outline').addEventListener('click', (event) => {
      const key = this.#objectAt(event);
      if (key !== null) studio.select(key);
    });
  }

  show(scene) {
    const drawn = scenes.drawing(scene);
    const isEmpty = !scene.objects.length; // while a first picture is drawn, that before it stays
    byId('picture').hidden = isEmpty || !(drawn || byId('picture').src);
    byId('stage').classList.toggle('old', !drawn);
    byId('empty').hidden = !isEmpty;
    if (drawn) byId('picture').src = pictureUrl(drawn.picture);
    else if (isEmpty) byId('picture').removeAttribute('src');
    byId('picture').alt = drawn
      ? `The picture: ${scene.objects.map((one) => one.name).join(', ')}` : '';
    this.#showChoices(scene);
    this.#showWhole(scene);
    const real = this.#real(scene);
    byId('real').hidden = !real;
    if (real) byId('real-picture').src = pictureUrl(real.picture);
    byId('copy-appearance').hidden = !this.#studio.model.is_token_model;
    for (const id of ['anew', 'wall-open']) byId(id).disabled = isEmpty;
    this.showPointed(scene);
  }

  #showChoices(scene) {
    const samples = scene.drawn?.samples ?? [];
    byId('choices').classList.toggle('many', samples.length > 4);
    rebuild(byId('choices'), samples.map((sample, index) => element('button', {
      'data-key': index,
      'aria-pressed': String(index === scene.drawn.chosen),
      'aria-label': `drawing ${index + 1} of ${samples.length}`,
      onclick: () => this.#studio.change(`drawing ${index + 1}`,
        scenes.choose(this.#studio.scene, index), { paint: false }),
    }, element('img', { src: pictureUrl(sample.picture), alt: '' }))));
    if (samples.length === 1) {
      byId('choices').append(element('p', {}, 'All else is kept as it was, so there is one drawing.'));
    }
  }

  /** Where the object is that is under the pointer, or selected. */
  showPointed(scene) {
    const object = scenes.find(scene, this.#studio.pointed ?? this.#studio.selected);
    byId('pointed').textContent = object ? scenes.labelOf(object) : '\u00a0';
    byId('outline').replaceChildren(...(object?.box ? [shape('rect', {
      class: this.#studio.pointed === null ? 'selected' : '',
      ...rectOf(object.box),
    })] : []));
  }

  /** The real scene that a scene began as, or undefined. */
  #real(scene) {
    return this.#studio.realScenes[scene.real];
  }

  async #copyAppearance() {
    const studio = this.#studio;
    const { boxes, picture } = this.#real(studio.scene);
    const encoded = await studio.attempt(() => api.encode(picture, boxes));
    if (encoded) {
      studio.change('copy the real layout and appearance',
        scenes.likeReal(studio.scene, boxes, encoded));
    }
  }

  #showWhole(scene) {
    const names = this.#studio.model.scene_attributes;
    byId('whole').hidden = !names.length || !scene.objects.length;
    const legend = byId('whole').firstElementChild;
    byId('whole').replaceChildren(legend, ...names.map((name) => element('button', {
      class: 'chip',
      'aria-pressed': String(scene.scene.includes(name)),
      onclick: () => this.#studio.change(`the whole: ${name}`, this.described(name)),
    }, name)));
  }

  /** The scene with an attribute more, or less unless it `stays`; at night the sky is a night sky. */
  described(name, stays = false) {
    const { scene, model } = this.#studio;
    const attributes = stays && scene.scene.includes(name)
      ? scene.scene : scenes.toggled(scene.scene, name, model.excluding_attributes);
    return scenes.describeWhole(
      scene, attributes, (attributes.includes(name) && model.counterparts[name]) || {});
  }

  /** The key of the smallest object under the pointer; null where there is none. */
  #objectAt(event) {
    const place = byId('stage').getBoundingClientRect();
    const [x, y] = [(event.clientX - place.x) / place.width, (event.clientY - place.y) / place.height];
    let best = null;
    for (const { key, box } of this.#studio.scene.objects) {
      const inside = box && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
      const area = inside && scenes.areaOf(box);
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
