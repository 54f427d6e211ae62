// Scenes in and out: graphs as JSON, pictures, and addresses that open a scene.

import * as api from './api.js';
import { byId, colourOf, element, pictureUrl } from './dom.js';
import * as scenes from './scene.js';

const SIDE = 512;
const MILLISECONDS = 800;
const PASTED = 'the pasted text';
const EXAMPLE = '{"objects": ["sky", "grass"], "relationships": [[0, "above", 1]]}';

/** The text of an address' fragment: what was asked for, so that the same pixels come. */
export async function toFragment(scene, fingerprint) {
  const { objects, relations, drawn, nextKey } = scene;
  const kept = {
    fingerprint,
    nextKey,
    chosen: drawn?.chosen ?? 0,
    asked: drawn ? withMasks(drawn.asked, scenes.packedMask) : null,
    keys: drawn?.keys ?? [],
    relations,
    objects: objects.map(({ key, name, attributes, level, pinned, free, x, y }) => (
      { key, name, attributes, level, pinned, free, x, y })),
    scene: scene.scene,
    seed: scene.seed,
    real: scene.real,
  };
  const stream = new Blob([JSON.stringify(kept)]).stream();
  const packed = await streamed(stream.pipeThrough(new CompressionStream('deflate-raw')));
  return scenes.textOf(packed).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** What `toFragment` packed: {fingerprint, asked, chosen, keys} and the scene without tokens. */
export async function fromFragment(text) {
  const packed = scenes.bytesOf(text.replaceAll('-', '+').replaceAll('_', '/'));
  const stream = new Blob([packed]).stream();
  const bytes = await streamed(stream.pipeThrough(new DecompressionStream('deflate-raw')));
  const { fingerprint, asked, chosen, keys, ...kept } = JSON.parse(new TextDecoder().decode(bytes));
  const objects = kept.objects.map((one) => ({ ...one, box: null, latent: null, mask: null }));
  const scene = { ...scenes.EMPTY, ...kept, objects };
  return { fingerprint, asked: asked && withMasks(asked, scenes.unpackedMask), chosen, keys, scene };
}

/** A request with its masks in another form. */
const withMasks = (asked, change) => (
  { ...asked, masks: asked.masks.map((mask) => (mask === null ? null : change(mask))) });

const streamed = async (stream) => new Uint8Array(await new Response(stream).arrayBuffer());

/**
 * A graph, and how many there are: of the JSON of one graph or of a list, of which it is the first.
 * An error says what was found and what is expected; whether its names are known, the model tells.
 */
export function graphOf(text, model) {
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    throw new Error(`it is no JSON; expected a scene graph like ${EXAMPLE}`);
  }
  const graphs = Array.isArray(read) ? read : [read];
  const { objects, relationships, attributes = [], scene = [] } = graphs[0] ?? {};
  const check = (is, name, found, expected) => {
    const shown = found === undefined ? 'missing' : JSON.stringify(found).slice(0, 60);
    if (!is(found)) throw new Error(`${name} is ${shown}; expected ${expected}`);
  };
  const areNames = (found) => Array.isArray(found) && found.every((one) => typeof one === 'string');
  const isPlace = (found) => Number.isInteger(found) && found >= 0 && found < objects.length;
  const isRelation = (found) => (
    found?.length === 3 && isPlace(found[0]) && typeof found[1] === 'string' && isPlace(found[2]));
  check((found) => areNames(found) && found.length, '"objects"', objects, `names, as in ${EXAMPLE}`);
  check(Array.isArray, '"relationships"', relationships, `a list, as in ${EXAMPLE}`);
  for (const [name, { length }, most] of [['objects', objects, model.max_objects],
    ['relationships', relationships, model.max_relationships]]) {
    if (length > most) throw new Error(`there are ${length} ${name}; expected ${most} or fewer`);
  }
  relationships.forEach((one, index) => check(isRelation, `relationship ${index}`, one,
    `[subject, "relation", object], both numbers of objects from 0 to ${objects.length - 1}`));
  const fits = (found) => (
    Array.isArray(found) && [0, objects.length].includes(found.length) && found.every(areNames));
  check(fits, '"attributes"', attributes, 'a list of names for each object, such as [["red"], []]');
  check(areNames, '"scene"', scene, 'a list of names, such as ["night"]');
  return { graph: { objects, relationships, attributes, scene }, count: graphs.length };
}

export class Files {
  #studio;
  #photo;

