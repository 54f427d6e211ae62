// What can be done with the selected object; adding objects by name and from the palette.

import * as api from './api.js';
import { byId, element } from './dom.js';
import { nearest } from './names.js';
import * as scenes from './scene.js';

export class Inspector {
  #studio;

  constructor(studio) {
    this.#studio = studio;
    const { objects } = studio.model;
    byId('object-names').replaceChildren(...objects.map((name) => element('option', { value: name })));
    byId('add').addEventListener('submit', (event) => {
      event.preventDefault();
      const typed = byId('add-name').value.trim();
      if (!typed) return;
      const name = this.#named(typed);
      if (name) {
        byId('add-name').value = '';
        this.#add(name);
      }
    });
    byId('palette-open').addEventListener('click', () => this.#openPalette());
    byId('palette-search').addEventListener('input', () => this.#showKinds());
  }

  show(scene) {
    const object = scenes.find(scene, this.#studio.selected);
    const focused = byId('inspector').contains(document.activeElement)
      && document.activeElement.dataset.name;
    byId('inspector').replaceChildren(...(object ? this.#of(scene, object) : [
      element('p', {}, 'Select an object to rename it, to say what it is like, or to draw it anew. '
        + 'Drag from the dot of one object to another one to relate them.')]));
    if (focused) byId('inspector').querySelector(`[data-name="${focused}"]`)?.focus();
  }

  #of(scene, object) {
    const studio = this.#studio;
    const { key, name } = object;
    const change = (label, changed) => studio.change(label, changed);
    const button = (text, onclick, title) => element(
      'button', { onclick, title, 'data-name': text }, text);
    const others = scene.objects.filter((one) => one.key !== key && one.latent);
    return [
      element('form', {
        class: 'name',
        onsubmit: (event) => {
          event.preventDefault();
          const wanted = this.#named(event.target.elements.renamed.value.trim());
          if (wanted && wanted !== name) {
            change(`${name} to ${wanted}`, scenes.rename(studio.scene, key, wanted));
          }
        },
      },
      element('label', { class: 'hidden', for: 'renamed' }, 'Name of the selected object'),
      element('input', { id: 'renamed', name: 'renamed', list: 'object-names', value: name,
        autocomplete: 'off', 'data-name': 'renamed' }),
      element('button', {}, 'Rename')),
      studio.model.is_token_model ? button('New look',
        () => change(`new look of ${name}`, scenes.roll(studio.scene, key)),
        'another appearance in the same place') : null,
      button('Duplicate', () => change(`another ${name}`, scenes.duplicate(studio.scene, key))),
      button(object.free ? 'Keep it' : 'Let it vary', () => studio.setFree(key, !object.free),
        'whether it is drawn anew at each change'),
      ...(studio.model.is_token_model ? [['To front', true], ['To back', false]] : []).map(
        ([text, isFront]) => button(text,
          () => change(`${name} ${text.toLowerCase()}`, scenes.order(studio.scene, key, isFront)),
          'where it and other objects overlap')),
      button('Delete', () => studio.remove(key)),
      others.length ? this.#lookOf(object, others) : null,
      element('div', { class: 'chips', role: 'group', 'aria-label': `What ${name} is like` },
        ...this.#attributesOf(object).map((one) => element('button', {
          class: 'chip',
          'data-name': one,
          'aria-pressed': String(object.attributes.includes(one)),
          onclick: () => change(`${one} ${name}`, scenes.describe(studio.scene, key,
            scenes.toggled(object.attributes, one, studio.model.excluding_attributes))),
        }, one))),
    ].filter(Boolean);
  }

  /** What such an object can be, and what it is called by now. */
  #attributesOf(object) {
    return [...new Set([...(this.#studio.model.attributes_of[object.name] ?? []), ...object.attributes])];
  }

  #lookOf(object, others) {
    const { scene } = this.#studio;
    return element('select', {
      'aria-label': `Give ${object.name} the look of another object`,
      onchange: (event) => {
        const other = Number(event.target.value);
        this.#studio.change(`look of ${scenes.find(scene, other).name}`,
          scenes.lookLike(this.#studio.scene, object.key, other));
      },
    },
    element('option', { value: '' }, 'Look of …'),
    ...others.map((one) => element(
      'option', { value: one.key }, `${scenes.numberOf(scene, one.key) + 1} ${one.name}`)));
  }

  #add(name) {
    const studio = this.#studio;
    if (studio.scene.objects.length >= studio.model.max_objects) {
      return studio.fail(`a scene has at most ${studio.model.max_objects} objects`);
    }
    const added = scenes.add(studio.scene, name);
    studio.selected = added.objects.at(-1).key;
    return studio.change(`add ${name}`, added);
  }

  /** The name that the model knows, or null, which is told with the nearest names. */
  #named(typed) {
    const { objects } = this.#studio.model;
    const lower = typed.toLowerCase();
    const known = objects.find((name) => name.toLowerCase() === lower)
      ?? objects.find((name) => `${name}s` === lower);
    if (known) return known;
    const starting = objects.filter((name) => name.startsWith(lower));
    if (starting.length === 1) return starting[0];
    const near = [...starting, ...nearest(lower, objects)].slice(0, 4);
    this.#studio.fail(`the model does not know "${typed}"; it knows ${near.join(', ')} …`
      + (api.hasLanguage && typed.includes(' ') ? ' A sentence goes into the line at the top.' : ''));
    return null;
  }

  #openPalette() {
    byId('palette-search').value = '';
    this.#showKinds();
    byId('palette').showModal();
  }

  #showKinds() {
    const wanted = byId('palette-search').value.trim().toLowerCase();
    const known = this.#studio.model.objects.some((name) => name.includes(wanted));
    byId('kinds').replaceChildren(...(known ? [] : [`nothing is called "${wanted}"`]));
    byId('kinds').append(...this.#studio.model.objects.flatMap((name, index) => (
      name.includes(wanted) ? [element('button', {
        onclick: () => { byId('palette').close(); this.#add(name); },
      },
      element('img', { src: api.exampleUrl(index), alt: '', loading: 'lazy', width: 64, height: 64 }),
      element('span', {}, name))] : [])));
  }
}
