// The studio: one scene in three views. A change makes the next scene, and asks for its picture.

import * as api from './api.js';
import { byId, element, moveByKeys, openMenu, pictureUrl } from './dom.js';
import { Files, fromFragment, toFragment } from './files.js';
import { GraphView } from './graph-view.js';
import { Inspector } from './inspector.js';
import { LayoutView } from './layout-view.js';
import { Photo } from './photo.js';
import { PictureView } from './picture-view.js';
import * as scenes from './scene.js';
import { Store } from './store.js';

const SAMPLES = 4;
const NOTICEABLE = 150; // milliseconds after which it is shown that something is being drawn
const STORY_PAUSE = 1600;
const COMPLETED = 3; // objects that "Complete" adds

class Studio {
  selected = null; // key of an object
  pointed = null;
  moved = null; // key of the object whose box was moved last
  #store;
  #asked = 0;
  #inFlight = 0;
  #previewed = null;
  #story = null;

  constructor(model, examples, realScenes) {
    this.model = model;
    this.#store = new Store(this.#nothing);
    this.realScenes = realScenes;
    const layout = new LayoutView(this);
    this.picture = new PictureView(this, layout);
    this.views = [new GraphView(this), layout, this.picture, new Inspector(this)];
    this.files = new Files(this, new Photo(this));
    this.#store.listen(() => this.#show());
    this.#wire(examples);
    const [height, width] = model.image_size;
    byId('model').textContent = [
      `Drawn by the model “${model.name}”, at ${width} × ${height} pixels.`, ...model.limits].join(' ');
    byId('model-steps').textContent = model.step;
    byId('model-fingerprint').textContent = model.fingerprint;
    this.#show();
  }