  constructor(studio, photo) {
    this.#studio = studio;
    this.#photo = photo;
    const close = (event) => {
      const inside = byId('files').contains(event.target);
      if (event.key === 'Escape' ? inside : event.key === undefined && !inside) {
        if (inside) byId('files').firstElementChild.focus();
        byId('files').open = false;
      }
    };
    for (const kind of ['pointerdown', 'keydown', 'focusin']) document.addEventListener(kind, close);
    byId('files').addEventListener('click', (event) => {
      const { save } = event.target.dataset;
      if (!save) return;
      byId('files').open = false;
      studio.attempt(() => this.#do(save));
    });
    // Anywhere, or a browser would leave the page to show a file that misses the picture.
    const drags = (event) => event.dataTransfer.types.includes('Files');
    const showDropping = (is) => byId('stage').classList.toggle('dropping', is);
    document.addEventListener('dragover', (event) => {
      if (!drags(event)) return;
      event.preventDefault();
      showDropping(true);
    });
    document.addEventListener('dragleave', (event) => {
      if (!event.relatedTarget) showDropping(false); // it left the page
    });
    document.addEventListener('drop', (event) => {
      if (!drags(event)) return;
      event.preventDefault();
      showDropping(false);
      const [file] = event.dataTransfer.files;
      studio.attempt(async () => {
        if (file.type.startsWith('image/')) await photo.open(file);
        else this.#open(await file.text(), file.name);
      });
    });
    document.addEventListener('paste', (event) => {
      if (event.target.closest?.('input, textarea, dialog')) return;
      event.preventDefault();
      this.#open(event.clipboardData.getData('text/plain'), PASTED);
    });
    byId('share').addEventListener('click', () => studio.attempt(async () => {
      await studio.writeAddress();
      await navigator.clipboard.writeText(location.href);
      studio.tell([location.protocol === 'file:'
        ? 'The link is copied. It opens this very picture in this file, on this computer.'
        : 'The link is copied. It opens this very picture in every studio with the same model; with '
          + 'another model it opens the graph.']);
    }));
  }

  async #do(what) {
    const { scene } = this.#studio;
    const drawn = scenes.drawing(scene);
    const graph = () => `${JSON.stringify(scenes.toGraph(scene), null, 1)}\n`;
    if (['picture', 'sheet', 'story'].includes(what) && !drawn) throw new Error('nothing is drawn yet');
    if (what === 'picture') await savePicture([drawn.picture], 1, 'picture.png');
    if (what === 'sheet') {
      const pictures = scene.drawn.samples.map((one) => one.picture);
      await savePicture(pictures, Math.ceil(Math.sqrt(pictures.length)), 'sheet.png', scene);
    }
    if (what === 'story') {
      const pictures = this.#studio.pictures.slice(-64);
      save(await api.animation(pictures, MILLISECONDS), 'story.webp');
    }
    if (what === 'graph') save(new Blob([graph()], { type: 'application/json' }), 'graph.json');
    if (what === 'copy') {
      await navigator.clipboard.writeText(graph());
      this.#studio.tell(['The graph is copied.']);
    }
    if (what === 'paste') {
      this.#open(await navigator.clipboard.readText().catch(() => {
        throw new Error('the browser does not let this page read what is copied; press Ctrl+V instead');
      }), PASTED);
    }
    if (what === 'open') {
      choose('.json,application/json', async (file) => this.#open(await file.text(), file.name));
    }
    if (what === 'photo') choose('image/*', (file) => this.#photo.open(file));
  }

  /** Opens a graph if all of it is usable; `source` says where its text is from. */
  #open(text, source) {
    this.#studio.attempt(async () => {
      try {
        const { graph, count } = graphOf(text, this.#studio.model);
        await this.#studio.openDrawn(`open ${source}`, scenes.fromGraph(graph));
        const first = count > 1 ? `, the first of ${count} graphs` : '';
        this.#studio.tell([`Opened ${source}${first}. Undo takes it back.`]);
      } catch (error) {
        throw new Error(`Cannot open ${source}, so the scene stays as it is: `
          + error.message.replace(/^graph: /, ''));
      }
    });
  }
}

function choose(accept, use) {
  const input = element('input', { type: 'file', accept });
  input.addEventListener('change', () => input.files[0] && use(input.files[0]));
  input.click();
}

function save(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Pictures side by side, larger; with the layout of a scene after them. */
async function savePicture(pictures, columns, name, scene = null) {
  const count = pictures.length + (scene ? 1 : 0);
  const side = count > 1 ? SIDE / 2 : SIDE;
  const wide = scene ? columns + 1 : columns;
  const rows = Math.ceil(count / wide);
  const canvas = element('canvas', { width: wide * side, height: rows * side });
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  const place = (index) => [(index % wide) * side, Math.floor(index / wide) * side];
  for (const [index, picture] of pictures.entries()) {
    const image = element('img', { src: pictureUrl(picture) });
    await image.decode();
    context.drawImage(image, ...place(index), side, side);
  }
  if (scene) drawLayout(context, scene, place(count - 1), side);
  save(await new Promise((done) => canvas.toBlob(done)), name);
}

function drawLayout(context, scene, [left, top], side) {
  context.font = '12px sans-serif';
  context.lineWidth = 2;
  scene.objects.forEach(({ box, name }, index) => {
    const [x0, y0, x1, y1] = box.map((value) => value * side);
    context.strokeStyle = context.fillStyle = colourOf(index);
    context.strokeRect(left + x0, top + y0, x1 - x0, y1 - y0);
    context.fillText(name, left + x0 + 4, top + Math.min(y0 + 14, side - 4));
  });
}