  /** A scene to begin with: without objects, as most scenes are. */
  get #nothing() {
    return { ...scenes.EMPTY, scene: this.model.usual_scene };
  }

  get scene() {
    return this.#previewed ?? this.#store.scene;
  }

  /** The pictures of all steps up to now, each once. */
  get pictures() {
    const all = this.#store.past.map((scene) => scenes.drawing(scene)?.picture).filter(Boolean);
    return all.filter((picture, index) => picture !== all[index - 1]);
  }

  /** Makes a scene the next step, and draws it unless `paint` is false. */
  change(label, scene, { paint = true, moved = null } = {}) {
    this.#write(paint ? byId('failure').textContent : '', []);
    this.moved = moved;
    this.#store.commit(scene, label);
    return paint ? this.#paint() : this.writeAddress();
  }

  /** Makes another scene than before the next step, of which nothing is selected. */
  open(label, scene, options) {
    this.selected = this.pointed = null;
    return this.change(label, scene, options);
  }

  /** The same once it is drawn: what the model cannot draw leaves everything as it is. */
  async openDrawn(label, scene) {
    const drawn = await drawnOf(scene);
    this.#asked++; // what is being drawn belongs to the scene before
    this.open(label, drawn, { paint: false });
    this.#announce();
  }

  /** Changes what is not worth a step, such as the place of a node. */
  amend(scene) {
    this.#store.amend(scene);
  }

  /** Shows a scene while something is dragged, and its picture as fast as pictures come. */
  preview(scene) {
    this.#previewed = scene;
    this.#show();
    if (this.#inFlight) return;
    const asked = scenes.toRequest(scene, 1);
    const keys = scene.objects.map((one) => one.key);
    this.#count(api.generate(asked)).then((answer) => {
      if (this.#previewed) {
        const drawn = scenes.withDrawings(scene, asked, answer, keys).drawn;
        this.#previewed = { ...this.#previewed, drawn };
        this.#show();
      }
    }).catch(() => {});
  }

  /** Shows the scene as it was before. */
  endPreview() {
    this.#previewed = null;
    this.#show();
  }

  select(key) {
    if (this.selected === key) return;
    this.selected = key;
    this.#show();
  }

  point(key) {
    if (this.pointed === key) return;
    this.pointed = key;
    this.picture.showPointed(this.scene);
  }

  remove(key) {
    const { name } = scenes.find(this.scene, key);
    if (this.selected === key) this.selected = null;
    this.pointed = null;
    byId('add-name').focus({ preventScroll: true });
    this.change(`delete ${name}`, scenes.remove(this.scene, key));
  }

  setFree(key, free) {
    const { name } = scenes.find(this.scene, key);
    this.change(free ? `let ${name} vary` : `keep ${name}`,
      scenes.setFree(this.scene, key, free), { paint: false });
  }

  /** Says what went wrong, until something goes well, or until that is dismissed. */
  fail(text) {
    this.#write(text, []);
  }

  /** Says what there is to know, until the next change. */
  tell(lines) {
    this.#write('', lines);
  }

  #write(failure, lines) {
    byId('failure').textContent = failure;
    byId('told').replaceChildren(
      ...lines.map((text) => (text instanceof Node ? text : element('p', {}, text))));
    byId('dismiss').hidden = !failure && !lines.length;
  }

  /** What an action gives; what it throws is told, and gives undefined. */
  async attempt(action) {
    try {
      return await this.#count(action());
    } catch (error) {
      this.fail(error.message);
      return undefined;
    }
  }

  /** The address of this scene, in the window's location. */
  async writeAddress() {
    const { scene } = this.#store;
    const fragment = scene.objects.length ? await toFragment(scene, this.model.fingerprint) : '';
    if (scene === this.#store.scene) history.replaceState(null, '', `#${fragment}`);
  }

  /** The scene of the window's address. */
  async readAddress() {
    const text = location.hash.slice(1);
    if (!text) return;
    await this.attempt(async () => {
      let opened;
      try {
        opened = await fromFragment(text);
      } catch {
        throw new Error('this address holds no scene; it may have been cut off');
      }
      const { fingerprint, asked, chosen, keys, scene } = opened;
      if (fingerprint !== this.model.fingerprint || !asked) {
        this.open('an address', { ...scene, real: null });
        this.tell(['This address was made with another model: its pictures are others here.']);
        return;
      }
      this.#store.commit(scene, 'an address');
      const answer = await api.generate(asked);
      this.#store.amend(scenes.withDrawings(this.#store.scene, asked, answer, keys, chosen));
    });
  }

  async #paint() {
    const { scene } = this.#store;
    if (!scene.objects.length) {
      this.#store.amend({ ...scene, drawn: null });
      this.#announce();
      return this.writeAddress();
    }
    const number = ++this.#asked;
    const failure = byId('failure').firstChild;
    const asked = scenes.toRequest(scene, SAMPLES);
    const keys = scene.objects.map((one) => one.key);
    const answer = await this.attempt(() => api.generate(asked));
    if (!answer || number !== this.#asked) return undefined; // a newer change is being drawn
    this.#store.amend(scenes.withDrawings(this.#store.scene, asked, answer, keys));
    if (byId('failure').firstChild === failure) this.tell([]); // and not of something later
    this.#announce();
    return this.writeAddress();
  }

  /** Says what was drawn to those who do not see it. */
  #announce() {
    const { scene } = this.#store;
    const verdicts = scenes.verdicts(scene).filter((one) => typeof one?.kept === 'boolean');
    const kept = verdicts.filter((one) => one.kept).length;
    const names = scene.objects.map(scenes.labelOf).join(', ') || 'nothing';
    byId('announcement').textContent = `Drawn: ${names}. ` + (verdicts.length
      ? `Of ${verdicts.length} relations that a layout can tell, it keeps ${kept}.` : '');
  }

  /** Shows that something is being drawn, if it takes long. */
  async #count(promise) {
    this.#inFlight++;
    const timer = setTimeout(() => { byId('busy').hidden = false; }, NOTICEABLE);
    document.body.setAttribute('aria-busy', 'true');
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      if (!--this.#inFlight) {
        byId('busy').hidden = true;
        document.body.removeAttribute('aria-busy');
      }
    }
  }

  #show() {
    const { scene } = this;
    for (const view of this.views) view.show(scene);
    const { canUndo, canRedo, undoLabel, redoLabel } = this.#store;
    Object.assign(byId('undo'), { disabled: !canUndo, title: `Undo ${undoLabel} (Ctrl+Z)` });
    Object.assign(byId('redo'), { disabled: !canRedo, title: `Redo ${redoLabel} (Ctrl+Shift+Z)` });
    byId('complete').disabled = !this.model.can_complete || !scene.objects.length;
    byId('share').disabled = !scene.objects.length;
  }

  #wire(examples) {
    const step = (name) => {
      this.#asked++; // what is being drawn belongs to another step
      this.moved = null;
      this.tell([]);
      this.#store[name]();
      this.writeAddress();
      this.#announce();
      const open = this.scene.objects.length && !scenes.drawing(this.scene);
      if (open) this.#paint();
    };
    byId('undo').addEventListener('click', () => step('undo'));
    byId('redo').addEventListener('click', () => step('redo'));
    document.addEventListener('keydown', (event) => {
      const typing = event.target.matches?.('input, select, textarea');
      if (typing || !(event.ctrlKey || event.metaKey)) return;
      const name = { z: event.shiftKey ? 'redo' : 'undo', y: 'redo' }[event.key.toLowerCase()];
      if (name) { event.preventDefault(); step(name); }
    });
    byId('dismiss').addEventListener('click', () => this.tell([]));
    byId('clear').addEventListener('click', () => this.open('a new scene', this.#nothing));
    byId('complete').addEventListener('click', () => this.attempt(() => this.#complete()));
    byId('say').addEventListener('submit', (event) => {
      event.preventDefault();
      const text = byId('text').value.trim();
      if (text) this.attempt(() => this.#say(text));
      else this.fail('Write what you want to see, such as: two sheep on grass.');
    });
    const entries = examples.map((one) => ({ text: one.name, use: () => this.#play(one) }));
    if (this.realScenes.length) {
      entries.push({ text: 'Real scenes …', use: () => this.#chooseReal() });
    }
    byId('examples').addEventListener('click', (event) => {
      const { left, bottom } = event.currentTarget.getBoundingClientRect();
      openMenu(left, bottom + 4, entries, (index) => entries[index].use());
    });
    const toTry = examples.filter((one) => one.graphs.length === 1);
    byId('empty').querySelectorAll('button').forEach((button, index) => {
      if (!api.hasLanguage) button.textContent = toTry[index]?.name ?? '';
      button.hidden = !button.textContent;
      button.addEventListener('click', () => {
        if (!api.hasLanguage) return this.#play(toTry[index]);
        byId('text').value = button.textContent;
        return this.attempt(() => this.#say(button.textContent));
      });
    });
    if (!api.hasLanguage) byId('begin').textContent = 'Add objects to the graph, or try';
    for (const id of ['say', 'complete']) byId(id).hidden = !api.hasLanguage;
    document.querySelector('[data-save=story]').hidden = !api.hasAnimation;
    const [narrow, phone] = ['1000px', '640px'].map((width) => matchMedia(`(max-width: ${width})`));
    const arrange = () => { // also for those who go through the page by keyboard
      const order = phone.matches ? ['picture', 'graph', 'layout']
        : narrow.matches ? ['picture', 'layout', 'graph'] : ['graph', 'layout', 'picture'];
      document.querySelector('main').append(...order.map((name) => byId(`${name}-panel`)));
    };
    for (const query of [narrow, phone]) query.addEventListener('change', arrange);
    arrange();
    for (const button of document.querySelectorAll('[data-close]')) {
      button.addEventListener('click', () => button.closest('dialog').close());
    }
    for (const id of ['menu', 'files', 'kinds', 'drawings', 'real-scenes']) moveByKeys(byId(id));
    window.addEventListener('hashchange', () => this.readAddress());
  }

  async #say(text) {
    const before = this.scene.objects.length;
    const words = text.toLowerCase().split(/\W+/);
    const whole = this.model.scene_attributes.filter((name) => words.includes(name));
    const parsed = await api.parse(text).catch((error) => {
      if (!before || !whole.length) throw error; // "make it night" is about the scene that is there
    });
    if (!parsed) return this.change(text, this.picture.described(whole.at(-1), true));
    const { graph, not_understood: rest, implied } = parsed;
    const said = scenes.fromGraph(graph);
    if (implied) {
      this.open(text, said, { paint: false });
      await this.change('what most such scenes have', scenes.tidy(scenes.fromGraph(implied.graph, said)));
    } else await this.open(text, said);
    const names = implied?.added.map((one) => one.name) ?? [];
    this.tell([
      ...rest,
      ...(names.length ? [`Added ${names.join(', ')}, as most such scenes have it.`] : []),
      ...(names.length || before ? ['Undo takes it back.'] : []),
    ]);
    return undefined;
  }

  async #complete() {
    const { scene } = this;
    const { graph, added } = await api.complete(scenes.toGraph(scene), COMPLETED, scene.seed);
    await this.change('complete', scenes.fromGraph(graph, scene));
    const names = added.map(({ name, relationship }) => {
      if (!relationship) return name;
      const [subject, predicate, other] = relationship;
      return `${name} (${graph.objects[subject]} ${predicate} ${graph.objects[other]})`;
    });
    this.tell([`Added ${names.join(', ')}.`]);
  }

  /** Real scenes to choose from, by their pictures. */
  #chooseReal() {
    byId('real-scenes').replaceChildren(...this.realScenes.map(({ graph, picture }, index) => (
      element('button', {
        'aria-label': graph.objects.join(', '),
        onclick: () => {
          byId('reals').close();
          this.open('a real scene', { ...scenes.fromGraph(graph), real: index });
        },
      }, element('img', { src: pictureUrl(picture), alt: '' })))));
    byId('reals').showModal();
  }

  /** An example; of several graphs, one after the other, as a story. */
  async #play({ graphs }) {
    clearTimeout(this.#story);
    const next = async (number, before, goes) => {
      const scene = scenes.tidy(scenes.fromGraph(graphs[number], before));
      await this.open(`example, step ${number + 1}`, scenes.drawAnew(scene, scenes.EMPTY.seed));
      const last = this.#store.scene;
      const caption = graphs.length > 1
        ? `Step ${number + 1} of ${graphs.length}: ${news(graphs[number], graphs[number - 1])} ` : '';
      if (number + 1 === graphs.length) return this.tell(caption ? [caption] : []);
      const step = (on) => {
        clearTimeout(this.#story);
        if (this.#store.scene === last) next(number + 1, last, on); // unless somebody has changed it
      };
      const show = (on) => {
        clearTimeout(this.#story);
        if (on) this.#story = setTimeout(() => step(true), STORY_PAUSE);
        this.tell([element('p', {}, caption,
          element('button', { onclick: () => show(!on) }, on ? 'Pause' : 'Play'), ' ',
          element('button', { onclick: () => step(false) }, 'Next'))]);
      };
      return show(goes);
    };
    await next(0, scenes.EMPTY, !matchMedia('(prefers-reduced-motion: reduce)').matches);
  }
}

/** A scene with drawings of it. */
async function drawnOf(scene) {
  const asked = scenes.toRequest(scene, SAMPLES);
  const answer = await api.generate(asked);
  return scenes.withDrawings(scene, asked, answer, scene.objects.map((one) => one.key));
}

/** The relations of a graph that one before it has not, in words. */
function news(graph, before) {
  const said = ({ objects, relationships }) => relationships.map(
    ([subject, predicate, other]) => `${objects[subject]} ${predicate} ${objects[other]}`);
  const old = before ? said(before) : [];
  return said(graph).filter((one, index) => one !== old[index]).join(', ');
}

const known = await Promise.all([api.model(), api.examples(), api.realScenes()]).catch((error) => {
  byId('empty').textContent = error.message;
  throw error;
});
const studio = new Studio(...known);
api.warmUp?.();
await studio.readAddress();
document.body.dataset.ready = '';
